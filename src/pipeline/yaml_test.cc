#include "pipeline/yaml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinion::pipeline {
namespace {

using ::testing::HasSubstr;

std::string Text(std::string_view yaml) {
  const auto document = ParseYaml(yaml);
  if (!document) return "error: " + document.error().message;
  const auto json = NodeToJson(document->root);
  return json ? ToText(*json) : "error: " + json.error().message;
}

TEST(YamlTest, ScalarsResolveAsInYaml11) {
  EXPECT_EQ(Text("[yes, No, on, OFF, y, n, true, 'yes']"),
            R"([true,false,true,false,true,false,true,"yes"])");
  EXPECT_EQ(Text("[~, null, '', 'null']"), R"([null,null,"","null"])");
  EXPECT_EQ(Text("[12, -0x1F, 010, 0o17, 0b101, 1_000, +3, 08, 9223372036854775807]"),
            "[12,-31,8,15,5,1000,3,8,9223372036854775807]");
  EXPECT_EQ(Text("[1.5, .5, 1e3, 1., 1:30, 2020-01-02, 1e999, '1.5', 1.2.3]"),
            R"([1.5,0.5,1000,1,"1:30","2020-01-02","1e999","1.5","1.2.3"])");
  EXPECT_EQ(Text("[!!str 12, !!int '12', !!float 1, !custom 12, !!binary aGk=]"),
            R"(["12",12,1,"12","hi"])");
  EXPECT_THAT(Text("a: !!int x"), HasSubstr("line 1, column 4"));
}

TEST(YamlTest, EveryNodeKnowsItsPlace) {
  const auto document = ParseYaml("a:\n  - b: 1\n    c: [x, y]\n");
  const Node& list = document->root.entries[0].value;
  EXPECT_EQ(list.at, (Position{2, 3}));
  EXPECT_EQ(list.items[0].entries[1].key.at, (Position{3, 5}));
  EXPECT_EQ(list.items[0].entries[1].value.items[1].at, (Position{3, 12}));
}

TEST(YamlTest, AliasesAndMergesAreExpandedInOrder) {
  EXPECT_EQ(Text("x: &a {k: 1, l: 2}\nv: *a\nz: {<<: *a, k: 3}\nw: {k: 3, <<: *a}"),
            R"({"v":{"k":1,"l":2},"w":{"k":1,"l":2},"x":{"k":1,"l":2},"z":{"k":3,"l":2}})");
  EXPECT_EQ(Text("a: &a {k: 1}\nb: &b {k: 2, m: 3}\nc: {<<: [*a, *b]}"),
            R"({"a":{"k":1},"b":{"k":2,"m":3},"c":{"k":1,"m":3}})");
  EXPECT_THAT(Text("a: {<<: 1}"), HasSubstr("takes a mapping"));
  EXPECT_THAT(Text("a: *b"), HasSubstr("no anchor 'b'"));
  EXPECT_THAT(Text("a: &a [*a]"), HasSubstr("contains itself"));
}

TEST(YamlTest, RepeatedKeysAreToldAndTheLastOneWins) {
  const auto document = ParseYaml("a: 1\nb: {c: 1, c: 2}\na: 3\n");
  EXPECT_EQ(ToText(*NodeToJson(document->root)), R"({"a":3,"b":{"c":2}})");
  ASSERT_EQ(document->repeated_keys.size(), 2U);
  EXPECT_EQ(document->repeated_keys[1].Text(),
            "line 3, column 1: the key 'a' is already there at line 1");
}

TEST(YamlTest, KeysBecomeText) {
  EXPECT_EQ(Text("{1: a, 1.5: b, true: c}"), R"({"1":"a","1.5":"b","true":"c"})");
  EXPECT_THAT(Text("{null: a}"), HasSubstr("not null"));
  EXPECT_THAT(Text("{[a]: b}"), HasSubstr("not list"));
}

TEST(YamlTest, OnlyTheFirstDocumentIsRead) {
  EXPECT_EQ(Text("a: 1\n---\n: : broken ["), R"({"a":1})");
  EXPECT_EQ(Text(""), "null");
  EXPECT_EQ(Text("# nothing\n"), "null");
  EXPECT_EQ(Text(R"({"a": [1, "\u0041"]})"), R"({"a":[1,"A"]})");
}

TEST(YamlTest, SyntaxErrorsNameThePlace) {
  EXPECT_EQ(ParseYaml("jobs:\n\t- name: j").error().message,
            "line 2, column 1: found character that cannot start any token, while scanning for the "
            "next token");
  EXPECT_EQ(ParseYaml("a: [1").error().kind, ErrorKind::kInvalid);
}

TEST(YamlTest, HostileInputIsRefusedWithTheLimitThatItPasses) {
  const auto refused = [](std::string_view text) {
    const auto document = ParseYaml(text);
    return document ? ErrorKind::kInternal : document.error().kind;
  };
  EXPECT_EQ(refused(std::string((10 << 20) + 1, 'a')), ErrorKind::kTooLarge);
  EXPECT_EQ(refused(std::string(10'000, '[')), ErrorKind::kTooLarge);
  std::string deep;
  for (int i = 0; i < 10'000; ++i)
    deep += std::string(static_cast<std::size_t>(i % 300), ' ') + "- ";
  EXPECT_NE(refused(deep), ErrorKind::kInternal);
  std::string braces;
  for (int i = 0; i < 10'000; ++i)
    braces += "{a: ";
  EXPECT_EQ(refused(braces), ErrorKind::kTooLarge);
  EXPECT_EQ(refused("a: \xFF\xFE\xFD"), ErrorKind::kInvalid);
  EXPECT_EQ(refused(std::string_view("a: \0b", 5)), ErrorKind::kInvalid);

  std::string bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 12; ++i) {
    const std::string previous = "*a" + std::to_string(i - 1);
    bomb += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [";
    for (int k = 0; k < 10; ++k)
      bomb += previous + ", ";
    bomb += "]\n";
  }
  EXPECT_EQ(refused(bomb), ErrorKind::kTooLarge);
  std::string long_text = "a: &a " + std::string(1 << 20, 'x') + "\nb: [";
  for (int i = 0; i < 1000; ++i)
    long_text += "*a, ";
  EXPECT_EQ(refused(long_text + "]"), ErrorKind::kTooLarge);
  std::string tower = "a0: &a0 [x]\n";
  for (int i = 1; i < 200; ++i) {
    tower += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [*a" + std::to_string(i - 1) +
             "]\n";
  }
  EXPECT_EQ(refused(tower), ErrorKind::kTooLarge);
}

TEST(YamlTest, TenMegabytesOfItemsAreRefusedByCount) {
  std::string many = "a:\n";
  while (many.size() < (9U << 20))
    many += "- 1\n";
  const auto document = ParseYaml(many);
  ASSERT_FALSE(document);
  EXPECT_EQ(document.error().kind, ErrorKind::kTooLarge);
  EXPECT_THAT(document.error().message, HasSubstr("more than 1000000 values"));
}

TEST(YamlTest, FloatsPrintAsGoPrintsThem) {
  EXPECT_EQ(FloatText(1e6, 64), "1e+06");
  EXPECT_EQ(FloatText(1234567.5, 64), "1.2345675e+06");
  EXPECT_EQ(FloatText(123456, 64), "123456");
  EXPECT_EQ(FloatText(0.0001, 64), "0.0001");
  EXPECT_EQ(FloatText(0.00001, 64), "1e-05");
  EXPECT_EQ(FloatText(123456789.0, 32), "1.2345679e+08");
  EXPECT_EQ(FloatText(-12.25, 64), "-12.25");
  EXPECT_EQ(FloatText(7.7e44, 32), ".inf");
  EXPECT_EQ(FloatText(-7.7e44, 32), "-.inf");
  EXPECT_EQ(FloatText(7.7e44, 64), "7.7e+44");
}

TEST(YamlTest, EmittedTextIsInBlockStyleAndNaturalOrder) {
  const Json value = JsonObject{
      {"b10", 1},          {"b2", JsonArray{JsonObject{{"x", "yes"}, {"a", nullptr}}, "one\ntwo"}},
      {"a", JsonObject{}}, {"1", JsonArray{}},
      {"s", "12"},         {"t", "a: b"},
      {"f", 1e21},         {"g", 2.0}};
  EXPECT_EQ(EmitYaml(value),
            "\"1\": []\n"
            "a: {}\n"
            "b2:\n"
            "- a: null\n"
            "  x: \"yes\"\n"
            "- |-\n"
            "  one\n"
            "  two\n"
            "b10: 1\n"
            "f: 1e+21\n"
            "g: 2\n"
            "s: \"12\"\n"
            "t: 'a: b'\n");
}

TEST(YamlTest, EmittedTextReadsBack) {
  for (const std::string text :
       {"",   " x", "x ", "a#b", "a #b", "- x",    "2020-01-01", "1:30",  "<<",  "=",  "~",
        "'",  "\"", "\\", "a\n", "\n",   "a\n\nb", "\ta",        "((x))", "{",   "[",  "%a",
        "@a", "`a", "é",  "😀",  "\x7f", "a\tb",   "*a",         "&a",    "!a",  "|",  ">",
        "?",  ":",  "a:", ": a", "off",  "1e3",    ".5",         "0x1F",  "---", "..."}) {
    const std::string yaml = EmitYaml(JsonArray{text, JsonObject{{text, text}}});
    const auto document = ParseYaml(yaml);
    ASSERT_TRUE(document) << yaml << document.error().message;
    EXPECT_EQ(ToText(*NodeToJson(document->root)),
              ToText(JsonArray{text, JsonObject{{text, text}}}))
        << yaml;
  }
}

}  // namespace
}  // namespace pinion::pipeline
