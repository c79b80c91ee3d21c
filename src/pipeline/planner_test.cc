#include "pipeline/planner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/reader.h"

namespace pinion::pipeline {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::string_view kParts = R"(
resource_types:
- {name: outer, type: inner, source: {a: 1}, defaults: {d: 1, b: 2}, privileged: true, tags: [own]}
- {name: inner, type: registry-image, source: {repository: x}, check_every: 10m}
- {name: git, type: git, source: {fork: true}, check_every: never}
resources:
- {name: custom, type: outer, source: {b: 3}}
- {name: base, type: s3, source: {bucket: x}, expose_build_created_by: true}
- {name: repo, type: git, source: {uri: u}}
prototypes:
- {name: proto, type: s3, defaults: {x: 1, z: 2}}
)";

PlanInput InputOf(std::string_view job) {
  const auto parsed = ReadPipeline(std::string(kParts) + "jobs:\n- " + std::string(job));
  if (!parsed) throw Failure(parsed.error());
  if (!parsed->issues.empty()) throw Failure(ErrorKind::kInvalid, IssuesText(parsed->issues));
  const Pipeline& pipeline = parsed->pipeline;
  PlanInput input{.job = pipeline.jobs.at(0),
                  .resources = pipeline.resources,
                  .resource_types = pipeline.resource_types,
                  .prototypes = pipeline.prototypes};
  for (const GetStep* get : Inputs(input.job))
    input.versions[get->name] = {{"v", "1"}};
  return input;
}

std::string TextOf(std::string_view job) {
  const auto plan = MakePlan(InputOf(job));
  return plan ? PlanText(*plan) : plan.error().message;
}

TEST(PlannerTest, AGetHasItsVersionAndItsBaseType) {
  EXPECT_EQ(
      TextOf("{name: j, plan: [{get: b, resource: base, params: {}, timeout: 1m}]}"),
      R"({"id":"2","do":[{"id":"1","get":{"name":"b","type":"s3","source":{"bucket":"x"},)"
      R"("image":{"base_type":"s3"},"version":{"v":"1"},"resource":"base","timeout":"1m"}}]})");
}

TEST(PlannerTest, APutIsFollowedByTheGetOfItsVersion) {
  EXPECT_EQ(TextOf("{name: j, plan: [{put: base, params: {f: 1}, get_params: {g: 2}}]}"),
            R"({"id":"4","do":[{"id":"3","on_success":{"step":{"id":"1","put":{"name":"base",)"
            R"("type":"s3","source":{"bucket":"x"},"image":{"base_type":"s3"},"params":{"f":1},)"
            R"("resource":"base","expose_build_created_by":true}},"on_success":{"id":"2","get":{)"
            R"("name":"base","type":"s3","source":{"bucket":"x"},"image":{"base_type":"s3"},)"
            R"("version_from":"1","params":{"g":2},"resource":"base"}}}}]})");
  EXPECT_EQ(TextOf("{name: j, plan: [{put: base, no_get: true, inputs: all}]}"),
            R"({"id":"2","do":[{"id":"1","put":{"name":"base","type":"s3","source":{"bucket":"x"},)"
            R"("image":{"base_type":"s3"},"inputs":"all","resource":"base",)"
            R"("expose_build_created_by":true}}]})");
}

TEST(PlannerTest, CustomTypesAreCheckedAndFetchedFromTheInsideOut) {
  PlanInput input = InputOf("{name: j, plan: [{put: custom, no_get: true, tags: [step]}]}");
  input.manually_triggered = true;
  input.base_defaults["registry-image"] = JsonObject{{"mirror", "m"}};
  const auto plan = MakePlan(input);
  ASSERT_TRUE(plan) << plan.error().message;
  const auto& put = *plan->do_steps->at(0).put;
  EXPECT_EQ(ToText(put.source), R"({"b":3,"d":1})");
  EXPECT_EQ(put.image.base_type, "registry-image");
  EXPECT_TRUE(put.image.privileged);
  const auto& check = *put.image.check_plan;
  EXPECT_EQ(check.id, "1/image-check");
  EXPECT_EQ(check.check->resource_type, "outer");
  EXPECT_EQ(check.check->interval, "1m0s");
  EXPECT_TRUE(check.check->skip_interval);
  EXPECT_THAT(check.check->tags, ElementsAre("own"));
  EXPECT_EQ(check.check->image.check_plan->id, "1/image-check/image-check");
  EXPECT_EQ(check.check->image.check_plan->check->interval, "10m0s");
  const auto& get = *put.image.get_plan;
  EXPECT_EQ(get.get->version_from, "1/image-check");
  EXPECT_EQ(get.get->image.get_plan->id, "1/image-get/image-get");
  EXPECT_EQ(ToText(get.get->image.get_plan->get->source), R"({"mirror":"m","repository":"x"})");
}

TEST(PlannerTest, ATypeOfItsOwnNameIsMadeOfTheBaseType) {
  const auto plan = MakePlan(InputOf("{name: j, plan: [{get: repo}]}"));
  const auto& image = plan->do_steps->at(0).get->image;
  EXPECT_EQ(image.base_type, "git");
  EXPECT_EQ(image.check_plan->check->image.base_type, "git");
  EXPECT_FALSE(image.check_plan->check->image.check_plan);
  EXPECT_EQ(image.check_plan->check->interval, "never");
}

TEST(PlannerTest, ModifiersWrapInOrderAndIdsGrowOutwards) {
  const auto plan = MakePlan(InputOf(
      "{name: j, plan: [{do: [], timeout: 1m, attempts: 2, on_success: {load_var: a, file: f}, "
      "on_failure: {load_var: b, file: f}, on_abort: {load_var: c, file: f}, "
      "on_error: {load_var: d, file: f}, ensure: {load_var: e, file: f}}]}"));
  ASSERT_TRUE(plan) << plan.error().message;
  const auto& ensure = plan->do_steps->at(0);
  EXPECT_EQ(ensure.id, "f");
  const auto& error = *ensure.ensure->step;
  const auto& abort = *error.on_error->step;
  const auto& failure = *abort.on_abort->step;
  const auto& success = *failure.on_failure->step;
  const auto& retry = *success.on_success->step;
  ASSERT_EQ(retry.retry->size(), 2U);
  EXPECT_EQ(retry.id, "5");
  EXPECT_EQ(retry.retry->at(0).id, "2");
  EXPECT_EQ(retry.retry->at(1).timeout->duration, "1m");
  EXPECT_EQ(retry.retry->at(1).timeout->step->id, "3");
  EXPECT_EQ(ensure.ensure->next->load_var->name, "e");
}

TEST(PlannerTest, HooksOfTheJobSurroundItsPlan) {
  EXPECT_EQ(TextOf("{name: j, on_success: {load_var: a, file: f}, ensure: {load_var: b, file: g}}"),
            R"({"id":"5","ensure":{"step":{"id":"3","on_success":{"step":{"id":"1","do":[]},)"
            R"("on_success":{"id":"2","load_var":{"name":"a","file":"f"}}}},)"
            R"("ensure":{"id":"4","load_var":{"name":"b","file":"g"}}}})");
}

TEST(PlannerTest, AcrossKeepsThePlanOfOneSubstepAsText) {
  const auto plan = MakePlan(
      InputOf("{name: j, plan: [{load_var: a, file: ((.:v)), attempts: 1, fail_fast: true, "
              "across: [{var: v, values: [1, x], max_in_flight: 2}]}]}"));
  const auto& across = *plan->do_steps->at(0).across;
  EXPECT_EQ(across.substep_template,
            R"j({"id":"2","retry":[{"id":"1","load_var":{"name":"a","file":"((.:v))"}}]})j");
  EXPECT_EQ(ToText(across.vars[0].values), R"([1,"x"])");
  EXPECT_EQ(across.vars[0].max_in_flight, Json(2));
  EXPECT_TRUE(across.fail_fast);
}

TEST(PlannerTest, TagsAreInheritedFromTheNearestThatHasThem) {
  const auto plan = MakePlan(InputOf(
      "{name: j, tags: [job], plan: [{task: a, file: f}, {do: [{task: b, file: f}, "
      "{task: c, file: f, tags: [own]}], tags: [do]}, {in_parallel: [{do: [{task: d, file: f}]}], "
      "tags: [par]}, {task: e, file: f}]}"));
  const auto& steps = *plan->do_steps;
  EXPECT_THAT(steps[0].task->tags, ElementsAre("job"));
  EXPECT_THAT(steps[1].do_steps->at(0).task->tags, ElementsAre("do"));
  EXPECT_THAT(steps[1].do_steps->at(1).task->tags, ElementsAre("own"));
  EXPECT_THAT(steps[2].in_parallel->steps[0].do_steps->at(0).task->tags, ElementsAre("par"));
  EXPECT_THAT(steps[3].task->tags, ElementsAre("job"));
}

TEST(PlannerTest, RunStepsGetTheDefaultsOfTheirPrototype) {
  const auto plan = MakePlan(InputOf("{name: j, plan: [{run: m, type: proto, params: {z: 3}}]}"));
  EXPECT_EQ(ToText(plan->do_steps->at(0).run->object), R"({"x":1,"z":3})");
}

TEST(PlannerTest, WhatIsMissingIsNamed) {
  PlanInput input = InputOf("{name: j, plan: [{get: base}]}");
  input.versions.clear();
  EXPECT_THAT(MakePlan(input).error().message,
              HasSubstr("planning a build of job j: no version was chosen for the get step base"));
  input.resources.clear();
  EXPECT_THAT(MakePlan(input).error().message, HasSubstr("unknown resource: base"));
  EXPECT_THAT(TextOf("{name: j, plan: [{run: m, type: none}]}"),
              HasSubstr("unknown prototype: none"));
}

TEST(PlannerTest, PlansThatGrowWithoutEndAreRefused) {
  PlanInput input = InputOf(
      "{name: j, plan: [{do: [{do: [{task: t, file: f}], attempts: 1000}], attempts: 1000}]}");
  EXPECT_EQ(MakePlan(input).error().kind, ErrorKind::kTooLarge);
  input.job.plan[0].attempts = 2'000'000'000;
  EXPECT_EQ(MakePlan(input).error().kind, ErrorKind::kTooLarge);
  Step step = input.job.plan[0];
  step.attempts.reset();
  for (int i = 0; i < 60; ++i) {
    Step outer{.core = TryStep{step}};
    outer.timeout = "1m";
    outer.attempts = 1;
    outer.ensure = Step{.core = LoadVarStep{.name = "v", .file = "f"}};
    step = std::move(outer);
  }
  input.job.plan = {step};
  EXPECT_EQ(MakePlan(input).error().kind, ErrorKind::kTooLarge);

  std::vector<protocol::ResourceType> chain;
  for (int i = 0; i < 40; ++i) {
    chain.push_back({.name = "t" + std::to_string(i), .type = "t" + std::to_string(i + 1)});
  }
  EXPECT_THROW(ImageForType("1", "t0", {}, false, chain), Failure);
  EXPECT_EQ(ImageForType("1", "t32", {}, false, chain).base_type, "t40");
}

TEST(PlannerTest, DeepPlansStayReadable) {
  std::string step = "{load_var: v, file: f}";
  for (int i = 0; i < 40; ++i) {
    step = "{do: [" + step + "], timeout: 1m, attempts: 1, ensure: {load_var: v, file: f}}";
  }
  const auto plan = MakePlan(InputOf("{name: j, plan: [" + step + "]}"));
  ASSERT_TRUE(plan) << plan.error().message;
  const auto read = protocol::ParsePlan(PlanText(*plan));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(PlanText(*read), PlanText(*plan));
}

TEST(PlannerTest, ImagesOfKnownVersionNeedNoCheck) {
  const protocol::ImageResource image{.name = "image",
                                      .type = "registry-image",
                                      .source = JsonObject{{"repository", "x"}},
                                      .version = protocol::Version{{"digest", "d"}}};
  const ImagePlans plans = FetchImagePlans("7", image, {}, {"tag"}, true);
  EXPECT_FALSE(plans.check);
  EXPECT_EQ(PlanText(plans.get),
            R"({"id":"7/image-get","get":{"name":"image","type":"registry-image",)"
            R"("source":{"repository":"x"},"image":{"base_type":"registry-image"},)"
            R"("version":{"digest":"d"},"tags":["tag"]}})");
}

TEST(PlannerTest, ObjectsMergeAsSourcesDo) {
  EXPECT_EQ(ToText(MergeObjects(nullptr, nullptr)), "null");
  EXPECT_EQ(ToText(MergeObjects(JsonObject{}, nullptr)), "null");
  EXPECT_EQ(ToText(MergeObjects(nullptr, JsonObject{})), "{}");
  EXPECT_EQ(ToText(MergeObjects(JsonObject{{"a", 1}}, nullptr)), R"({"a":1})");
  EXPECT_EQ(ToText(MergeObjects(JsonObject{{"b", 1}, {"a", 1}}, JsonObject{{"a", 2}})),
            R"({"a":2,"b":1})");
}

}  // namespace
}  // namespace pinion::pipeline
