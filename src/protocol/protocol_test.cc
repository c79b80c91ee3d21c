#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "protocol/events.h"
#include "protocol/plan.h"

namespace pinion::protocol {
namespace {

Plan Get(std::string id) {
  Plan plan{.id = std::move(id)};
  plan.get = GetPlan{.name = "repo",
                     .type = "git",
                     .source = JsonObject{{"uri", "secret"}},
                     .image = {.base_type = "git"},
                     .version = Version{{"ref", "abc"}},
                     .resource = "repo"};
  return plan;
}

TEST(PlanTest, TextNamesMembersAsClientsReadThem) {
  EXPECT_EQ(PlanText(Get("1")),
            R"({"id":"1","get":{"name":"repo","type":"git","source":{"uri":"secret"},)"
            R"("image":{"base_type":"git"},"version":{"ref":"abc"},"resource":"repo"}})");
}

TEST(PlanTest, TextReadsBackToTheSamePlan) {
  Plan hook{.id = "3"};
  hook.on_failure.emplace();
  hook.on_failure->step = Get("1");
  hook.on_failure->next = Get("2");
  Plan retry{.id = "4"};
  retry.retry = std::vector<Plan>{hook};
  const std::string text = PlanText(retry);
  const auto read = ParsePlan(text);
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_EQ(PlanText(*read), text);
  EXPECT_EQ(read->retry->front().on_failure->next->get->resource, "repo");
}

TEST(PlanTest, ErrorsNameTheMember) {
  EXPECT_THAT(ParsePlan(R"({"id":"1","do":[{"get":{"name":1}}]})").error().message,
              ::testing::HasSubstr("do[0].get.name"));
}

TEST(PlanTest, NestingToTheLimitIsReadAndBeyondItRefused) {
  Plan plan = Get("0");
  for (int i = 1; i < 250; ++i) {
    Plan outer{.id = std::to_string(i)};
    outer.try_step.emplace().step = std::move(plan);
    plan = std::move(outer);
  }
  const auto read = ParsePlan(PlanText(plan));
  ASSERT_TRUE(read) << read.error().message;
  EXPECT_FALSE(ToText(PublicPlan(*read)).empty());
  std::string deep;
  for (int i = 0; i < 100'000; ++i)
    deep += R"({"try":{"step":)";
  EXPECT_EQ(ParsePlan(deep).error().kind, ErrorKind::kTooLarge);
}

TEST(PlanTest, PublicFormHidesSourcesParamsAndConfigs) {
  Plan task{.id = "2"};
  task.task =
      TaskPlan{.name = "unit", .privileged = true, .config = TaskConfig{.platform = "linux"}};
  task.task->params = {{"TOKEN", "secret"}};
  Plan all{.id = "3"};
  all.do_steps = std::vector<Plan>{Get("1"), task};
  EXPECT_EQ(ToText(PublicPlan(all)),
            R"({"id":"3","do":[{"id":"1","get":{"name":"repo","type":"git","resource":"repo",)"
            R"("version":{"ref":"abc"}}},)"
            R"({"id":"2","task":{"name":"unit","privileged":true,"hermetic":false}}]})");
}

TEST(PlanTest, PublicFormShowsImagePlansAndAcrossVars) {
  Plan put{.id = "1"};
  put.put = PutPlan{.name = "p", .type = "custom"};
  put.put->image.get_plan = Get("1/image-get");
  Plan across{.id = "2"};
  across.across = AcrossPlan{
      .vars = {{.name = "v", .values = JsonArray{1}}}, .substep_template = "{}", .fail_fast = true};
  EXPECT_EQ(ToText(PublicPlan(put)),
            R"({"id":"1","put":{"name":"p","type":"custom","image_get_plan":{"id":"1/image-get",)"
            R"("get":{"name":"repo","type":"git","resource":"repo","version":{"ref":"abc"}}}}})");
  EXPECT_EQ(ToText(PublicPlan(across)),
            R"({"id":"2","across":{"vars":[{"name":"v"}],"fail_fast":true}})");
}

TEST(EventTest, EnvelopeCarriesNameVersionAndId) {
  EXPECT_EQ(EnvelopeText(StatusEvent("started", 7), 0),
            R"({"data":{"status":"started","time":7},"event":"status","version":"1.0",)"
            R"("event_id":"0"})");
}

TEST(EventTest, LogAndErrorNameTheirOrigin) {
  EXPECT_EQ(ToText(LogEvent({"a1", "stdout"}, 5, "x<y").data),
            R"({"time":5,"origin":{"id":"a1","source":"stdout"},"payload":"x\u003cy"})");
  EXPECT_EQ(ToText(ErrorEvent({}, 5, "no").data), R"({"message":"no","origin":{},"time":5})");
}

TEST(EventTest, KindsOfStepsHaveNamesAndVersionsOfTheirOwn) {
  EXPECT_EQ(InitializeEvent("get", {}, 1).name, "initialize-get");
  EXPECT_EQ(InitializeEvent("get", {}, 1).version, "2.0");
  EXPECT_EQ(InitializeEvent("", {}, 1).name, "initialize");
  EXPECT_EQ(ToText(InitializeEvent("check", {"1"}, 1, "r").data),
            R"({"origin":{"id":"1"},"time":1,"name":"r"})");
  EXPECT_EQ(StartEvent("put", {}, 1).name, "start-put");
  EXPECT_EQ(FinishEvent({}, 1, true).name, "finish");
}

TEST(EventTest, FinishedGetWithoutVersionSaysNull) {
  EXPECT_EQ(ToText(FinishGetEvent({"1"}, 2, 1, std::nullopt, {}).data),
            R"({"origin":{"id":"1"},"time":2,"exit_status":1,"version":null})");
  EXPECT_EQ(ToText(FinishPutEvent({"1"}, 2, 0, Version{{"v", "1"}}, {{"by", "me"}}).data),
            R"({"origin":{"id":"1"},"time":2,"exit_status":0,"version":{"v":"1"},)"
            R"("metadata":[{"name":"by","value":"me"}]})");
}

TEST(EventTest, TaskEventsTellNoParams) {
  TaskConfig config{.platform = "linux", .params = {{"TOKEN", "secret"}}};
  config.run.path = "make";
  EXPECT_EQ(ToText(StartTaskEvent({"1"}, 2, config).data),
            R"({"time":2,"origin":{"id":"1"},"config":{"platform":"linux","image":"",)"
            R"("run":{"path":"make","args":null,"dir":""},"inputs":null}})");
  EXPECT_EQ(StartTaskEvent({}, 0, config).version, "5.0");
  EXPECT_EQ(InitializeTaskEvent({}, 0, config).version, "4.0");
}

TEST(EventTest, AcrossSubstepsCarryTheirValues) {
  EXPECT_EQ(ToText(AcrossSubstepsEvent({"9"}, 1, {Get("1")}, {JsonArray{"a", 2}}).data),
            R"({"time":1,"origin":{"id":"9"},"substeps":[{"step":{"id":"1","get":{"name":"repo",)"
            R"("type":"git","resource":"repo","version":{"ref":"abc"}}},"values":["a",2]}]})");
}

}  // namespace
}  // namespace pinion::protocol
