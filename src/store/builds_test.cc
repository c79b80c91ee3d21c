#include "store/builds.h"

#include <gtest/gtest.h>

#include "protocol/plan.h"
#include "store/jobs.h"
#include "store/pipeline_parents.h"
#include "store/pipelines.h"
#include "store/scheduling_testing.h"
#include "store/testing.h"
#include "store/versions.h"

namespace pinion::store {
namespace {

using namespace testing;  // NOLINT

protocol::Plan SomePlan() {
  protocol::Plan plan;
  plan.id = "1";
  plan.task.emplace().name = "secret-task";
  plan.task->params["password"] = "hidden";
  return plan;
}

class BuildsTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    Write([&](Transaction& t) {
      team_ = AddTeam(t);
      pipeline_ = AddPipeline(t, team_);
      job_ = AddJob(t, pipeline_, "build");
      t.Execute(
          "insert into leases (node, epoch, last_epoch, counter) values ('a', 7, 7, 0), ('b', 1, "
          "1, 0)");
    });
  }

  BuildId Create(NewJobBuild build = {}) {
    return Write([&](Transaction& t) { return CreateJobBuild(t, job_, build); });
  }
  bool Start(BuildId build, std::optional<Owner> owner = std::nullopt) {
    return Write([&](Transaction& t) { return StartBuild(t, build, SomePlan(), owner); });
  }
  bool Finish(BuildId build, BuildStatus status, std::optional<Owner> owner = std::nullopt) {
    return Write([&](Transaction& t) { return FinishBuild(t, build, status, owner); });
  }
  BuildRow Find(BuildId build) {
    return Read([&](Transaction& t) { return FindBuild(t, build).value(); });
  }
  JobRow Job() {
    return Read([&](Transaction& t) { return FindJob(t, job_).value(); });
  }
  std::vector<std::string> Changes() {
    return Read([](Transaction& t) {
      std::vector<std::string> kinds;
      for (const Row& row : t.Query("select kind, object_id from changes order by sequence")) {
        kinds.push_back(row.Text(0) + " " + std::to_string(row.Integer(1)));
      }
      return kinds;
    });
  }

  TeamId team_;
  PipelineId pipeline_;
  JobId job_;
};
PINION_FOR_EACH_DATABASE(BuildsTest);

TEST_P(BuildsTest, NamesCountPerJobAndRerunsStandBelowTheirOriginal) {
  const JobId other = Write([&](Transaction& t) { return AddJob(t, pipeline_, "other"); });
  const BuildId first = Create();
  const BuildId second = Create({.created_by = "bob", .manual = true, .rerun_of = {}});
  EXPECT_EQ(Find(first).name, "1");
  EXPECT_EQ(Find(second).name, "2");
  EXPECT_EQ(Find(second).created_by, "bob");
  EXPECT_TRUE(Find(second).manual);
  const BuildId elsewhere = Write([&](Transaction& t) { return CreateJobBuild(t, other, {}); });
  EXPECT_EQ(Find(elsewhere).name, "1");
  const BuildId rerun = Create({.created_by = {}, .manual = false, .rerun_of = first});
  EXPECT_EQ(Find(rerun).name, "1.1");
  const BuildId again = Create({.created_by = {}, .manual = false, .rerun_of = rerun});
  EXPECT_EQ(Find(again).name, "1.2");
  EXPECT_EQ(Find(again).rerun_of, first);
  EXPECT_EQ(Find(again).rerun_of_name, "1");
  EXPECT_EQ(Find(Create()).name, "3");
  EXPECT_THROW(Write([&](Transaction& t) {
                 return CreateJobBuild(t, other,
                                       {.created_by = {}, .manual = false, .rerun_of = first});
               }),
               Failure);
}

TEST_P(BuildsTest, ABuildEndsOnce) {
  const BuildId build = Create();
  EXPECT_TRUE(Start(build, Owner{"a", 7}));
  EXPECT_FALSE(Start(build, Owner{"a", 7}));
  Write([&](Transaction& t) {
    SaveStep(t, build, {"a", 7}, {"p1", 1, "succeeded", JsonObject{{"exit_status", 0}}});
    SaveStep(t, build, {"a", 7}, {"p1", 1, "succeeded", JsonObject{{"exit_status", 1}}});
  });
  const auto steps = Read([&](Transaction& t) { return ListSteps(t, build); });
  ASSERT_EQ(steps.size(), 1U);
  EXPECT_EQ(steps[0].result.IntegerAt("exit_status"), 1);
  EXPECT_TRUE(Finish(build, BuildStatus::kFailed, Owner{"a", 7}));
  EXPECT_FALSE(Finish(build, BuildStatus::kSucceeded, Owner{"a", 7}));
  EXPECT_EQ(Find(build).status, BuildStatus::kFailed);
  EXPECT_TRUE(Find(build).end_time);
  EXPECT_TRUE(Read([&](Transaction& t) { return ListSteps(t, build); }).empty());
  EXPECT_FALSE(Read([&](Transaction& t) { return FindPlan(t, build); }));
  const auto shown = Read([&](Transaction& t) { return FindPublicPlan(t, build); });
  ASSERT_TRUE(shown);
  EXPECT_EQ(shown->find("hidden"), std::string::npos);
  const std::string id = std::to_string(build.value);
  EXPECT_EQ(Changes(), (std::vector<std::string>{"build.created " + id, "build.started " + id,
                                                 "build.finished " + id}));
}

TEST_P(BuildsTest, AnOldOwnerWritesNothing) {
  const BuildId build = Create();
  EXPECT_THROW(Start(build, Owner{"a", 6}), Failure);
  EXPECT_TRUE(Start(build, Owner{"a", 7}));
  Write([](Transaction& t) {
    t.Execute("update leases set epoch = 8, last_epoch = 8 where node = 'a'");
  });
  EXPECT_THROW(Finish(build, BuildStatus::kSucceeded, Owner{"a", 7}), Failure);
  EXPECT_THROW(
      Write([&](Transaction& t) { SaveStep(t, build, {"a", 7}, {"p", 1, "started", {}}); }),
      Failure);
  EXPECT_THROW(
      Write([&](Transaction& t) { SaveStep(t, build, {"b", 1}, {"p", 1, "started", {}}); }),
      Failure);
  EXPECT_TRUE(Write([&](Transaction& t) { return ClaimBuild(t, build, {"b", 1}, Owner{"a", 7}); }));
  EXPECT_FALSE(
      Write([&](Transaction& t) { return ClaimBuild(t, build, {"b", 1}, Owner{"a", 7}); }));
  EXPECT_EQ(Read([&](Transaction& t) { return ListRunnable(t, "b").size(); }), 1U);
  EXPECT_EQ(Read([&](Transaction& t) { return ListOwnedByOthers(t, "a").size(); }), 1U);
  EXPECT_THROW(Finish(build, BuildStatus::kSucceeded, Owner{"a", 8}), Failure);
  EXPECT_TRUE(Finish(build, BuildStatus::kSucceeded, Owner{"b", 1}));
}

TEST_P(BuildsTest, AnAbortedPendingBuildEndsAtOnceAndAStartedOneIsAskedTo) {
  const BuildId pending = Create();
  EXPECT_TRUE(Write([&](Transaction& t) { return SetAborted(t, pending); }));
  EXPECT_EQ(Find(pending).status, BuildStatus::kAborted);
  EXPECT_FALSE(Start(pending));
  const BuildId started = Create();
  EXPECT_TRUE(Start(started));
  EXPECT_TRUE(Write([&](Transaction& t) { return SetAborted(t, started); }));
  EXPECT_EQ(Find(started).status, BuildStatus::kStarted);
  EXPECT_TRUE(Find(started).aborted);
  EXPECT_TRUE(Finish(started, BuildStatus::kAborted));
  EXPECT_FALSE(Write([&](Transaction& t) { return SetAborted(t, started); }));
}

TEST_P(BuildsTest, TheJobShowsItsLatestNextAndTransition) {
  const BuildId first = Create();
  EXPECT_EQ(Job().next_build, first);
  Start(first);
  Finish(first, BuildStatus::kSucceeded);
  EXPECT_EQ(Job().next_build, BuildId{});
  EXPECT_EQ(Job().latest_completed_build, first);
  EXPECT_EQ(Job().transition_build, first);
  const BuildId second = Create();
  Start(second);
  Finish(second, BuildStatus::kSucceeded);
  EXPECT_EQ(Job().transition_build, first);
  const BuildId third = Create();
  const BuildId fourth = Create();
  EXPECT_EQ(Job().next_build, third);
  Start(third);
  Start(fourth);
  Finish(fourth, BuildStatus::kFailed);
  EXPECT_EQ(Job().transition_build, fourth);
  Finish(third, BuildStatus::kSucceeded);  // queued before, ended after: the job stays red
  EXPECT_EQ(Job().transition_build, fourth);
  EXPECT_EQ(Job().latest_completed_build, fourth);
  const BuildId rerun = Create({.created_by = {}, .manual = false, .rerun_of = fourth});
  EXPECT_EQ(Job().next_build, rerun);
  Start(rerun);
  Finish(rerun, BuildStatus::kSucceeded);
  EXPECT_EQ(Job().latest_completed_build, rerun);
  EXPECT_EQ(Job().transition_build, rerun);
  const BuildId old_rerun = Create({.created_by = {}, .manual = false, .rerun_of = first});
  EXPECT_EQ(Job().next_build, BuildId{});
  Start(old_rerun);
  Finish(old_rerun, BuildStatus::kFailed);
  EXPECT_EQ(Job().latest_completed_build, rerun);
}

TEST_P(BuildsTest, SuccessKeepsWhatWasPutBeforeWhatWasGot) {
  const ResourceId resource = Write([&](Transaction& t) { return AddResource(t, pipeline_, "r"); });
  const VersionId got = Write([&](Transaction& t) { return AddVersion(t, resource, "1"); });
  const BuildId build = Create();
  Start(build);
  const VersionId put = Write([&](Transaction& t) {
    SaveBuildInput(t, build, "in", resource, got, true);
    return SavePut(t, build, "out", resource, ScopeOf(t, resource), {{"v", "2"}}, {{"m", "n"}});
  });
  Write([&](Transaction& t) {  // after a crash, once more
    SavePut(t, build, "out", resource, ScopeOf(t, resource), {{"v", "2"}}, {{"m", "n"}});
  });
  Finish(build, BuildStatus::kSucceeded);
  Read([&](Transaction& t) {
    const Rows rows = t.Query(
        "select version_id from succeeded_versions where build_id = $1 order by "
        "position",
        {build});
    ASSERT_EQ(rows.size(), 2U);
    EXPECT_EQ(rows[0].As<VersionTag>(0), put);
    EXPECT_EQ(rows[1].As<VersionTag>(0), got);
    EXPECT_EQ(ListBuildOutputs(t, build).at(0).metadata, R"([{"name":"m","value":"n"}])");
    EXPECT_EQ(ListBuildInputs(t, build).at(0).version, R"({"v":"1"})");
    EXPECT_EQ(ListBuildsWithInput(t, resource, got).size(), 1U);
    EXPECT_EQ(ListBuildsWithOutput(t, resource, put).size(), 1U);
  });
}

TEST_P(BuildsTest, PipelinesThatNothingSetsAnyMoreAreArchived) {
  const auto archived = [&](PipelineId pipeline) {
    return Read([&](Transaction& t) { return FindPipelineById(t, pipeline).value().archived; });
  };
  PipelineId kept;
  PipelineId left;
  PipelineId grandchild;
  const BuildId first = Create();
  Write([&](Transaction& t) {
    kept = AddPipeline(t, team_, "kept");
    left = AddPipeline(t, team_, "left");
    grandchild = AddPipeline(t, team_, "grandchild");
    SetPipelineParent(t, kept, job_, first);
    SetPipelineParent(t, left, job_, first);
    SetPipelineParent(t, grandchild, AddJob(t, left, "sets"), first);
  });
  Start(first);
  Finish(first, BuildStatus::kSucceeded);
  EXPECT_FALSE(archived(left));
  const BuildId failed = Create();
  Start(failed);
  Finish(failed, BuildStatus::kFailed);
  EXPECT_FALSE(archived(left));
  const BuildId second = Create();
  Start(second);
  Write([&](Transaction& t) { SetPipelineParent(t, kept, job_, second); });
  Finish(second, BuildStatus::kSucceeded);
  EXPECT_FALSE(archived(kept));
  EXPECT_TRUE(archived(left));
  EXPECT_TRUE(archived(grandchild));
  Write([&](Transaction& t) { DestroyPipeline(t, FindPipelineById(t, pipeline_).value()); });
  EXPECT_TRUE(archived(kept));
}

TEST_P(BuildsTest, OneOffAndCheckBuildsStartAtOnce) {
  const BuildId one_off = Write([&](Transaction& t) {
    return CreateOneOffBuild(t, {.team = team_, .created_by = "bob"}, SomePlan());
  });
  EXPECT_EQ(Find(one_off).name, std::to_string(one_off.value));
  EXPECT_EQ(Find(one_off).status, BuildStatus::kStarted);
  const ResourceId resource = Write([&](Transaction& t) { return AddResource(t, pipeline_, "r"); });
  const NewStartedBuild check{.team = team_, .pipeline = pipeline_, .resource = resource};
  const auto first = Write([&](Transaction& t) { return CreateCheckBuild(t, check, SomePlan()); });
  ASSERT_TRUE(first);
  EXPECT_EQ(Find(*first).name, "check");
  EXPECT_EQ(Find(*first).resource_name, "r");
  EXPECT_FALSE(Write([&](Transaction& t) { return CreateCheckBuild(t, check, SomePlan()); }));
  NewStartedBuild by_hand = check;
  by_hand.manual = true;
  EXPECT_TRUE(Write([&](Transaction& t) { return CreateCheckBuild(t, by_hand, SomePlan()); }));
  EXPECT_EQ(Read([&](Transaction& t) { return ListRunnable(t, "a").size(); }), 3U);
  Read([&](Transaction& t) {
    EXPECT_EQ(ListBuilds(t, {.teams = {team_}}, {}).size(), 1U);
    EXPECT_EQ(ListBuilds(t, {.teams = {team_}, .checks = true}, {}).size(), 3U);
    EXPECT_EQ(ListBuilds(t, {.resource = resource}, {}).size(), 2U);
    EXPECT_TRUE(ListBuilds(t, {.teams = {TeamId{999}}}, {}).empty());
  });
}

TEST_P(BuildsTest, PagesRunBothWays) {
  std::vector<BuildId> builds;
  for (int i = 0; i < 5; ++i)
    builds.push_back(Create());
  const auto ids = [&](BuildPage page) {
    return Read([&](Transaction& t) {
      std::vector<BuildId> found;
      for (const BuildRow& build : ListBuilds(t, {.job = job_}, page))
        found.push_back(build.id);
      return found;
    });
  };
  EXPECT_EQ(ids({.limit = 2}), (std::vector{builds[4], builds[3]}));
  EXPECT_EQ(ids({.to = builds[2].value, .limit = 2}), (std::vector{builds[2], builds[1]}));
  EXPECT_EQ(ids({.from = builds[1].value, .limit = 2}), (std::vector{builds[2], builds[1]}));
}

}  // namespace
}  // namespace pinion::store
