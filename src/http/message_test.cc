#include "http/message.h"

#include <gtest/gtest.h>

#include "async/loop.h"

namespace pinion::http {
namespace {

TEST(HeadersTest, ComparesNamesWithoutCaseAndKeepsOrder) {
  Headers headers{{"Content-Type", "a"}, {"X-One", "1"}};
  headers.Add("x-one", "2");
  EXPECT_EQ(headers.Get("content-type"), "a");
  EXPECT_EQ(headers.Get("X-ONE"), "1");
  EXPECT_EQ(headers.Get("absent"), "");
  headers.Set("x-ONE", "3");
  EXPECT_EQ(std::distance(headers.begin(), headers.end()), 2);
  EXPECT_EQ(headers.Get("X-One"), "3");
  headers.Erase("X-oNE");
  EXPECT_FALSE(headers.Has("x-one"));
}

TEST(QueryTest, DecodesRepeatsAndEmptyValues) {
  const auto query = Query::Parse("a=1&b=x+y%20z&a=2&flag&empty=&=noname&&vars.x=%22%C3%A4%22");
  ASSERT_TRUE(query);
  EXPECT_EQ(query->Get("a"), "1");
  EXPECT_EQ(query->All("a"), (std::vector<std::string_view>{"1", "2"}));
  EXPECT_EQ(query->Get("b"), "x y z");
  EXPECT_EQ(query->Get("flag"), "");
  EXPECT_EQ(query->Get("empty"), "");
  EXPECT_EQ(query->Get("vars.x"), "\"\xC3\xA4\"");
  EXPECT_EQ(query->Get("absent"), std::nullopt);
}

TEST(QueryTest, RefusesBrokenEscapes) {
  for (const char* text : {"a=%", "a=%4", "a=%zz", "%f=1"}) {
    const auto query = Query::Parse(text);
    ASSERT_FALSE(query) << text;
    EXPECT_EQ(query.error().kind, ErrorKind::kInvalid);
  }
}

/// Gives out the pieces one by one.
class Pieces final : public Stream {
 public:
  explicit Pieces(std::vector<std::string> pieces) : pieces_(std::move(pieces)) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token) override {
    if (next_ == pieces_.size()) co_return 0;
    const std::string& piece = pieces_[next_++];
    co_return piece.copy(buffer.data(), buffer.size());
  }
  Task<void> Write(std::string_view, std::stop_token) override { co_return; }
  void CloseWrite() override {}
  void Close() override {}

 private:
  std::vector<std::string> pieces_;
  std::size_t next_ = 0;
};

Task<std::vector<std::string>> AllLines(Stream& stream, std::size_t limit) {
  LineReader reader(stream, limit);
  std::vector<std::string> lines;
  for (;;) {
    auto line = co_await reader.Next({});
    if (!line) co_return lines;
    lines.push_back(std::move(*line));
  }
}

TEST(LineReaderTest, FindsLinesAcrossReadsAndTheLastWithoutItsEnd) {
  Loop loop("test");
  Pieces stream({"on", "e\ntwo\n\nthr", "ee"});
  EXPECT_EQ(loop.RunUntilDone(AllLines(stream, 100)),
            (std::vector<std::string>{"one", "two", "", "three"}));
}

TEST(LineReaderTest, RefusesLongLines) {
  Loop loop("test");
  Pieces fits({"12345678\n"});
  EXPECT_EQ(loop.RunUntilDone(AllLines(fits, 8)).size(), 1U);
  Pieces complete({"123456789\n"});
  EXPECT_THROW(loop.RunUntilDone(AllLines(complete, 8)), Failure);
  Pieces endless({"12345", "67890"});
  EXPECT_THROW(loop.RunUntilDone(AllLines(endless, 8)), Failure);
}

}  // namespace
}  // namespace pinion::http
