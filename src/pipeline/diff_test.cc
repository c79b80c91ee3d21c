#include "pipeline/diff.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/reader.h"

namespace pinion::pipeline {
namespace {

Pipeline Read(std::string_view yaml) {
  return ReadPipeline(yaml)->pipeline;
}

TEST(DiffTest, EqualPipelinesHaveNoDiff) {
  const Pipeline a = Read("jobs: [{name: j, plan: [{get: r, params: {a: 300, b: 1}}]}]");
  const Pipeline b = Read("jobs:\n- plan:\n  - {params: {b: 1, a: 300}, get: r}\n  name: j\n");
  EXPECT_EQ(DiffText(a, b, Colour::kNone), "");
}

TEST(DiffTest, PartsAreAddedChangedAndRemoved) {
  const Pipeline before = Read(
      "resources: [{name: gone, type: git}]\njobs: [{name: j, serial: true, plan: [{get: a}]}]");
  const Pipeline after = Read(
      "prototypes: [{name: p, type: git}]\njobs: [{name: j, serial: true, plan: [{get: b}]}]\n"
      "display: {background_image: x}");
  EXPECT_EQ(DiffText(before, after, Colour::kNone),
            "resources:\n"
            "  resource gone has been removed:\n"
            "  \b\b- name: gone\n"
            "  \b\b- source: null\n"
            "  \b\b- type: git\n"
            "  \n"
            "prototypes:\n"
            "  prototype p has been added:\n"
            "  \b\b+ name: p\n"
            "  \b\b+ source: null\n"
            "  \b\b+ type: git\n"
            "  \n"
            "jobs:\n"
            "  job j has changed:\n"
            "  name: j\n"
            "  plan:\n"
            "  \b\b- - get: a\n"
            "  \b\b+ - get: b\n"
            "  serial: true\n"
            "  \n"
            "  display configuration has been added:\n"
            "  \b\b+ background_image: x\n"
            "  \n");
}

TEST(DiffTest, ColoursFollowTheMarks) {
  const std::string text = DiffText({}, Read("jobs: [{name: j}]"), Colour::kAnsi);
  EXPECT_THAT(text, ::testing::HasSubstr("\x1b[0;33mjob j has been added:\x1b[0m\n"));
  EXPECT_THAT(text, ::testing::HasSubstr("\b\b\x1b[0;32m+\x1b[0m \x1b[0;32mname: j\x1b[0m\n"));
}

TEST(DiffTest, MovedGroupsAreTold) {
  const Pipeline before = Read("groups: [{name: a}, {name: b}]");
  const Pipeline after = Read("groups: [{name: b}, {name: a}]");
  EXPECT_THAT(DiffText(before, after, Colour::kNone),
              ::testing::StartsWith("groups:\n  group a has changed:\n  name: a\n"));
}

TEST(DiffTest, VeryLongPartsAreReplacedAsAWhole) {
  Pipeline before;
  JsonArray many;
  for (int i = 0; i < 100'000; ++i)
    many.push_back(i);
  before.user_data = many;
  Pipeline after;
  std::ranges::reverse(many);
  after.user_data = many;
  EXPECT_GT(DiffText(before, after, Colour::kNone).size(), 1'000'000U);
}

}  // namespace
}  // namespace pinion::pipeline
