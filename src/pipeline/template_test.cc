#include "pipeline/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/format.h"

namespace pinion::pipeline {
namespace {

using ::testing::HasSubstr;

TEST(PipelineTemplateTest, UsesAreListedWithTheirPlaces) {
  const auto document = ParseYaml("a: ((x))\n((k)):\n  - \"((y.z)) ((s:p))\"\n");
  std::string text;
  for (const VarUse& use : VarUses(document->root)) {
    text +=
        use.name + "@" + std::to_string(use.at.line) + ":" + std::to_string(use.at.column) + " ";
  }
  EXPECT_EQ(text, "x@1:4 k@2:1 y.z@3:5 s:p@3:5 ");
}

TEST(PipelineTemplateTest, FlagsWinOverFilesAndLaterFilesOverEarlierOnes) {
  ClientVariables variables;
  ASSERT_TRUE(variables.AddFile("one.yml", "a: 1\nb: 1\nc: 1\no: {x: 1}\n"));
  ASSERT_TRUE(variables.AddFile("two.yml", "b: 2\nc: 2\n"));
  ASSERT_TRUE(variables.AddText("c=3"));
  ASSERT_TRUE(variables.AddYaml("d={e: [1]}"));
  variables.AddInstanceVars(JsonObject{{"d", JsonObject{{"f", 4}}}});
  const auto text =
      EvaluateTemplate("[((a)), ((b)), ((c)), ((d)), ((o.x)), ((left))]", variables, kClientRules);
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text, "- 1\n- 2\n- \"3\"\n- e:\n  - 1\n  f: 4\n- 1\n- ((left))\n");
}

TEST(PipelineTemplateTest, BrokenPairsAndFilesAreNamed) {
  ClientVariables variables;
  EXPECT_EQ(variables.AddText("nothing").error().message,
            "invalid variable pair 'nothing' (must be name=value)");
  EXPECT_FALSE(variables.AddYaml("a=[1"));
  EXPECT_THAT(variables.AddFile("x.yml", "[1]").error().message,
              HasSubstr("reading template variables (x.yml): expected a mapping"));
  EXPECT_TRUE(variables.AddFile("empty.yml", ""));
}

TEST(PipelineTemplateTest, FilledInPipelinesKeepTheirPlaces) {
  ClientVariables variables;
  ASSERT_TRUE(variables.AddYaml("n=[1]"));
  const auto parsed =
      LoadPipeline("jobs:\n- name: j\n  max_in_flight: ((n))\n", &variables, kClientRules);
  ASSERT_TRUE(parsed);
  EXPECT_EQ(IssuesText(parsed->issues),
            "line 3, column 18: jobs[0].max_in_flight: expected a whole number, got list");
}

TEST(PipelineTemplateTest, VarsThatDoNotFitNameTheirPlace) {
  ClientVariables variables;
  ASSERT_TRUE(variables.AddYaml("l=[1]"));
  const auto parsed = LoadPipeline("jobs:\n- name: j-((l))\n", &variables, kClientRules);
  EXPECT_EQ(
      parsed.error().message,
      "line 2, column 9: the var l has a value of type array, which does not fit into a text");
  EXPECT_THAT(LoadPipeline("x: ((a..b))", &variables, kClientRules).error().message,
              HasSubstr("line 1, column 4: invalid var 'a..b'"));
}

TEST(PipelineTemplateTest, RepeatedKeysAreRefusedWhereTheRulesSaySo) {
  const ClientVariables variables;
  EXPECT_FALSE(EvaluateTemplate("a: 1\na: 2\n", variables, kClientRules));
  EXPECT_TRUE(EvaluateTemplate("a: 1\na: 2\n", variables, kServerRules));
  EXPECT_EQ(LoadPipeline("jobs: []\njobs: []\n", nullptr, kStepRules)->issues.size(), 1U);
}

TEST(PipelineTemplateTest, VarsThatMultiplyTheDocumentAreRefused) {
  ClientVariables variables;
  std::string list = "l=[";
  for (int i = 0; i < 20'000; ++i)
    list += "1,";
  ASSERT_TRUE(variables.AddYaml(list + "]"));
  std::string text = "[";
  for (int i = 0; i < 100; ++i)
    text += "((l)),";
  EXPECT_EQ(EvaluateTemplate(text + "]", variables, kClientRules).error().kind,
            ErrorKind::kTooLarge);
}

}  // namespace
}  // namespace pinion::pipeline
