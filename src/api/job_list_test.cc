#include "api/job_list.h"

#include "api/present/convert.h"
#include "api/present/job.h"
#include "api/test_api.h"
#include "store/jobs_view.h"
#include "store/teams.h"

namespace pinion::api {
namespace {

const std::string kBase = "/api/v1/teams/main/pipelines/";

std::string Yaml(int jobs) {
  std::string yaml = "resources: [{name: repo, type: mock, source: {}}]\njobs:\n";
  for (int i = 0; i < jobs; ++i) {
    yaml += "- name: job-" + std::to_string(i) + "\n  plan: [{get: repo, trigger: true}]\n";
  }
  return yaml;
}

class JobListTest : public ApiTest {
 protected:
  void SetUp() override {
    ApiTest::SetUp();
    if (IsSkipped() || HasFatalFailure()) return;
    ASSERT_EQ(SetPipeline("first", Yaml(3)).status, 201);
    ASSERT_EQ(SetPipeline("second", Yaml(200)).status, 201);  // of several blocks
    ASSERT_EQ(SetPipeline("theirs", Yaml(2), "other", "other").status, 201);
  }

  http::Response Jobs(const std::string& user, http::Headers headers = {}) {
    return Send("GET", "/api/v1/jobs", user, "", std::move(headers));
  }
  /// What the database says, without the list.
  std::string Expected(const store::Visibility& visible) {
    return Read([&](store::Transaction& t) {
             const auto views = store::ViewAllJobs(t, visible);
             return ToText(present::ArrayOf(views, ToJobSummary));
           }) +
           "\n";
  }
  void ExpectSame() { EXPECT_EQ(Jobs("test").body, Expected({.all = true})); }
  TeamId TeamOf(const std::string& name) {
    return Read([&](store::Transaction& t) { return store::FindTeam(t, name).value().id; });
  }
};
PINION_FOR_EACH_DATABASE(JobListTest);

TEST_P(JobListTest, EachChangeIsSeenWithoutReadingEverything) {
  ExpectSame();
  const int loads = api_->session().job_list().loads();
  EXPECT_EQ(Send("PUT", kBase + "first/jobs/job-1/pause", "test").status, 200);
  ExpectSame();
  EXPECT_THAT(Jobs("test").body, testing::HasSubstr("paused_by"));
  EXPECT_EQ(Send("PUT", kBase + "first/jobs/job-1/unpause", "test").status, 200);
  ExpectSame();
  for (int i = 0; i < 200; i += 50) {
    const std::string job = kBase + "second/jobs/job-" + std::to_string(i);
    EXPECT_EQ(Send("POST", job + "/builds", "test").status, 200);
    ExpectSame();
  }
  EXPECT_THAT(Jobs("test").body, testing::HasSubstr("next_build"));
  EXPECT_EQ(SetPipeline("first", Yaml(5)).status, 200);
  ExpectSame();
  EXPECT_EQ(SetPipeline("third", Yaml(1)).status, 201);
  ExpectSame();
  EXPECT_EQ(SetPipeline("second", Yaml(1)).status, 200);
  ExpectSame();
  EXPECT_EQ(Send("PUT", kBase + "second/expose", "test").status, 200);
  ExpectSame();
  EXPECT_EQ(Jobs("").body, Expected({}));
  EXPECT_EQ(Send("PUT", kBase + "third/rename", "test", R"({"name":"fourth"})").status, 200);
  ExpectSame();
  EXPECT_EQ(Send("PUT", kBase + "second/archive", "test").status, 200);
  ExpectSame();
  EXPECT_EQ(Send("DELETE", kBase + "first", "test").status, 204);
  ExpectSame();
  EXPECT_EQ(api_->session().job_list().loads(), loads);
  EXPECT_EQ(Send("PUT", "/api/v1/teams/other/rename", "test", R"({"name":"another"})").status, 200);
  ExpectSame();
  EXPECT_EQ(api_->session().job_list().loads(), loads + 1);
}

TEST_P(JobListTest, NobodyGetsTheViewOfAnother) {
  const TeamId main = TeamOf("main");
  const TeamId other = TeamOf("other");
  // In this order: each is asked for after one who sees more or something else.
  const auto expect = [&] {
    EXPECT_EQ(Jobs("test").body, Expected({.all = true}));
    EXPECT_EQ(Jobs("other").body, Expected({.teams = {other}}));
    EXPECT_EQ(Jobs("viewer").body, Expected({.teams = {main}}));
    EXPECT_EQ(Jobs("").body, Expected({}));
  };
  expect();
  EXPECT_EQ(Jobs("").body, "[]\n");
  EXPECT_EQ(Jobs("other").body.find("\"main\""), std::string::npos);
  EXPECT_EQ(Send("PUT", kBase + "first/expose", "test").status, 200);
  expect();
  EXPECT_NE(Jobs("").body, "[]\n");
  EXPECT_EQ(Send("PUT", kBase + "first/hide", "test").status, 200);
  expect();
  EXPECT_EQ(Jobs("").body, "[]\n");
  // A tag of another's view is no key to it.
  const std::string tag(Jobs("test").headers.Get("ETag"));
  EXPECT_EQ(Jobs("viewer", {{"If-None-Match", tag}}).status, 200);
  // A token that is no good is refused though the list is there.
  EXPECT_EQ(Jobs("", {{"Authorization", "Bearer nonsense"}}).status, 401);
}

TEST_P(JobListTest, AnUnchangedListIsNotSentAgain) {
  const auto first = Jobs("test");
  const std::string tag(first.headers.Get("ETag"));
  ASSERT_GT(tag.size(), 10U);
  EXPECT_EQ(first.headers.Get("Cache-Control"), "no-cache, private");
  const auto again = Jobs("test", {{"If-None-Match", "\"x\", W/" + tag}});
  EXPECT_EQ(again.status, 304);
  EXPECT_EQ(again.body, "");
  EXPECT_EQ(again.headers.Get("ETag"), tag);
  EXPECT_EQ(Jobs("test", {{"If-None-Match", "\"x\""}}).status, 200);
  // What does not show in the list does not change its tag.
  EXPECT_EQ(Send("PUT", kBase + "first/jobs/job-1/schedule", "test").status, 200);
  EXPECT_EQ(Jobs("test", {{"If-None-Match", tag}}).status, 304);
  EXPECT_EQ(Send("PUT", kBase + "first/jobs/job-1/pause", "test").status, 200);
  const auto changed = Jobs("test", {{"If-None-Match", tag}});
  EXPECT_EQ(changed.status, 200);
  EXPECT_NE(changed.headers.Get("ETag"), tag);
}

TEST_P(JobListTest, CompressedIsTheSame) {
  const auto plain = Jobs("test");
  const auto packed = Jobs("test", {{"Accept-Encoding", "gzip"}});
  ASSERT_EQ(packed.headers.Get("Content-Encoding"), "gzip");
  EXPECT_NE(packed.headers.Get("ETag"), plain.headers.Get("ETag"));
  EXPECT_LT(packed.body.size(), plain.body.size() / 4);
  http::GzipReader reader;
  std::string_view rest = packed.body;
  std::string text(plain.body.size() + 1, '\0');
  std::size_t size = 0;
  while (const std::size_t got = ValueOrThrow(reader.Read(rest, std::span(text).subspan(size))))
    size += got;
  text.resize(size);
  EXPECT_EQ(text, plain.body);
  EXPECT_TRUE(reader.at_end());
  const std::string tag(packed.headers.Get("ETag"));
  EXPECT_EQ(Jobs("test", {{"Accept-Encoding", "gzip"}, {"If-None-Match", tag}}).status, 304);
  EXPECT_EQ(Jobs("test", {{"If-None-Match", tag}}).status, 200);
}

TEST_P(JobListTest, WhatIsKeptForAnswersHasALimit) {
  const auto read = [&](std::int64_t team) {
    return Run(api_->session().job_list().Read({.teams = {TeamOf("main"), TeamId{team}}}));
  };
  read(1000);
  const std::size_t one = api_->session().job_list().kept_bytes();
  EXPECT_GT(one, 0U);
  for (std::int64_t team = 1001; team < 1200; ++team)
    read(team);
  EXPECT_LE(api_->session().job_list().kept_bytes(), 40 * one);
  EXPECT_EQ(Send("PUT", kBase + "first/jobs/job-1/pause", "test").status, 200);
  read(1000);
  EXPECT_LE(api_->session().job_list().kept_bytes(), 2 * one);
}

}  // namespace
}  // namespace pinion::api
