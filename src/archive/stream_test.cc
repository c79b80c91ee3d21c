#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <thread>

#include "archive/byte_pipe.h"
#include "archive/codec.h"
#include "async/loop.h"
#include "async/task_group.h"

namespace pinion::archive {
namespace {

std::string ReadAll(ByteSource& source, std::size_t step = 1000) {
  std::string out;
  std::string buffer(step, '\0');
  while (const std::size_t got = source.Read(buffer))
    out.append(buffer, 0, got);
  return out;
}

std::string Encode(const std::string& text, Encoding encoding) {
  TextSink sink;
  auto encoder = MakeEncoder(sink, encoding);
  encoder->Write(text);
  encoder->Finish();
  return sink.text();
}

std::string Sample() {
  std::string text;
  for (int i = 0; i < 100'000; ++i)
    text += std::to_string(i * 7919) + ",";
  return text;
}

class CodecTest : public testing::TestWithParam<Encoding> {};

TEST_P(CodecTest, DecodesWhatItEncodesAlsoInSeveralPieces) {
  const std::string text = Sample();
  const std::string coded = Encode(text, GetParam()) + Encode("tail", GetParam());
  TextSource source(coded);
  EXPECT_EQ(ReadAll(*MakeSniffingDecoder(source)), text + "tail");
}

TEST_P(CodecTest, CutStreamsAreErrors) {
  if (GetParam() == Encoding::kRaw) GTEST_SKIP() << "raw bytes have no end of their own";
  const std::string coded = Encode(Sample(), GetParam());
  for (const std::size_t cut :
       {std::size_t{0}, std::size_t{5}, coded.size() / 2, coded.size() - 1}) {
    TextSource source(std::string_view(coded).substr(0, cut));
    EXPECT_THROW(ReadAll(*MakeDecoder(source, GetParam())), Failure) << cut;
  }
  std::string flipped = coded;
  flipped[flipped.size() / 2] ^= 0x55;
  TextSource source(flipped);
  EXPECT_THROW(ReadAll(*MakeDecoder(source, GetParam())), Failure);
}

INSTANTIATE_TEST_SUITE_P(All, CodecTest,
                         testing::Values(Encoding::kRaw, Encoding::kGzip, Encoding::kZstd),
                         [](const auto& info) { return std::string(Name(info.param)); });

TEST(EncodingTest, NamesWhatItDoesNotKnow) {
  EXPECT_EQ(ParseEncoding(""), Encoding::kGzip);
  EXPECT_THAT(ParseEncoding("s2").error().message, testing::HasSubstr("'s2' is not supported"));
}

TEST(HashingSourceTest, HashesEverythingAndLimitsTheRest) {
  TextSource source("abc");
  HashingSource hashing(source);
  Drain(hashing, 10);
  EXPECT_EQ(hashing.Hex(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  const std::string much(1000, 'x');
  TextSource again(much);
  HashingSource limited(again);
  EXPECT_THROW(Drain(limited, 10), Failure);
}

Task<void> WriteAll(BytePipe& pipe, int chunks, std::size_t& written, std::stop_token stop) {
  for (int i = 0; i < chunks; ++i) {
    co_await pipe.Write(std::string(1000, static_cast<char>('a' + i % 26)), stop);
    ++written;
  }
  pipe.CloseWrite();
}

TEST(BytePipeTest, HoldsTheWriterBackUntilTheThreadReads) {
  Loop loop("test");
  BytePipe pipe(4000);
  std::size_t written = 0;
  TaskGroup group(loop.executor(), Logger(), "test");
  group.Spawn(WriteAll(pipe, 500, written, group.stop_token()));
  loop.Poll();
  EXPECT_EQ(written, 4U);
  std::string got;
  std::thread reader([&] { got = ReadAll(pipe.source(), 777); });
  loop.RunUntilDone(group.Join());
  reader.join();
  EXPECT_EQ(got.size(), 500'000U);
  EXPECT_EQ(got[1000], 'b');
}

Task<std::string> ReadAsync(BytePipe& pipe, std::stop_token stop) {
  std::string all;
  for (;;) {
    const std::string chunk = co_await pipe.Read(stop);
    if (chunk.empty()) co_return all;
    all += chunk;
  }
}

TEST(BytePipeTest, BringsAThreadsOutputToTheLoop) {
  Loop loop("test");
  BytePipe pipe(100'000);
  std::thread writer([&] {
    for (int i = 0; i < 3000; ++i)
      pipe.sink().Write(std::string(333, 'x'));
    pipe.sink().Finish();
  });
  EXPECT_EQ(loop.RunUntilDone(ReadAsync(pipe, {})).size(), 3000U * 333U);
  writer.join();
}

TEST(BytePipeTest, FailingFreesBothEnds) {
  Loop loop("test");
  BytePipe pipe(10);
  bool threw = false;
  std::thread writer([&] {
    try {
      for (;;)
        pipe.sink().Write(std::string(200'000, 'x'));
    } catch (const Cancelled&) {
      threw = true;
    }
  });
  pipe.Fail(std::make_exception_ptr(Cancelled()));
  writer.join();
  EXPECT_TRUE(threw);
  EXPECT_THROW(loop.RunUntilDone(ReadAsync(pipe, {})), Cancelled);
  std::stop_source stop;
  stop.request_stop();
  BytePipe other;
  EXPECT_THROW(loop.RunUntilDone(ReadAsync(other, stop.get_token())), Cancelled);
}

}  // namespace
}  // namespace pinion::archive
