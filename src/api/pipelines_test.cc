#include <fstream>

#include "api/instance_vars.h"
#include "api/test_api.h"

namespace pinion::api {
namespace {

using testing::HasSubstr;

constexpr const char* kPipeline = R"(
resources:
- {name: repo, type: mock, source: {uri: here}, icon: git, webhook_token: secret}
- {name: image, type: special, source: {}, version: {v: "1"}}
resource_types:
- {name: special, type: registry-image, source: {repository: special}}
groups:
- {name: all, jobs: ["*"]}
- {name: some, jobs: [unit]}
jobs:
- name: unit
  serial_groups: [one]
  plan:
  - {get: repo, trigger: true}
  - {get: image, version: every}
  - task: go
    config:
      platform: linux
      image_resource: {type: mock, source: {}}
      run: {path: "true"}
- name: ship
  disable_manual_trigger: true
  plan:
  - {get: repo, passed: [unit], params: {depth: 1}}
  - {put: image}
)";

const std::string kBase = "/api/v1/teams/main/pipelines/p";

class PipelinesTest : public ApiTest {
 protected:
  Json Jobs() { return Ask(200, "GET", kBase + "/jobs", "test"); }
};
PINION_FOR_EACH_DATABASE(PipelinesTest);

TEST_P(PipelinesTest, AreSetAndRead) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const auto config = Send("GET", kBase + "/config", "test");
  ASSERT_EQ(config.status, 200);
  EXPECT_EQ(config.headers.Get("X-Concourse-Config-Version"), "1");
  EXPECT_THAT(config.body, HasSubstr(R"("serial_groups":["one"])"));

  const Json pipeline = Ask(200, "GET", kBase, "test");
  EXPECT_TRUE(pipeline.BoolAt("paused"));
  EXPECT_EQ(pipeline.Find("groups")->AsArray().size(), 2U);
  const Json jobs = Jobs();
  ASSERT_EQ(jobs.AsArray().size(), 2U);
  EXPECT_EQ(jobs.AsArray()[0].StringAt("name"), "unit");
  EXPECT_EQ(ToText(*jobs.AsArray()[0].Find("groups")), R"(["all","some"])");
  EXPECT_EQ(
      ToText(*jobs.AsArray()[0].Find("inputs")),
      R"([{"name":"image","resource":"image"},{"name":"repo","resource":"repo","trigger":true}])");
  EXPECT_EQ(ToText(*jobs.AsArray()[1].Find("inputs")),
            R"([{"name":"repo","resource":"repo","passed":["unit"]}])");
  const Json job = Ask(200, "GET", kBase + "/jobs/ship", "test");
  EXPECT_TRUE(job.BoolAt("disable_manual_trigger"));
  EXPECT_TRUE(job.Find("next_build")->IsNull());
  const Json resources = Ask(200, "GET", kBase + "/resources", "test");
  ASSERT_EQ(resources.AsArray().size(), 2U);
  EXPECT_EQ(resources.AsArray()[0].StringAt("icon"), "git");
  EXPECT_TRUE(resources.AsArray()[1].BoolAt("pinned_in_config"));
  EXPECT_EQ(Ask(200, "GET", kBase + "/resource-types", "test").AsArray().size(), 1U);
}

TEST_P(PipelinesTest, KeepIdsAndRenameWhenSetAgain) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const Json before = Jobs();
  std::string renamed = kPipeline;
  renamed.replace(renamed.find("- name: ship"), 12, "- name: deploy\n  old_name: ship");
  ASSERT_EQ(SetPipeline("p", renamed).status, 200);
  // Sending the same again, old name and all, changes nothing.
  ASSERT_EQ(SetPipeline("p", renamed).status, 200);
  const Json after = Jobs();
  ASSERT_EQ(after.AsArray().size(), 2U);
  EXPECT_EQ(after.AsArray()[0].IntegerAt("id"), before.AsArray()[0].IntegerAt("id"));
  EXPECT_EQ(after.AsArray()[1].StringAt("name"), "deploy");
  EXPECT_EQ(after.AsArray()[1].IntegerAt("id"), before.AsArray()[1].IntegerAt("id"));

  ASSERT_EQ(SetPipeline("p",
                        "resources: [{name: r, type: mock, source: {}}]\n"
                        "jobs: [{name: new, plan: [{get: r}]}]")
                .status,
            200);
  EXPECT_EQ(Jobs().AsArray().size(), 1U);
  EXPECT_EQ(Ask(200, "GET", kBase + "/resources", "test").AsArray().size(), 1U);
  // What was gone comes back as what it was.
  ASSERT_EQ(SetPipeline("p", renamed).status, 200);
  EXPECT_EQ(Jobs().AsArray()[0].IntegerAt("id"), before.AsArray()[0].IntegerAt("id"));
}

TEST_P(PipelinesTest, SwapNames) {
  const auto yaml = [](const std::string& a, const std::string& b) {
    return "resources: [{name: r, type: mock, source: {}}]\njobs:\n- {name: a, plan: [{get: r}]" +
           a + "}\n- {name: b, plan: [{get: r}]" + b + "}\n";
  };
  ASSERT_EQ(SetPipeline("p", yaml("", "")).status, 201);
  const Json before = Jobs();
  ASSERT_EQ(SetPipeline("p", yaml(", old_name: b", ", old_name: a")).status, 200);
  const Json after = Jobs();
  EXPECT_EQ(after.AsArray()[0].IntegerAt("id"), before.AsArray()[1].IntegerAt("id"));
  EXPECT_EQ(after.AsArray()[1].IntegerAt("id"), before.AsArray()[0].IntegerAt("id"));
}

TEST_P(PipelinesTest, RefuseWhatIsInvalidOrStale) {
  const auto put = [&](const std::string& body, http::Headers headers) {
    return Send("PUT", kBase + "/config", "test", body, std::move(headers));
  };
  EXPECT_EQ(put(kPipeline, {}).status, 415);
  EXPECT_EQ(put(kPipeline, {{"Content-Type", "text/plain"}}).status, 415);
  const auto broken = put("jobs: [", {{"Content-Type", "application/x-yaml"}});
  EXPECT_EQ(broken.status, 400);
  EXPECT_THAT(broken.body, HasSubstr(R"({"errors":["malformed config: )"));
  const auto invalid =
      put("jobs: [{name: a, plan: [{get: nothing}]}]", {{"Content-Type", "application/x-yaml"}});
  EXPECT_EQ(invalid.status, 400);
  EXPECT_THAT(invalid.body, HasSubstr("nothing"));
  EXPECT_EQ(
      put(kPipeline, {{"Content-Type", "application/x-yaml"}, {"X-Concourse-Config-Version", "x"}})
          .status,
      400);
  const http::Headers stale{{"Content-Type", "application/x-yaml"},
                            {"X-Concourse-Config-Version", "7"}};
  EXPECT_EQ(put(kPipeline, stale).status, 500);
  EXPECT_EQ(Send("GET", kBase, "test").status, 404);
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const auto conflict = put(kPipeline, {{"Content-Type", "application/x-yaml"}});
  EXPECT_EQ(conflict.status, 500);
  EXPECT_THAT(conflict.body, HasSubstr("comparison with existing config failed"));
}

TEST_P(PipelinesTest, ArePausedExposedArchivedRenamedOrderedDestroyed) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  ASSERT_EQ(SetPipeline("q", kPipeline).status, 201);
  Ask(200, "PUT", kBase + "/unpause", "operator");
  EXPECT_FALSE(Ask(200, "GET", kBase, "test").BoolAt("paused"));
  Ask(200, "PUT", kBase + "/pause", "operator");
  EXPECT_EQ(Ask(200, "GET", kBase, "test").StringAt("paused_by"), "operator");

  Ask(200, "PUT", "/api/v1/teams/main/pipelines/ordering", "test", R"(["q","p"])");
  const Json list = Ask(200, "GET", "/api/v1/teams/main/pipelines", "test");
  EXPECT_EQ(list.AsArray()[0].StringAt("name"), "q");
  Ask(400, "PUT", "/api/v1/teams/main/pipelines/ordering", "test", R"(["q","x"])");

  Ask(200, "PUT", kBase + "/archive", "test");
  EXPECT_TRUE(Ask(200, "GET", kBase, "test").BoolAt("archived"));
  Ask(404, "GET", kBase + "/config", "test");
  Ask(409, "PUT", kBase + "/unpause", "test");
  Ask(409, "POST", kBase + "/jobs/unit/builds", "test");
  EXPECT_EQ(Ask(200, "GET", "/api/v1/jobs", "test").AsArray().size(), 2U);
  // An archived one counts as absent when it is set again; its version goes on.
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 200);
  EXPECT_GT(Send("GET", kBase + "/config", "test").headers.Get("X-Concourse-Config-Version"), "1");
  EXPECT_TRUE(Ask(200, "GET", kBase, "test").BoolAt("paused"));

  Ask(200, "PUT", kBase + "/rename", "test", R"({"name":"z"})");
  Ask(404, "GET", kBase, "test");
  Ask(400, "PUT", "/api/v1/teams/main/pipelines/z/rename", "test", R"({"name":""})");
  Ask(204, "DELETE", "/api/v1/teams/main/pipelines/z", "test");
  Ask(404, "GET", "/api/v1/teams/main/pipelines/z", "test");
}

TEST_P(PipelinesTest, HaveInstances) {
  const auto set = [&](const std::string& query) {
    return Send("PUT", kBase + "/config" + query, "test", kPipeline,
                {{"Content-Type", "application/x-yaml"}})
        .status;
  };
  EXPECT_EQ(set("?vars.branch=%22main%22&vars.a.b=1"), 201);
  EXPECT_EQ(set("?vars.branch=%22dev%22"), 201);
  EXPECT_EQ(set("?vars.branch=main"), 400);
  const Json one = Ask(200, "GET", kBase + "?vars=%7B%22branch%22%3A%22dev%22%7D", "test");
  EXPECT_EQ(ToText(*one.Find("instance_vars")), R"({"branch":"dev"})");
  Ask(404, "GET", kBase, "test");
  Ask(400, "GET", kBase + "?vars.a=1&vars.a.b=2", "test");
  EXPECT_EQ(InstanceVarsQuery(R"({"a":{"b.c":1},"d":"x"})"), "&vars.a.%22b.c%22=1&vars.d=%22x%22");
}

TEST_P(PipelinesTest, BuildsAreTriggeredListedAbortedAndRepeated) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  for (int i = 1; i <= 5; ++i) {
    const Json build = Ask(200, "POST", kBase + "/jobs/unit/builds", "operator");
    EXPECT_EQ(build.StringAt("name"), std::to_string(i));
    EXPECT_EQ(build.StringAt("status"), "pending");
    EXPECT_EQ(build.StringAt("created_by"), "operator");
  }
  Ask(409, "POST", kBase + "/jobs/ship/builds", "test");
  Ask(404, "POST", kBase + "/jobs/nothing/builds", "test");

  const auto page = Send("GET", kBase + "/jobs/unit/builds?limit=2", "test");
  const Json builds = ParseJson(page.body).value();
  ASSERT_EQ(builds.AsArray().size(), 2U);
  EXPECT_EQ(builds.AsArray()[0].StringAt("name"), "5");
  const std::int64_t third = builds.AsArray()[1].IntegerAt("id") - 1;
  EXPECT_EQ(page.headers.Get("Link"), "<" + Url() + kBase + "/jobs/unit/builds?to=" +
                                          std::to_string(third) + "&limit=2>; rel=\"next\"");
  const Json older =
      Ask(200, "GET", kBase + "/jobs/unit/builds?limit=2&to=" + std::to_string(third), "test");
  EXPECT_EQ(older.AsArray()[0].StringAt("name"), "3");
  Ask(404, "GET", kBase + "/jobs/unit/builds?from=3&to=2", "test");
  EXPECT_EQ(Ask(200, "GET", kBase + "/jobs/unit/builds/latest", "test").StringAt("name"), "5");

  const std::string build = "/api/v1/builds/" + std::to_string(third);
  const Json preparation = Ask(200, "GET", build + "/preparation", "test");
  EXPECT_EQ(preparation.StringAt("paused_pipeline"), "blocking");
  EXPECT_EQ(preparation.StringAt("paused_job"), "not_blocking");
  EXPECT_EQ(preparation.StringAt("inputs_satisfied"), "blocking");
  Ask(404, "GET", build + "/plan", "test");
  Ask(200, "PUT", build + "/comment", "operator", R"({"comment":"why"})");
  EXPECT_EQ(Ask(200, "GET", build, "test").StringAt("comment"), "why");
  Ask(204, "PUT", build + "/abort", "operator");
  EXPECT_EQ(Ask(200, "GET", build, "test").StringAt("status"), "aborted");
  Ask(409, "POST", kBase + "/jobs/unit/builds/3", "test");
  EXPECT_EQ(Ask(200, "GET", kBase + "/jobs/unit", "test").Find("next_build")->StringAt("name"),
            "1");
}

TEST_P(PipelinesTest, OneOffBuildsTakeAPlan) {
  const std::string plan =
      R"({"id":"1","do":[{"id":"2","task":{"name":"go","privileged":false,"hermetic":false,)"
      R"("config":{"platform":"linux","run":{"path":"ls"}}}}]})";
  const Json build = Ask(201, "POST", "/api/v1/teams/main/builds", "member", plan);
  EXPECT_EQ(build.StringAt("status"), "started");
  const std::string path = "/api/v1/builds/" + std::to_string(build.IntegerAt("id"));
  const std::string by_time = "/api/v1/builds?timestamps=true&from=1";
  EXPECT_EQ(Ask(200, "GET", by_time, "test").AsArray().size(), 1U);
  EXPECT_EQ(Ask(200, "GET", by_time, "viewer").AsArray().size(), 1U);
  EXPECT_TRUE(Ask(200, "GET", by_time, "other").AsArray().empty());
  EXPECT_TRUE(Ask(200, "GET", by_time).AsArray().empty());
  EXPECT_TRUE(Ask(200, "GET", "/api/v1/builds?timestamps=true&to=1", "test").AsArray().empty());
  const Json shown = Ask(200, "GET", path + "/plan", "viewer");
  EXPECT_EQ(shown.StringAt("schema"), "exec.v2");
  EXPECT_EQ(shown.Find("plan")->StringAt("id"), "1");
  Ask(400, "POST", "/api/v1/teams/main/builds", "member", R"({"id":"1","do":[{"id":"1"}]})");
  Ask(400, "POST", "/api/v1/teams/main/builds", "member", "{");
  Ask(400, "POST", "/api/v1/teams/main/builds", "member", "{}");
}

TEST_P(PipelinesTest, UpstreamsFlySetsAndShowsThem) {
  const std::string fly = Fly();
  if (fly.empty()) GTEST_SKIP() << "upstream's fly is not on this machine";
  const std::string folder = folder_.path().string();
  std::ofstream(folder + "/p.yml") << kPipeline;
  const std::string run = "HOME=" + folder + " " + fly + " -t t ";
  int status = 0;
  const auto ok = [&](const std::string& arguments) {
    std::string output = Shell(run + arguments, status);
    EXPECT_EQ(status, 0) << arguments << ":\n" << output;
    return output;
  };
  ok("login -c " + Url() + " -u test -p test");
  EXPECT_THAT(ok("set-pipeline -n -p p -c " + folder + "/p.yml"), HasSubstr("pipeline created!"));
  EXPECT_THAT(ok("set-pipeline -n -p p -c " + folder + "/p.yml"), HasSubstr("no changes to apply"));
  EXPECT_THAT(ok("get-pipeline -p p"), HasSubstr("repository: special"));
  ok("unpause-pipeline -p p");
  EXPECT_THAT(ok("pipelines"), HasSubstr("p "));
  EXPECT_THAT(ok("jobs -p p"), HasSubstr("unit"));
  EXPECT_THAT(ok("resources -p p"), HasSubstr("repo"));
  EXPECT_THAT(ok("trigger-job -j p/unit"), HasSubstr("started p/unit #1"));
  EXPECT_THAT(ok("builds"), HasSubstr("p/unit"));
  ok("abort-build -j p/unit -b 1");
  ok("pause-job -j p/unit");
  ok("expose-pipeline -p p");
  ok("workers");
  ok("containers");
  ok("volumes");
  ok("set-team -n new --local-user other --non-interactive");
  EXPECT_THAT(ok("teams"), HasSubstr("new"));
  ok("rename-team -o new -n newer");
  ok("destroy-team -n newer --non-interactive");
  ok("set-wall -m hello");
  EXPECT_THAT(ok("get-wall"), HasSubstr("hello"));
  ok("clear-wall");
  ok("active-users");
  ok("archive-pipeline -n -p p");
  ok("destroy-pipeline -n -p p");
}

}  // namespace
}  // namespace pinion::api
