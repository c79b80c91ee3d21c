#include "base/json_fields.h"

#include <gtest/gtest.h>

namespace pinion {
namespace {

struct Inner {
  std::string text;
  std::vector<int> numbers;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("text", self.text);
    visit("numbers", self.numbers, kOmitEmpty);
  }
};

struct Outer {
  bool flag = true;
  std::int8_t small = 0;
  double ratio = 0;
  BuildId id;
  std::optional<Inner> inner;
  Box<Outer> outer;
  std::map<std::string, Inner> by_name;
  Json any;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("flag", self.flag);
    visit("small", self.small, kOmitEmpty);
    visit("ratio", self.ratio, kOmitEmpty);
    visit("id", self.id, kOmitEmpty);
    visit("inner", self.inner, kOmitEmpty);
    visit("outer", self.outer, kOmitEmpty);
    visit("by_name", self.by_name, kOmitEmpty);
    visit("any", self.any, kOmitEmpty);
  }
};

std::string ErrorOf(std::string_view text) {
  const auto read = FromText<Outer>(text);
  return read ? "" : read.error().message;
}

TEST(JsonFieldsTest, WritesInOrderAndLeavesEmptyFieldsOut) {
  EXPECT_EQ(ToText(ToJson(Outer())), R"({"flag":true})");
  Outer outer;
  outer.small = -1;
  outer.id = BuildId{7};
  outer.inner = Inner{"t", {1, 2}};
  outer.outer = Outer();
  outer.by_name["n"] = Inner();
  outer.any = JsonArray{Json()};
  EXPECT_EQ(ToText(ToJson(outer)),
            R"({"flag":true,"small":-1,"id":7,"inner":{"text":"t","numbers":[1,2]},)"
            R"("outer":{"flag":true},"by_name":{"n":{"text":""}},"any":[null]})");
}

TEST(JsonFieldsTest, ReadsWhatItWrites) {
  const std::string text =
      R"({"flag":false,"small":127,"ratio":1.5,"id":9007199254740993,)"
      R"("inner":{"text":"t","numbers":[1,2]},"outer":{"flag":true,"outer":{"flag":false}},)"
      R"("by_name":{"a":{"text":"x"},"b":{"text":"y"}},"any":{"k":[1]}})";
  const auto read = FromText<Outer>(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(ToText(ToJson(*read)), text);
}

TEST(JsonFieldsTest, AbsentNullAndUnknownMembersLeaveTheDefault) {
  const auto read = FromText<Outer>(R"({"flag":null,"unknown":{"deep":1},"inner":null})");
  ASSERT_TRUE(read);
  EXPECT_TRUE(read->flag);
  EXPECT_FALSE(read->inner);
}

TEST(JsonFieldsTest, MistakesNameThePath) {
  EXPECT_EQ(ErrorOf("[]"), "document: expected object, got array");
  EXPECT_EQ(ErrorOf(R"({"flag":1})"), "flag: expected boolean, got number");
  EXPECT_EQ(ErrorOf(R"({"small":128})"), "small: number out of range");
  EXPECT_EQ(ErrorOf(R"({"small":1.5})"), "small: expected integer, got number");
  EXPECT_EQ(ErrorOf(R"({"inner":{"numbers":[1,"2"]}})"),
            "inner.numbers[1]: expected integer, got string");
  EXPECT_EQ(ErrorOf(R"({"outer":{"by_name":{"n":{"text":[]}}}})"),
            "outer.by_name.n.text: expected string, got array");
}

}  // namespace
}  // namespace pinion
