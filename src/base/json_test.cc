#include "base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinion {
namespace {

TEST(JsonTest, ReadsAndWritesTheSameText) {
  const std::string text =
      R"({"a":[1,-2,true,null,"x\n\"\\\u003c"],"b":{"c":1.5},"d":9007199254740993})";
  const auto json = ParseJson(text);
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(ToText(*json), text);
}

TEST(JsonTest, LastOfRepeatedNamesWins) {
  EXPECT_EQ(ToText(*ParseJson(R"({"a":1,"b":2,"a":3})")), R"({"a":3,"b":2})");
}

TEST(JsonTest, ErrorsNameThePlace) {
  EXPECT_THAT(ParseJson("{\n  \"a\": nope}").error().message, ::testing::StartsWith("line 2"));
  EXPECT_EQ(ParseJson("{} x").error().message, "line 1, column 4: text after the document");
  EXPECT_FALSE(ParseJson(""));
  EXPECT_FALSE(ParseJson("{\"a\":1"));
}

TEST(JsonTest, LimitsHold) {
  EXPECT_EQ(ParseJson(std::string(200, '[')).error().kind, ErrorKind::kTooLarge);
  EXPECT_EQ(ParseJson("[1,2,3]", {.bytes = 3}).error().kind, ErrorKind::kTooLarge);
}

TEST(JsonTest, NumbersAreExact) {
  EXPECT_EQ(ToText(*ParseJson("[0e400,-0e400,1e-400,5e-324]")), "[0,0,0,5e-324]");
  EXPECT_EQ(ToText(*ParseJson("[0.8999999999999999,1.7976931348623157e308]")),
            "[0.8999999999999999,1.7976931348623157e+308]");
  EXPECT_FALSE(ParseJson("[1e400]"));
  EXPECT_FALSE(ParseJson("[-1e400]"));
}

TEST(JsonTest, LargeObjectsAreFoundByHash) {
  JsonObject object;
  for (int i = 0; i < 50'000; ++i)
    object.Set("key" + std::to_string(i), i);
  EXPECT_EQ(object.Find("key49999")->AsInteger(), 49'999);
  EXPECT_TRUE(object.Erase("key7"));
  EXPECT_EQ(object.Find("key7"), nullptr);
  EXPECT_EQ(object.Find("key8")->AsInteger(), 8);
}

TEST(JsonTest, BytesThatAreNotUtf8BecomeReplacements) {
  std::string out;
  AppendQuoted(out, "a\xFFz\xED\xA0\x80");
  EXPECT_EQ(out, "\"a\\ufffdz\\ufffd\\ufffd\\ufffd\"");
}

TEST(JsonTest, NumbersPrintAsGoPrintsThem) {
  EXPECT_EQ(ToText(Json(45.0)), "45");
  EXPECT_EQ(ToText(Json(0.1)), "0.1");
}

}  // namespace
}  // namespace pinion
