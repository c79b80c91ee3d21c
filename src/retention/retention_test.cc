#include <gtest/gtest.h>

#include "async/loop.h"
#include "base/files.h"
#include "pipeline/model.h"
#include "retention/build_logs.h"
#include "retention/history.h"
#include "store/build_history.h"
#include "store/change_kinds.h"
#include "store/changes.h"
#include "store/testing.h"

namespace pinion::retention {
namespace {

using store::Transaction;

constexpr std::int64_t kDay = 24 * 3600;

LogPolicy Policy(std::int64_t builds, std::int64_t days, std::int64_t minimum,
                 const LogOptions& options = {}) {
  pipeline::Job job;
  job.build_log_retention.emplace();
  job.build_log_retention->builds = static_cast<int>(builds);
  job.build_log_retention->days = static_cast<int>(days);
  job.build_log_retention->minimum_succeeded_builds = static_cast<int>(minimum);
  return PolicyFor(job, options);
}

TEST(LogPolicyTest, TheJobsWishIsBoundedByTheServer) {
  EXPECT_EQ(Policy(5, 0, 2), (LogPolicy{5, 0, 2}));
  EXPECT_EQ(Policy(0, 0, 0, {.default_builds = 7, .default_days = 3}), (LogPolicy{7, 3, 0}));
  EXPECT_EQ(Policy(5, 9, 0, {.default_builds = 7, .max_builds = 4, .max_days = 30}),
            (LogPolicy{4, 9, 0}));
  EXPECT_EQ(Policy(0, 0, 0, {.max_builds = 4, .max_days = 30}), (LogPolicy{4, 30, 0}));
  pipeline::Job old;
  old.build_logs_to_retain = 3;
  EXPECT_EQ(PolicyFor(old, {.max_builds = 10}).builds, 3);
  EXPECT_TRUE(PolicyFor(pipeline::Job(), {}).KeepsAll());
}

/// Builds 9, 8, … 1; one that ended so many days ago each, succeeded where it says so.
std::vector<LoggedBuild> Builds(const std::string& text) {
  std::vector<LoggedBuild> builds;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto days = static_cast<std::int64_t>(i);
    builds.push_back({.build = BuildId{9 - days},
                      .finished = text[i] != 'r',
                      .succeeded = text[i] == 's',
                      .end_time = 100 * kDay - days * kDay});
  }
  return builds;
}

std::string Removed(const std::string& builds, const LogPolicy& policy) {
  std::string text;
  for (const BuildId build : LogsToRemove(Builds(builds), policy, 100 * kDay + 1))
    text += std::to_string(build.value);
  return text;
}

TEST(LogPolicyTest, RemovesByCountAgeAndKeepsSucceededOnes) {
  EXPECT_EQ(Removed("sssss", {}), "");
  EXPECT_EQ(Removed("sssss", {.builds = 2}), "765");
  EXPECT_EQ(Removed("rssss", {.builds = 2}), "65");
  EXPECT_EQ(Removed("sssss", {.days = 2}), "765");
  EXPECT_EQ(Removed("sssss", {.days = 9}), "");
  // Kept for its age until something goes; then the count binds.
  EXPECT_EQ(Removed("sssss", {.builds = 1, .days = 9}), "");
  EXPECT_EQ(Removed("sssss", {.builds = 1, .days = 3}), "6578");
  EXPECT_EQ(Removed("fffsf", {.builds = 2, .minimum_succeeded = 1}), "758");
  EXPECT_EQ(Removed("fffff", {.builds = 2, .minimum_succeeded = 2}), "765");
}

/// A database of either kind and logs on disk.
class RetentionTest : public store::testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    logs_ = events::MakeFileLogStore(folder_.path(), loop_.executor(), *timers_, pool_, Logger());
    Write([](Transaction& t) {
      t.Execute("insert into teams (name) values ('main')");
      t.Execute(
          "insert into pipelines (team_id, name, config, config_version, last_updated, paused) "
          "values (1, 'p', '{}', 1, 0, 0)");
      t.Execute(
          "insert into jobs (pipeline_id, name, config) values (1, 'j', "
          R"('{"name":"j","plan":[],"build_log_retention":{"builds":2}}'))");
      t.Execute(
          "insert into resources (pipeline_id, name, type, config) values (1, 'r', 'mock', '{}')");
    });
  }
  void TearDown() override {
    if (logs_) Run(logs_->Close());
    logs_.reset();
    DatabaseTest::TearDown();
  }

  template <class T>
  T Run(Task<T> task) {
    return loop_.RunUntilDone(std::move(task));
  }
  /// A build with a log. `column`: job_id, resource_id or none.
  BuildId Add(const std::string& column, std::string_view status, std::int64_t age = 100) {
    const BuildId build = Write([&](Transaction& t) {
      return t
          .QueryOne("insert into builds (name, team_id, status, create_time, end_time" +
                        (column.empty() ? "" : ", " + column) + ") values ('n' || " +
                        std::to_string(++count_) + ", 1, $1, 0, $2" +
                        (column.empty() ? "" : ", 1") + ") returning id",
                    {status, t.now() - age})
          ->IdAt<BuildId>(0);
    });
    AddLog(build);
    return build;
  }
  void AddLog(BuildId build) {
    auto write = [](events::LogStore& logs, BuildId of) -> Task<void> {
      const auto writer = co_await logs.OpenWriter(of);
      writer->Append(protocol::StatusEvent("succeeded", 1));
      co_await writer->Finish();
    };
    Run(write(*logs_, build));
  }
  std::vector<std::int64_t> Stored() {
    std::vector<std::int64_t> ids;
    for (const BuildId build : Run(logs_->ListStored({}, 10'000)))
      ids.push_back(build.value);
    return ids;
  }
  BuildLogs Make(BuildLogOptions options = {}) {
    return BuildLogs(database(), *logs_, *timers_, Logger(), options);
  }

  TemporaryFolder folder_{"retention"};
  Loop loop_{"retention"};
  SystemClock clock_;
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), clock_);
  ThreadPool pool_{"logs", 1, 1000};
  std::unique_ptr<events::LogStore> logs_;
  int count_ = 0;
};
PINION_FOR_EACH_DATABASE(RetentionTest);

TEST_P(RetentionTest, AJobKeepsAsManyLogsAsItSays) {
  for (int i = 0; i < 5; ++i)
    Add("job_id", "succeeded");
  BuildLogs retention = Make();
  Run(retention.Run({}));
  EXPECT_EQ(Stored(), (std::vector<std::int64_t>{4, 5}));
  EXPECT_EQ(retention.numbers().removed, 3);
  // Without an end of a build nothing is looked at; with one, its job is.
  const BuildId sixth = Add("job_id", "failed");
  Run(retention.Run({}));
  EXPECT_EQ(Stored().size(), 3U);
  store::Change change{.kind = std::string(store::kinds::kBuildFinished),
                       .id = sixth.value,
                       .data = R"({"job":1,"status":"failed"})"};
  EXPECT_FALSE(retention.Look(change));  // no hurry
  Run(retention.Run({}));
  EXPECT_EQ(Stored(), (std::vector<std::int64_t>{5, 6}));
}

TEST_P(RetentionTest, PausedJobsKeepTheirs) {
  for (int i = 0; i < 3; ++i)
    Add("job_id", "succeeded");
  Write([](Transaction& t) { t.Execute("update jobs set paused = 1"); });
  BuildLogs retention = Make();
  Run(retention.Run({}));
  EXPECT_EQ(Stored().size(), 3U);
}

TEST_P(RetentionTest, LogsOfDeletedBuildsGoAlsoThoseACrashLeft) {
  const BuildId kept = Add("", "succeeded");
  AddLog(BuildId{1'002'003});
  AddLog(BuildId{5'000});
  const BuildId reaped = Add("", "succeeded");
  Write([&](Transaction& t) { store::SetReaped(t, reaped); });
  BuildLogs retention = Make({.page = 1});
  Run(retention.Run({}));
  EXPECT_EQ(Stored(), (std::vector<std::int64_t>{kept.value}));
  EXPECT_EQ(retention.numbers().orphans, 3);
  Write([](Transaction& t) { t.Execute("delete from builds"); });
  Run(retention.Run({}));
  EXPECT_EQ(Stored().size(), 1U);
  EXPECT_TRUE(retention.Look(store::Change{.kind = std::string(store::kinds::kPipelineDestroyed)}));
  Run(retention.Run({}));
  EXPECT_TRUE(Stored().empty());
}

TEST_P(RetentionTest, OldOneOffBuildsGoWithTheirLogs) {
  const BuildId old = Add("", "failed", 1000);
  const BuildId young = Add("", "succeeded", 10);
  Add("job_id", "succeeded", 1000);
  BuildLogs retention = Make({.one_off_seconds = 500, .page = 1});
  Run(retention.Run({}));
  EXPECT_EQ(Stored().size(), 2U);
  Read([&](Transaction& t) {
    EXPECT_FALSE(store::FindBuild(t, old));
    EXPECT_TRUE(store::FindBuild(t, young));
  });
}

TEST_P(RetentionTest, HistoryIsCutWhereNobodyNeedsIt) {
  const BuildId first = Add("resource_id", "succeeded");
  const BuildId second = Add("resource_id", "succeeded");
  Write([](Transaction& t) {
    t.Execute("insert into scopes (key, type, created_at) values ('old', 'mock', 5)");
    t.Execute("insert into scopes (key, type, created_at) values ('used', 'mock', 5)");
    t.Execute("insert into scopes (key, type, created_at) values ('history', 'mock', 5)");
    t.Execute("insert into scopes (key, type, created_at) values ('new', 'mock', $1)", {t.now()});
    t.Execute("update resources set scope_id = 2");
    t.Execute("insert into versions (scope_id, version, check_order) values (3, '{}', 1)");
    t.AppendChange("old.one", 1, TeamId{});
  });
  const BuildId with_input = Add("job_id", "succeeded");
  Write([&](Transaction& t) {
    store::SaveBuildInput(t, with_input, "r", ResourceId{1}, VersionId{1}, false);
    t.Execute("update changes set time = 5");
  });
  History history(database(), {.batch = 1});
  Run(history.Run({}));
  Read([&](Transaction& t) {
    EXPECT_FALSE(store::FindBuild(t, first));
    EXPECT_TRUE(store::FindBuild(t, second));
    EXPECT_EQ(t.QueryOne("select count(*) from scopes")->Integer(0), 3);
    EXPECT_EQ(t.QueryOne("select count(*) from scopes where key = 'old'")->Integer(0), 0);
    EXPECT_EQ(t.QueryOne("select count(*) from changes where time = 5")->Integer(0), 0);
  });
}

}  // namespace
}  // namespace pinion::retention
