#include "http/event_stream.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "http/compression.h"

namespace pinion::http {
namespace {

/// Gives the text out in pieces of so many bytes.
class Pieces final : public BodyReader {
 public:
  Pieces(std::string text, std::size_t size) : text_(std::move(text)), size_(size) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token) override {
    const std::size_t count =
        std::string_view(text_).substr(at_).copy(buffer.data(), std::min(size_, buffer.size()));
    at_ += count;
    co_return count;
  }

 private:
  std::string text_;
  std::size_t size_;
  std::size_t at_ = 0;
};

Task<std::vector<ServerSentEvent>> All(BodyReader& body, bool gzip) {
  EventStreamReader reader(body, gzip);
  std::vector<ServerSentEvent> events;
  for (;;) {
    auto event = co_await reader.Next({});
    if (!event) co_return events;
    events.push_back(std::move(*event));
  }
}

std::string Text() {
  std::string text;
  AppendServerSentEvent(text, {.id = "0", .event = "event", .data = "{\"a\":1}"});
  AppendServerSentEvent(text, {.id = "1", .event = "event", .data = "two\n\nlines"});
  AppendServerSentEvent(text, {.id = "2", .event = "end"});
  return text;
}

TEST(EventStreamTest, WritesFieldsInOrder) {
  EXPECT_EQ(Text(),
            "id: 0\nevent: event\ndata: {\"a\":1}\n\n"
            "id: 1\nevent: event\ndata: two\ndata\ndata: lines\n\n"
            "id: 2\nevent: end\ndata\n\n");
}

TEST(EventStreamTest, ReadsWhatWasWrittenHoweverItArrives) {
  Loop loop("test");
  GzipWriter gzip;
  std::string packed;
  gzip.Flush(Text(), packed);
  gzip.Finish(packed);
  for (const std::size_t size : {1U, 2U, 7U, 10'000U}) {
    for (const bool compressed : {false, true}) {
      Pieces body(compressed ? packed : Text(), size);
      const auto events = loop.RunUntilDone(All(body, compressed));
      ASSERT_EQ(events.size(), 3U) << size;
      EXPECT_EQ(events[0].data, "{\"a\":1}");
      EXPECT_EQ(events[1].data, "two\n\nlines");
      EXPECT_EQ(events[2].id, "2");
      EXPECT_EQ(events[2].event, "end");
      EXPECT_EQ(events[2].data, "");
    }
  }
}

TEST(EventStreamTest, IgnoresCommentsUnknownFieldsAndAnUnfinishedEvent) {
  Loop loop("test");
  Pieces body(": hello\n\n\nretry: 5\nid:7\r\ndata:x\r\n\r\ndata: cut", 100);
  const auto events = loop.RunUntilDone(All(body, false));
  ASSERT_EQ(events.size(), 1U);
  EXPECT_EQ(events[0].id, "7");
  EXPECT_EQ(events[0].data, "x");
}

TEST(EventStreamTest, RefusesEndlessLinesAndBrokenGzip) {
  Loop loop("test");
  Pieces endless("data: " + std::string(17 << 20, 'x'), 1 << 20);
  EXPECT_THROW(loop.RunUntilDone(All(endless, false)), Failure);
  std::string many;
  for (int i = 0; i < 20; ++i)
    many += "data: " + std::string(1 << 20, 'x') + "\n";
  Pieces large(many, 1 << 20);
  EXPECT_THROW(loop.RunUntilDone(All(large, false)), Failure);
  Pieces garbage("this is no gzip", 100);
  EXPECT_THROW(loop.RunUntilDone(All(garbage, true)), Failure);
  GzipWriter gzip;
  std::string packed;
  gzip.Flush(Text(), packed);
  Pieces cut(packed, 100);
  EXPECT_THROW(loop.RunUntilDone(All(cut, true)), Failure);
}

}  // namespace
}  // namespace pinion::http
