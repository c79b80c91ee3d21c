#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vars/template.h"

namespace pinion::vars {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(ReferenceTest, PartsAreSplitOutsideQuotes) {
  const auto reference = Reference::Parse("vault:\"a.b:c\".d.e");
  ASSERT_TRUE(reference);
  EXPECT_EQ(*reference, (Reference{"vault", "a.b:c", {"d", "e"}}));
  EXPECT_EQ(reference->Text(), "vault:\"a.b:c\".d.e");
  EXPECT_EQ(Reference::Parse(".:x")->source, ".");
  EXPECT_EQ(Reference::Parse("a/b")->path, "a/b");
}

TEST(ReferenceTest, ItsOwnTextNamesTheSame) {
  for (const std::string_view text :
       {"\"a b&<c>\"", "\"a.b\\c\"", "s:\"x:\x1a\".\"\ty\"", "a\"b:c", "\"tab\t\".d"}) {
    const auto reference = Reference::Parse(text);
    ASSERT_TRUE(reference) << text;
    const auto again = Reference::Parse(reference->Text());
    ASSERT_TRUE(again) << reference->Text();
    EXPECT_EQ(*again, *reference) << reference->Text();
  }
}

TEST(ReferenceTest, EmptySegmentsAndQuotedSourcesAreRefused) {
  for (const std::string_view text : {"", "a:", "a..b", ".a", "a.", "\"\"", "\"a\":b"}) {
    EXPECT_FALSE(Reference::Parse(text)) << text;
  }
}

TEST(TemplateTest, NamesAreFoundInOrder) {
  EXPECT_THAT(NamesIn("x((a))((b.c))(((d)) ((e f)) ((.:g)) (( h)) ((задача)) ((a"),
              ElementsAre("a", "b.c", "d", ".:g", "задача"));
  EXPECT_THAT(NamesIn("(a) ()() (())"), IsEmpty());
}

TEST(TemplateTest, OneVarAloneKeepsItsType) {
  const StaticVariables variables(
      JsonObject{{"list", JsonArray{1, 2}}, {"n", 5}, {"o", JsonObject{{"f", true}}}});
  const Json value = JsonObject{{"a", "((list))"}, {"b", "((o.f))"}, {"c", "x((n))y((n))"}};
  EXPECT_EQ(ToText(*Interpolate(value, variables)), R"({"a":[1,2],"b":true,"c":"x5y5"})");
}

TEST(TemplateTest, OnlyTextsAndNumbersFitIntoTexts) {
  const StaticVariables variables(JsonObject{{"list", JsonArray{1}}, {"b", true}, {"t", "T"}});
  EXPECT_EQ(Interpolate("x((t))", variables)->AsString(), "xT");
  EXPECT_THAT(Interpolate("x((list))", variables).error().message,
              HasSubstr("var list has a value of type array"));
  EXPECT_FALSE(Interpolate("x((b))", variables));
}

TEST(TemplateTest, MissingVarsStayOrAreReported) {
  const StaticVariables variables(JsonObject{{"a", "1"}});
  const Json value = JsonArray{"((a))-((b))", "((c:d))", "((b))"};
  EXPECT_EQ(ToText(*Interpolate(value, variables)), R"j(["1-((b))","((c:d))","((b))"])j");
  EXPECT_EQ(InterpolateAll(value, variables).error().message, "undefined vars: b, c:d");
  EXPECT_FALSE(Interpolate("((a:))", variables));
}

TEST(TemplateTest, KeysAreInterpolatedToo) {
  const StaticVariables variables(JsonObject{{"k", "key"}, {"n", 1}, {"l", JsonArray{}}});
  EXPECT_EQ(ToText(*Interpolate(JsonObject{{"((k))", 1}, {"((n))", 2}}, variables)),
            R"({"key":1,"1":2})");
  EXPECT_FALSE(Interpolate(JsonObject{{"((l))", 1}}, variables));
}

TEST(TemplateTest, ReferencesAreListedOnce) {
  const auto references =
      References(JsonObject{{"((k))", JsonArray{"((a)) ((b:c.d))", "((a))"}}, {"x", 1}});
  ASSERT_TRUE(references);
  EXPECT_THAT(*references, ElementsAre(Reference{"", "k", {}}, Reference{"", "a", {}},
                                       Reference{"b", "c", {"d"}}));
}

TEST(TemplateTest, TextsThatGrowWithoutEndAreRefused) {
  const StaticVariables variables(JsonObject{{"a", std::string(1 << 20, 'x')}});
  std::string text;
  for (int i = 0; i < 100; ++i)
    text += "((a))";
  EXPECT_EQ(Interpolate(text, variables).error().kind, ErrorKind::kTooLarge);
}

TEST(VariablesTest, FieldsAreFollowedOrTheirLackIsNamed) {
  const StaticVariables variables(JsonObject{{"a", JsonObject{{"b", JsonObject{{"c", 1}}}}}});
  EXPECT_EQ((*variables.Get({"", "a", {"b", "c"}}))->AsInteger(), 1);
  EXPECT_EQ(variables.Get({"", "a", {"x"}}).error().message, "missing field 'x' in var: a.x");
  EXPECT_THAT(variables.Get({"", "a", {"b", "c", "d"}}).error().message,
              HasSubstr("cannot access field 'd'"));
  EXPECT_FALSE(*variables.Get({"s", "a", {}}));
}

TEST(VariablesTest, DottedNamesMergeAndLaterOnesWin) {
  StaticVariables variables;
  variables.Set({"", "a", {"b"}}, 1);
  variables.Set({"", "a", {"c", "d"}}, 2);
  EXPECT_EQ(ToText(variables.ToJson()), R"({"a":{"b":1,"c":{"d":2}}})");
  variables.Set({"", "a", {"b", "x"}}, 3);
  variables.Set({"", "e", {}}, 4);
  EXPECT_EQ(ToText(variables.ToJson()), R"({"a":{"b":{"x":3},"c":{"d":2}},"e":4})");
}

TEST(VariablesTest, TheFirstLayerThatKnowsWins) {
  const StaticVariables first(JsonObject{{"a", 1}});
  const StaticVariables second(JsonObject{{"a", 2}, {"b", 3}});
  const LayeredVariables both({&first, &second});
  EXPECT_EQ((*both.Get({"", "a", {}}))->AsInteger(), 1);
  EXPECT_EQ((*both.Get({"", "b", {}}))->AsInteger(), 3);
  EXPECT_FALSE(*both.Get({"", "c", {}}));
}

TEST(VariablesTest, ResolvedValuesAreFoundBySourceAndPath) {
  ResolvedVariables variables;
  variables.Set({"vault", "db", {"password"}}, JsonObject{{"password", "p"}, {"user", "u"}});
  EXPECT_TRUE(variables.Has({"vault", "db", {"user"}}));
  EXPECT_EQ((*variables.Get({"vault", "db", {"user"}}))->AsString(), "u");
  EXPECT_FALSE(*variables.Get({"", "db", {}}));
}

TEST(VariablesTest, LocalScopesHideTheScopesAroundThem) {
  LocalVariables outer;
  outer.Set("a", "one", true);
  outer.Set("b", "two", false);
  LocalVariables inner(&outer);
  inner.Set("a", JsonObject{{"x", JsonArray{"three", 3}}, {"y", "four"}}, true);
  EXPECT_EQ(ToText(**inner.Get({".", "a", {"x"}})), R"(["three",3])");
  EXPECT_EQ((*inner.Get({".", "b", {}}))->AsString(), "two");
  EXPECT_EQ((*outer.Get({".", "a", {}}))->AsString(), "one");
  EXPECT_FALSE(*inner.Get({"", "a", {}}));
  EXPECT_THAT(inner.SecretTexts(), ElementsAre("four", "one"));
}

}  // namespace
}  // namespace pinion::vars
