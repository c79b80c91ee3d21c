#include "pipeline/reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/format.h"
#include "pipeline/validate.h"

namespace pinion::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Pipeline MustRead(std::string_view yaml) {
  auto parsed = ReadPipeline(yaml, kStepRules);
  if (!parsed) throw Failure(parsed.error());
  if (!parsed->issues.empty()) throw Failure(ErrorKind::kInvalid, IssuesText(parsed->issues));
  return std::move(parsed->pipeline);
}

TEST(ReaderTest, StepsKeepAllTheyAreGiven) {
  const Pipeline pipeline = MustRead(R"(
jobs:
- name: unit
  serial_groups: [a]
  max_in_flight: 5
  plan:
  - get: repo
    resource: git-repo
    passed: [build, "x-*"]
    version: {ref: abc}
    trigger: true
    tags: [t, ""]
    timeout: 5m
    attempts: 3
    ensure: {put: out, inputs: [" a ", b], no_get: true}
  - do:
    - task: test
      file: repo/test.yml
      params: {A: 1, F: 1.5, B: yes, X: ~, L: [1, {b: 2, a: 1}]}
      container_limits: {cpu: 512, memory: 1gb}
    timeout: 1h
    across: [{var: v, values: [1, x], max_in_flight: all}]
    fail_fast: true
)");
  const Job& job = pipeline.jobs.at(0);
  EXPECT_EQ(job.MaxInFlight(), 1);
  const auto& get = std::get<GetStep>(job.plan.at(0).core);
  EXPECT_EQ(get.ResourceName(), "git-repo");
  EXPECT_THAT(get.passed, ElementsAre("build", "x-*"));
  EXPECT_EQ(get.version->pinned->at("ref"), "abc");
  EXPECT_THAT(get.tags, ElementsAre("t"));
  EXPECT_EQ(get.timeout, "5m");
  EXPECT_FALSE(job.plan[0].timeout);
  EXPECT_EQ(job.plan[0].attempts, 3);
  const auto& put = std::get<PutStep>(job.plan[0].ensure->core);
  EXPECT_EQ(ToText(put.inputs), R"(["a","b"])");
  const Step& list = job.plan.at(1);
  EXPECT_EQ(list.timeout, "1h");
  EXPECT_TRUE(list.across->fail_fast);
  EXPECT_EQ(ToText(list.across->vars.at(0).max_in_flight), R"("all")");
  const auto& task = std::get<TaskStep>(std::get<DoStep>(list.core).steps.at(0).core);
  EXPECT_EQ(
      task.params,
      (std::map<std::string, std::string>{
          {"A", "1"}, {"F", "1.5"}, {"B", "true"}, {"X", ""}, {"L", R"([1,{"a":1,"b":2}])"}}));
  EXPECT_EQ(task.container_limits->cpu, 512);
  EXPECT_EQ(task.container_limits->memory, 1 << 30);
}

TEST(ReaderTest, StepsAreVisitedHooksIncludedOuterFirst) {
  const Pipeline pipeline = MustRead(R"(
jobs:
- name: unit
  on_failure: {put: z}
  plan:
  - in_parallel:
    - get: a
      on_success: {put: b}
    - try: {do: [{get: c}]}
    ensure: {get: d}
)");
  const Job& job = pipeline.jobs[0];
  std::vector<std::string> gets;
  for (const GetStep* get : Inputs(job))
    gets.push_back(get->name);
  EXPECT_THAT(gets, ElementsAre("a", "c", "d"));
  std::vector<std::string> puts;
  for (const PutStep* put : Outputs(job))
    puts.push_back(put->name);
  EXPECT_THAT(puts, ElementsAre("b", "z"));
  int steps = 0;
  ForEachStep(job, [&](const Step&) { ++steps; });
  EXPECT_EQ(steps, 8);
}

TEST(ReaderTest, SourcesAreFoundByTheWordsOfMessages) {
  const auto parsed =
      ReadPipeline("jobs:\n- name: unit\n  plan:\n  - do:\n    - task: t\n      attempts: 2\n");
  const SourceMap& sources = parsed->sources;
  EXPECT_EQ(sources.Find("jobs[0]"), (Position{2, 3}));
  EXPECT_EQ(sources.Find("jobs.unit"), (Position{2, 3}));
  EXPECT_EQ(sources.Find("jobs.unit.plan.do[0].do[0].task(t)"), (Position{5, 13}));
  EXPECT_EQ(sources.Find("jobs.unit.plan.do[0].do[0].attempts"), (Position{6, 17}));
  EXPECT_FALSE(sources.Find("jobs.other"));
}

TEST(ReaderTest, CheckIntervalsTakeTheirNormalForm) {
  const Pipeline pipeline = MustRead(R"(
resources:
- {name: a, type: t, check_every: 90m}
- {name: b, type: t, check_every: never}
- {name: c, type: t, check_every: "0"}
jobs: [{name: unit}]
)");
  EXPECT_EQ(pipeline.resources[0].check_every, "1h30m0s");
  EXPECT_EQ(pipeline.resources[1].check_every, "never");
  EXPECT_EQ(pipeline.resources[2].check_every, "");
}

TEST(ReaderTest, TaskFilesAreHeldToAllRules) {
  const auto config = LoadTaskConfig(R"(
platform: linux
image_resource: {type: registry-image, source: {repository: busybox}, version: {digest: x}}
inputs: [{name: repo}, {name: dep, path: vendor, optional: true}]
outputs: [{name: out}]
caches: [{path: cache}]
params: {A: ~}
run: {path: sh, args: [-c, make], dir: repo, user: nobody}
)");
  ASSERT_TRUE(config) << config.error().message;
  EXPECT_EQ(config->inputs[1].MountPath(), "vendor");
  EXPECT_EQ(config->image_resource->version->at("digest"), "x");
  EXPECT_THAT(config->run.args, ElementsAre("-c", "make"));

  const auto broken = LoadTaskConfig("ouputs: []\ninputs: [{}]\nrun: {path: 1}\n");
  ASSERT_FALSE(broken);
  EXPECT_EQ(broken.error().kind, ErrorKind::kInvalid);
  EXPECT_EQ(broken.error().message,
            "line 3, column 13: run.path: expected text, got number 1\n"
            "unknown fields: [ouputs]\n"
            "invalid task configuration:\n"
            "missing 'platform'\n"
            "  input in position 0 is missing a name");
}

TEST(ReaderTest, HostilePipelinesAreRefusedOrTold) {
  std::string nested = "jobs: [{name: j, plan: [";
  for (int i = 0; i < 10'000; ++i)
    nested += "{try: ";
  EXPECT_EQ(ReadPipeline(nested).error().kind, ErrorKind::kTooLarge);

  // As deep as is read, with every modifier.
  std::string deep = "{task: t, file: a/b}";
  for (int i = 0; i < 45; ++i) {
    deep = "{do: [" + deep + "], timeout: 1h, attempts: 1, ensure: {task: e, file: a/b}}";
  }
  const auto parsed = ReadPipeline("jobs: [{name: j, plan: [" + deep + "]}]");
  ASSERT_TRUE(parsed) << parsed.error().message;
  EXPECT_TRUE(Validate(parsed->pipeline, &parsed->sources).ok());

  std::string wrong = "jobs: [{name: j, plan: [";
  for (int i = 0; i < 100'000; ++i)
    wrong += "1, ";
  const auto told = ReadPipeline(wrong + "]}]");
  EXPECT_EQ(told->issues.size(), 200U);
}

TEST(ReaderTest, LongChainsOfJobsAreWalkedWithoutTheStack) {
  std::string yaml = "resources: [{name: r, type: git}]\njobs:\n- {name: j0, plan: [{get: r}]}\n";
  const int count = 5'000;
  for (int i = 1; i < count; ++i) {
    yaml += "- {name: j" + std::to_string(i) + ", plan: [{get: r, passed: [j" +
            std::to_string(i - 1) + "]}]}\n";
  }
  const auto parsed = ReadPipeline(yaml);
  ASSERT_TRUE(parsed) << parsed.error().message;
  Pipeline pipeline = parsed->pipeline;
  EXPECT_TRUE(Validate(pipeline).ok());
  std::get<GetStep>(pipeline.jobs[0].plan[0].core).passed = {"j" + std::to_string(count - 1)};
  const Validation validation = Validate(pipeline);
  ASSERT_EQ(validation.errors.size(), 1U);
  EXPECT_THAT(validation.errors[0].Text(), HasSubstr("cycle that starts at Job 'j0'"));
}

}  // namespace
}  // namespace pinion::pipeline
