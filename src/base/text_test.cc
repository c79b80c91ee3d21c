#include "base/text.h"

#include <gtest/gtest.h>

namespace pinion {
namespace {

TEST(TextTest, SplitsAtEverySeparator) {
  using Parts = std::vector<std::string_view>;
  EXPECT_EQ(Split("a,b", ','), (Parts{"a", "b"}));
  EXPECT_EQ(Split(",a,,", ','), (Parts{"", "a", "", ""}));
  EXPECT_EQ(Split("", ','), (Parts{""}));
}

TEST(TextTest, TrimsAllWhiteSpaceAtTheEnds) {
  EXPECT_EQ(Trim(" \t\r\n a b \v\f"), "a b");
  EXPECT_EQ(Trim(" \n"), "");
  EXPECT_EQ(Trim(""), "");
}

TEST(TextTest, ANumberIsTheWholeText) {
  EXPECT_EQ(ParseNumber("-17"), -17);
  EXPECT_EQ(ParseNumber("9223372036854775807"), INT64_MAX);
  for (const char* text : {"", " 1", "1 ", "1\n", "+1", "0x1", "1.0", "9223372036854775808", "-"})
    EXPECT_FALSE(ParseNumber(text)) << text;
}

TEST(TextTest, LowersAsciiOnly) {
  EXPECT_EQ(ToLower("AZ[az]09\xc3\x84"), "az[az]09\xc3\x84");
}

TEST(TextTest, JoinsWithSeparatorsInBetween) {
  EXPECT_EQ(Join({}, ", "), "");
  EXPECT_EQ(Join({"a"}, ", "), "a");
  EXPECT_EQ(Join({"a", "b", "c"}, ", "), "a, b, c");
  EXPECT_EQ(Join({"", "b"}, ","), ",b");
}

TEST(TextTest, SuggestsWhatIsNear) {
  const std::vector<std::string_view> names = {"trigger-job", "pause-job", "jobs"};
  EXPECT_EQ(Nearest("triger-job", names), "trigger-job");
  EXPECT_EQ(Nearest("paus-jbo", names), "");  // three edits of eight letters
  EXPECT_EQ(Nearest("pause-jbo", names), "pause-job");
  EXPECT_EQ(Nearest("job", names), "jobs");
  EXPECT_EQ(Nearest("completely-else", names), "");
  EXPECT_EQ(Nearest("x", {}), "");
}

}  // namespace
}  // namespace pinion
