#include "pipeline/format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "pipeline/reader.h"

namespace pinion::pipeline {
namespace {

using ::testing::HasSubstr;

constexpr std::string_view kEverything = R"(
groups: [{name: g, jobs: [unit], resources: [r]}]
var_sources: [{name: v, type: dummy, config: {vars: {b: 1, a: 2}}}]
resources:
- {name: r, old_name: q, type: git, source: {z: 1, a: [1.5, ~]}, version: {ref: x}, check_every: 1m,
   check_timeout: 2m, tags: [t], public: true, webhook_token: w, icon: i,
   expose_build_created_by: true}
resource_types:
- {name: t, type: git, privileged: true, check_every: never, params: {a: b}, defaults: {c: d}}
prototypes: [{name: p, type: git, source: {}}]
jobs:
- name: unit
  old_name: old
  public: true
  disable_manual_trigger: true
  disable_reruns: true
  serial: true
  interruptible: true
  serial_groups: [s]
  max_in_flight: 2
  tags: [t]
  build_log_retention: {builds: 1}
  on_success: {put: r, inputs: detect}
  ensure: {try: {load_var: x, file: a/b, reveal: true, format: raw}}
  plan:
  - {get: r, version: every, passed: [a], trigger: true}
  - in_parallel: [{run: m, type: p, params: {a: 1}, privileged: true}]
    tags: [x]
  - task: t
    config: {platform: linux, run: {path: ls, args: [-l]}, caches: [{path: c}], params: {A: 1}}
    input_mapping: {a: b}
    hermetic: true
  - {set_pipeline: self, file: a/b, across: [{var: v, values: [1]}], fail_fast: true, attempts: 2}
  - {do: [], timeout: 1h}
display: {background_image: x.png}
user_data: {k: v}
)";

TEST(FormatTest, ConfigsAreAnsweredMemberForMember) {
  const auto parsed = ReadPipeline(kEverything);
  ASSERT_TRUE(parsed->issues.empty()) << IssuesText(parsed->issues);
  EXPECT_EQ(
      ToText(ConfigToJson(parsed->pipeline)),
      R"({"groups":[{"name":"g","jobs":["unit"],"resources":["r"]}],)"
      R"("var_sources":[{"name":"v","type":"dummy","config":{"vars":{"a":2,"b":1}}}],)"
      R"("resources":[{"name":"r","old_name":"q","public":true,"webhook_token":"w","type":"git",)"
      R"("source":{"a":[1.5,null],"z":1},"check_every":"1m0s","check_timeout":"2m","tags":["t"],)"
      R"("version":{"ref":"x"},"icon":"i","expose_build_created_by":true}],)"
      R"("resource_types":[{"name":"t","type":"git","source":null,"defaults":{"c":"d"},)"
      R"("privileged":true,"check_every":"never","params":{"a":"b"}}],)"
      R"("prototypes":[{"name":"p","type":"git","source":{}}],)"
      R"("jobs":[{"name":"unit","old_name":"old","public":true,"disable_manual_trigger":true,)"
      R"("disable_reruns":true,"serial":true,"interruptible":true,"serial_groups":["s"],)"
      R"("max_in_flight":2,"tags":["t"],"build_log_retention":{"builds":1},)"
      R"("on_success":{"inputs":"detect","put":"r"},)"
      R"("ensure":{"try":{"file":"a/b","format":"raw","load_var":"x","reveal":true}},)"
      R"("plan":[{"get":"r","passed":["a"],"trigger":true,"version":"every"},)"
      R"({"in_parallel":{"steps":[{"params":{"a":1},"privileged":true,"run":"m","type":"p"}]},)"
      R"("tags":["x"]},)"
      R"({"config":{"platform":"linux","params":{"A":"1"},"run":{"path":"ls","args":["-l"]},)"
      R"("caches":[{"path":"c"}]},"hermetic":true,"input_mapping":{"a":"b"},"task":"t"},)"
      R"({"across":[{"var":"v","values":[1]}],"attempts":2,"fail_fast":true,"file":"a/b",)"
      R"("set_pipeline":"self"},)"
      R"({"do":[],"timeout":"1h"}]}],)"
      R"("display":{"background_image":"x.png"},"user_data":{"k":"v"}})");
}

TEST(FormatTest, ConfigsReadBackFromJson) {
  const Json json = ConfigToJson(ReadPipeline(kEverything)->pipeline);
  const auto pipeline = ConfigFromJson(json);
  ASSERT_TRUE(pipeline) << pipeline.error().message;
  EXPECT_EQ(ToText(ConfigToJson(*pipeline)), ToText(json));
}

TEST(FormatTest, PartsReadBackFromTheirText) {
  const Pipeline pipeline = ReadPipeline(kEverything)->pipeline;
  const std::string job = ToText(ToJson(pipeline.jobs[0]));
  EXPECT_EQ(ToText(ToJson(ParseJob(job).value())), job);
  const std::string resource = ToText(ToJson(pipeline.resources[0]));
  EXPECT_EQ(ToText(ToJson(ParseResource(resource).value())), resource);
  const std::string type = ToText(ResourceTypeToJson(pipeline.resource_types[0]));
  EXPECT_EQ(ToText(ResourceTypeToJson(ParseResourceType(type).value())), type);
  const std::string prototype = ToText(ToJson(pipeline.prototypes[0]));
  EXPECT_EQ(ToText(ToJson(ParsePrototype(prototype).value())), prototype);
  EXPECT_THAT(ParseJob(R"({"name":"j","plan":[{"get":1}]})").error().message,
              HasSubstr("jobs.j.plan.do[0].get: expected text"));
  EXPECT_FALSE(ParseJob("{"));
}

TEST(FormatTest, TheNormalFormSortsKeysAndKeepsUnknownOnesOfSteps) {
  const auto text = FormatPipeline(
      "jobs: [{plan: [{timeout: 1h, get: r, trigger: yes, zoo: [1]}], name: j}]\nx: 1\n");
  ASSERT_TRUE(text) << text.error().message;
  EXPECT_EQ(*text,
            "jobs:\n"
            "- name: j\n"
            "  plan:\n"
            "  - get: r\n"
            "    timeout: 1h\n"
            "    trigger: true\n"
            "    zoo:\n"
            "    - 1\n");
  EXPECT_THAT(FormatPipeline("jobs: 1").error().message, HasSubstr("line 1, column 7"));
}

}  // namespace
}  // namespace pinion::pipeline
