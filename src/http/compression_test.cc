#include "http/compression.h"

#include <gtest/gtest.h>

#include <array>

namespace pinion::http {
namespace {

std::string Unpack(std::string_view packed, bool& whole) {
  GzipReader reader;
  std::string text;
  std::array<char, 1000> room;
  for (;;) {
    const auto got = reader.Read(packed, room);
    if (!got) return "broken: " + got.error().message;
    if (*got == 0) break;
    text.append(room.data(), *got);
  }
  whole = reader.at_end();
  return text;
}

TEST(GzipJoinerTest, PiecesAreOneStream) {
  std::string text;
  GzipJoiner joiner;
  joiner.AddText("[");
  text += "[";
  for (int i = 0; i < 50; ++i) {
    const std::string piece(static_cast<std::size_t>(i * 37), static_cast<char>('a' + i % 20));
    joiner.Add(MakeGzipPiece(piece));
    joiner.AddText(",");
    text += piece + ",";
  }
  const std::string packed = joiner.Finish();
  bool whole = false;
  EXPECT_EQ(Unpack(packed, whole), text);
  // The checksum and the length at the end are those of the whole text.
  EXPECT_TRUE(whole);
  EXPECT_LT(packed.size(), text.size() / 4);
}

TEST(GzipJoinerTest, NothingIsAStreamToo) {
  bool whole = false;
  EXPECT_EQ(Unpack(GzipJoiner().Finish(), whole), "");
  EXPECT_TRUE(whole);
}

TEST(GzipJoinerTest, APieceIsUsedAgain) {
  std::string random;
  std::uint32_t state = 1;
  for (int i = 0; i < 100'000; ++i) {
    state = state * 1664525 + 1013904223;
    random += static_cast<char>(state >> 24);
  }
  const GzipPiece piece = MakeGzipPiece(random);
  GzipJoiner joiner;
  joiner.Add(piece);
  joiner.Add(piece);
  bool whole = false;
  EXPECT_EQ(Unpack(joiner.Finish(), whole), random + random);
  EXPECT_TRUE(whole);
}

}  // namespace
}  // namespace pinion::http
