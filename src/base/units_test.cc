#include "base/units.h"

#include <gtest/gtest.h>

namespace pinion {
namespace {

using namespace std::chrono_literals;

TEST(DurationTest, ReadsGoSyntax) {
  EXPECT_EQ(*ParseDuration("1h30m"), 90min);
  EXPECT_EQ(*ParseDuration("300ms"), 300ms);
  EXPECT_EQ(*ParseDuration("-1.5s"), -1500ms);
  EXPECT_EQ(*ParseDuration("0"), 0s);
  for (const char* bad : {"", "5", "h", "1x", "1h ", "--1s", "1..5s", "9999999999h"}) {
    EXPECT_FALSE(ParseDuration(bad)) << bad;
  }
}

TEST(DurationTest, PrintsAsGo) {
  EXPECT_EQ(DurationText(90min), "1h30m0s");
  EXPECT_EQ(DurationText(1500ms), "1.5s");
  EXPECT_EQ(DurationText(300ms), "300ms");
  EXPECT_EQ(DurationText(0s), "0s");
}

TEST(BytesTest, ReadsUnits) {
  EXPECT_EQ(*ParseBytes("10"), 10);
  EXPECT_EQ(*ParseBytes("1K"), 1024);
  EXPECT_EQ(*ParseBytes("2gib"), 2LL << 30);
  for (const std::int64_t bytes : {0LL, 100LL, 1024LL, 1025LL, 3LL << 20, 5LL << 30, 4096LL << 30})
    EXPECT_EQ(*ParseBytes(BytesText({bytes})), bytes);
  EXPECT_EQ(BytesText({4LL << 30}), "4G");
  for (const char* bad : {"", "K", "-1", "1T", "1ib", "99999999999999G"}) {
    EXPECT_FALSE(ParseBytes(bad)) << bad;
  }
}

}  // namespace
}  // namespace pinion
