#include "scheduling/scheduler.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "async/loop.h"
#include "scheduling/pipeline_planner.h"
#include "scheduling/preparation.h"
#include "store/builds.h"
#include "store/jobs.h"
#include "store/scheduling_testing.h"
#include "store/scopes.h"
#include "store/testing.h"
#include "store/versions.h"

namespace pinion::scheduling {
namespace {

using namespace store::testing;  // NOLINT
using store::BuildRow;
using store::BuildStatus;
using store::Transaction;

class FakePlanner final : public BuildPlanner {
 public:
  Result<protocol::Plan> MakePlan(Transaction&, const store::JobRow& job,
                                  const std::vector<store::BuildInputRow>&, bool) override {
    if (job.name == "unplannable") return Fail(ErrorKind::kInvalid, "no plan for it");
    protocol::Plan plan;
    plan.id = "1";
    plan.task.emplace().name = job.name;
    return plan;
  }
};

class FakeStarter final : public BuildStarter {
 public:
  void BuildStarted(BuildId build) override { started.push_back(build); }
  void BuildErrored(BuildId, const std::string& message) override { errors.push_back(message); }
  std::vector<BuildId> started;
  std::vector<std::string> errors;
};

class FakeChecks final : public checking::CheckRequester {
 public:
  void RequestChecks(const std::vector<ResourceId>& resources) override {
    requested.insert(requested.end(), resources.begin(), resources.end());
  }
  std::vector<ResourceId> requested;
};

// A scheduler on a database, a loop and a clock that the test drives.
class SchedulerTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    auto options = test_database().options();
    options.inline_calls = true;
    node_ = ValueOrThrow(store::Database::Open(options, virtual_clock_, Logger()));
    Write([&](Transaction& t) {
      team_ = AddTeam(t);
      pipeline_ = AddPipeline(t, team_);
    });
  }

  void TearDown() override {
    if (scheduler_) {
      loop_.RunUntilDone(scheduler_->Stop());
      loop_.RunUntilDone(feed_->Stop());
    }
    scheduler_.reset();
    feed_.reset();
    node_.reset();
    DatabaseTest::TearDown();
  }

  void StartScheduler(Scheduler::Options options = {}) {
    feed_ = std::make_unique<store::ChangeFollower>(*node_, loop_.executor(), timers_, Logger());
    scheduler_ = std::make_unique<Scheduler>(
        Scheduler::Services{loop_.executor(), *node_, timers_, *feed_, planner_, starter_, checks_,
                            nullptr, Logger()},
        options);
    loop_.RunUntilDone(feed_->Start());
    loop_.RunUntilDone(scheduler_->Start());
    Settle();
  }

  // Lets everything that follows from what was written happen, without time passing.
  void Settle() {
    for (int i = 0; i < 100; ++i) {
      const auto before = scheduler_->looks();
      loop_.RunUntilDone(feed_->CatchUp());
      loop_.RunUntilDone(scheduler_->WaitUntilIdle({}));
      if (scheduler_->looks() == before) return;
    }
    FAIL() << "it never comes to rest";
  }

  template <class Work>
  auto Change(Work work) {
    if constexpr (std::is_void_v<std::invoke_result_t<Work, Transaction&>>) {
      node_->Run(store::Pool::kApi, true, [&](Transaction& t) { work(t); });
      Settle();
    } else {
      std::optional<std::invoke_result_t<Work, Transaction&>> value;
      node_->Run(store::Pool::kApi, true, [&](Transaction& t) { value.emplace(work(t)); });
      Settle();
      return *value;
    }
  }

  VersionId Save(ResourceId resource, const std::string& name) {
    return Change([&](Transaction& t) { return AddVersion(t, resource, name); });
  }
  void Finish(BuildId build, BuildStatus status = BuildStatus::kSucceeded) {
    Change([&](Transaction& t) { store::FinishBuild(t, build, status); });
  }
  BuildId Trigger(JobId job) {
    return Change([&](Transaction& t) {
      return store::CreateJobBuild(t, job, {.created_by = "bob", .manual = true, .rerun_of = {}});
    });
  }
  BuildRow Find(BuildId build) {
    return Read([&](Transaction& t) { return store::FindBuild(t, build).value(); });
  }
  Preparation Prepared(BuildId build) {
    return Read([&](Transaction& t) { return FindPreparation(t, build).value(); });
  }
  // "3 started: r=2", newest last.
  std::string Builds(JobId job) {
    return Read([&](Transaction& t) {
      std::string text;
      auto builds = store::ListBuilds(t, {.job = job}, {});
      std::ranges::reverse(builds);
      for (const BuildRow& build : builds) {
        if (!text.empty()) text += "; ";
        text += build.name + " " + std::string(Name(build.status));
        for (const auto& input : store::ListBuildInputs(t, build.id)) {
          text += " " + input.name + "=" + store::ParseVersion(input.version).at("v");
        }
      }
      return text;
    });
  }
  ResourceId Resource(const std::string& name) {
    return Write([&](Transaction& t) { return AddResource(t, pipeline_, name); });
  }
  JobId Job(const std::string& name, const std::vector<TestInput>& inputs,
            const std::string& config = "{}") {
    return Write([&](Transaction& t) {
      const JobId job = AddJob(t, pipeline_, name, config);
      for (const auto& input : inputs)
        AddInput(t, job, input);
      const Json parsed = ValueOrThrow(ParseJson(config));
      if (const Json* groups = parsed.Find("serial_groups")) {
        for (const Json& group : groups->AsArray()) {
          t.Execute("insert into job_serial_groups (job_id, serial_group) values ($1, $2)",
                    {job, group.AsString()});
        }
      }
      return job;
    });
  }
  void Checked(ResourceId resource) {
    Change([&](Transaction& t) {
      store::SaveCheck(t, ScopeOf(t, resource), {.succeeded = true, .next_in = 60});
    });
  }
  void Advance(Duration by) {
    virtual_clock_.Set(virtual_clock_.Steady() + by);
    timers_.FireDue();
    Settle();
  }

  VirtualClock virtual_clock_;
  Timers timers_{virtual_clock_};
  Loop loop_{"test"};
  std::unique_ptr<store::Database> node_;
  FakePlanner planner_;
  FakeStarter starter_;
  FakeChecks checks_;
  std::unique_ptr<store::ChangeFollower> feed_;
  std::unique_ptr<Scheduler> scheduler_;
  TeamId team_;
  PipelineId pipeline_;
};
PINION_FOR_EACH_DATABASE(SchedulerTest);

TEST_P(SchedulerTest, ANewVersionStartsTheJobsThatDependOnItAndNoOthers) {
  const ResourceId r = Resource("r");
  const ResourceId s = Resource("s");
  const JobId build = Job("build", {{"r", r, {}, true, ""}});
  const JobId other = Job("other", {{"s", s, {}, true, ""}});
  StartScheduler();
  const auto looks = scheduler_->looks();
  Save(r, "1");
  EXPECT_EQ(Builds(build), "1 started r=1");
  EXPECT_EQ(Builds(other), "");
  EXPECT_EQ(starter_.started.size(), 1U);
  EXPECT_LE(scheduler_->looks() - looks, 2);  // for the version and for the build that it made
  Save(r, "2");
  EXPECT_EQ(Builds(build), "1 started r=1; 2 started r=2");
}

TEST_P(SchedulerTest, WhatDoesNotTriggerOnlyShowsThatItIsNew) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, false, ""}});
  StartScheduler();
  Save(r, "1");
  EXPECT_EQ(Builds(job), "");
  EXPECT_TRUE(Read([&](Transaction& t) { return store::FindJob(t, job)->has_new_inputs; }));
  const BuildId build = Trigger(job);
  Checked(r);
  EXPECT_EQ(Find(build).status, BuildStatus::kStarted);
  EXPECT_FALSE(Read([&](Transaction& t) { return store::FindJob(t, job)->has_new_inputs; }));
}

TEST_P(SchedulerTest, AChainOfPassedJobsRunsByItself) {
  const ResourceId r = Resource("r");
  const JobId a = Job("a", {{"r", r, {}, true, ""}});
  const JobId b = Job("b", {{"r", r, {a}, true, ""}});
  const JobId c = Job("c", {{"r", r, {a, b}, true, ""}});
  StartScheduler();
  Save(r, "1");
  Save(r, "2");
  ASSERT_EQ(Builds(a), "1 started r=1; 2 started r=2");
  EXPECT_EQ(Builds(b), "");
  Finish(starter_.started[0], BuildStatus::kFailed);
  EXPECT_EQ(Builds(b), "");
  Finish(starter_.started[1]);
  EXPECT_EQ(Builds(b), "1 started r=2");
  EXPECT_EQ(Builds(c), "");
  Finish(starter_.started[2]);
  EXPECT_EQ(Builds(c), "1 started r=2");
}

TEST_P(SchedulerTest, WhatHappensDuringAPauseStartsAfterIt) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, ""}});
  StartScheduler();
  scheduler_->SetPaused(true);
  node_->Run(store::Pool::kApi, true, [&](Transaction& t) { AddVersion(t, r, "1"); });
  loop_.RunUntilDone(feed_->CatchUp());
  while (loop_.Poll() > 0) {
  }
  EXPECT_EQ(Builds(job), "");
  scheduler_->SetPaused(false);
  Settle();
  EXPECT_EQ(Builds(job), "1 started r=1");
}

TEST_P(SchedulerTest, EveryVersionGetsItsBuild) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, "every"}});
  StartScheduler();
  Save(r, "1");
  Change([&](Transaction& t) {
    store::SaveVersions(t, ScopeOf(t, r), {{{"v", "2"}}, {{"v", "3"}}, {{"v", "4"}}});
  });
  EXPECT_EQ(Builds(job), "1 started r=1; 2 started r=2; 3 started r=3; 4 started r=4");
}

TEST_P(SchedulerTest, EveryOfASerialJobGoesOnAsBuildsEnd) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, "every"}}, R"({"serial":true})");
  StartScheduler();
  Save(r, "1");
  Change(
      [&](Transaction& t) { store::SaveVersions(t, ScopeOf(t, r), {{{"v", "2"}}, {{"v", "3"}}}); });
  EXPECT_EQ(Builds(job), "1 started r=1; 2 pending");
  EXPECT_EQ(Prepared(Find(starter_.started[0]).id).max_running_builds, "not_blocking");
  Finish(starter_.started[0], BuildStatus::kFailed);
  EXPECT_EQ(Builds(job), "1 failed r=1; 2 started r=2; 3 pending");
  Finish(starter_.started[1]);
  EXPECT_EQ(Builds(job), "1 failed r=1; 2 succeeded r=2; 3 started r=3");
}

TEST_P(SchedulerTest, APausedPipelineOrJobHoldsBuildsWithTheReason) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, ""}});
  Write([&](Transaction& t) {
    t.Execute("update pipelines set paused = 1 where id = $1", {pipeline_});
    store::PauseJob(t, job, "bob");
  });
  StartScheduler();
  Save(r, "1");
  const BuildId build = Trigger(job);
  Checked(r);
  EXPECT_EQ(Find(build).status, BuildStatus::kPending);
  EXPECT_EQ(Prepared(build).paused_pipeline, "blocking");
  EXPECT_EQ(Prepared(build).paused_job, "blocking");
  Change([&](Transaction& t) {
    t.Execute("update pipelines set paused = 0 where id = $1", {pipeline_});
    t.AppendChange("pipeline.unpaused", pipeline_.value, team_);
  });
  EXPECT_EQ(Find(build).status, BuildStatus::kPending);
  EXPECT_EQ(Prepared(build).paused_pipeline, "not_blocking");
  Change([&](Transaction& t) { store::UnpauseJob(t, job); });
  EXPECT_EQ(Find(build).status, BuildStatus::kStarted);
}

TEST_P(SchedulerTest, MaxInFlightIsNeverPassed) {
  const JobId job = Job("job", {}, R"({"max_in_flight":2})");
  StartScheduler();
  std::vector<BuildId> builds;
  for (int i = 0; i < 4; ++i)
    builds.push_back(Trigger(job));
  EXPECT_EQ(Builds(job), "1 started; 2 started; 3 pending; 4 pending");
  EXPECT_EQ(Prepared(builds[2]).max_running_builds, "blocking");
  EXPECT_EQ(Prepared(builds[0]).max_running_builds, "not_blocking");
  Finish(builds[1]);
  EXPECT_EQ(Builds(job), "1 started; 2 succeeded; 3 started; 4 pending");
}

TEST_P(SchedulerTest, SerialGroupsRunOneAtATimeInTheOrderOfTheirBuilds) {
  const std::string group = R"({"serial_groups":["g"]})";
  const JobId a = Job("a", {}, group);
  const JobId b = Job("b", {}, group);
  StartScheduler();
  const BuildId first = Trigger(a);
  const BuildId second = Trigger(b);
  const BuildId third = Trigger(a);
  EXPECT_EQ(Find(first).status, BuildStatus::kStarted);
  EXPECT_EQ(Find(second).status, BuildStatus::kPending);
  EXPECT_EQ(Prepared(third).max_running_builds, "blocking");
  Finish(first);
  EXPECT_EQ(Find(second).status, BuildStatus::kStarted);
  EXPECT_EQ(Find(third).status, BuildStatus::kPending);
  Change([&](Transaction& t) { store::PauseJob(t, a, "bob"); });
  const BuildId fourth = Trigger(b);
  Finish(second);
  EXPECT_EQ(Find(fourth).status, BuildStatus::kStarted);  // a paused job holds nobody up
  Finish(fourth);
  Change([&](Transaction& t) { store::UnpauseJob(t, a); });
  EXPECT_EQ(Find(third).status, BuildStatus::kStarted);
}

TEST_P(SchedulerTest, AManualBuildWaitsForTheChecksOfItsInputs) {
  const ResourceId r = Resource("r");
  const ResourceId pinned = Resource("pinned");
  const JobId job = Job("job", {{"r", r, {}, false, ""}, {"pinned", pinned, {}, false, ""}});
  Write([&](Transaction& t) { store::PinVersion(t, pinned, AddVersion(t, pinned, "9")); });
  StartScheduler();
  const BuildId build = Trigger(job);
  EXPECT_EQ(Find(build).status, BuildStatus::kPending);
  EXPECT_TRUE(Find(build).needs_check);
  EXPECT_EQ(checks_.requested, std::vector{r});
  EXPECT_EQ(Prepared(build).missing_input_reasons.at("r"),
            "checking for latest available versions");
  Change([&](Transaction& t) {
    store::SaveVersions(t, ScopeOf(t, r), {{{"v", "1"}}});
    store::SaveCheck(t, ScopeOf(t, r), {.succeeded = true, .next_in = 60});
  });
  EXPECT_EQ(Builds(job), "1 started pinned=9 r=1");
  EXPECT_FALSE(Find(build).needs_check);
  // Within the same second: what has come since that check is not to be missed.
  const BuildId next = Trigger(job);
  EXPECT_EQ(Find(next).status, BuildStatus::kPending);
  EXPECT_TRUE(Find(next).needs_check);
  Checked(r);
  EXPECT_EQ(Find(next).status, BuildStatus::kStarted);
}

TEST_P(SchedulerTest, AFailedCheckLetsTheBuildGoOnWithWhatIsThere) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, false, ""}});
  StartScheduler();
  const BuildId build = Trigger(job);
  Change([&](Transaction& t) {
    store::SaveCheck(t, ScopeOf(t, r), {.succeeded = false, .error = "no", .next_in = 60});
  });
  EXPECT_EQ(Find(build).status, BuildStatus::kPending);
  EXPECT_EQ(Prepared(build).missing_input_reasons.at("r"), "latest version of resource not found");
  EXPECT_EQ(Prepared(build).inputs_satisfied, "blocking");
  Save(r, "1");
  EXPECT_EQ(Builds(job), "1 started r=1");
}

TEST_P(SchedulerTest, RerunsTakeTheInputsOfTheirOriginal) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, ""}}, R"({"serial":true})");
  StartScheduler();
  Save(r, "1");
  Finish(starter_.started[0], BuildStatus::kFailed);
  Save(r, "2");
  const BuildId rerun = Change([&](Transaction& t) {
    return store::CreateJobBuild(
        t, job, {.created_by = {}, .manual = false, .rerun_of = starter_.started[0]});
  });
  EXPECT_EQ(Find(rerun).status, BuildStatus::kPending);
  Finish(starter_.started[1]);
  EXPECT_EQ(Builds(job), "1 failed r=1; 2 succeeded r=2; 1.1 started r=1");
  Finish(rerun);
  Change([&](Transaction& t) {
    store::AttachResource(t, r, store::FindOrCreateScope(t, "x", "mock"));
  });
  const BuildId gone = Change([&](Transaction& t) {
    return store::CreateJobBuild(
        t, job, {.created_by = {}, .manual = false, .rerun_of = starter_.started[0]});
  });
  EXPECT_EQ(Find(gone).status, BuildStatus::kAborted);  // its version is no longer to be had
}

TEST_P(SchedulerTest, PinsAndDisabledVersionsDecideAtOnce) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, ""}});
  StartScheduler();
  const VersionId one = Save(r, "1");
  const VersionId two = Save(r, "2");
  Change([&](Transaction& t) { store::PinVersion(t, r, one); });
  Save(r, "3");
  EXPECT_EQ(Builds(job), "1 started r=1; 2 started r=2");
  Change([&](Transaction& t) { store::UnpinVersion(t, r); });
  EXPECT_EQ(Builds(job), "1 started r=1; 2 started r=2; 3 started r=3");
  Change([&](Transaction& t) { store::SetVersionEnabled(t, r, two, false); });
  EXPECT_EQ(Builds(job), "1 started r=1; 2 started r=2; 3 started r=3");
}

TEST_P(SchedulerTest, AJobThatCannotBePlannedEndsItsBuildWithTheReason) {
  const JobId job = Job("unplannable", {}, R"({"serial":true})");
  StartScheduler();
  const BuildId build = Trigger(job);
  EXPECT_EQ(Find(build).status, BuildStatus::kErrored);
  EXPECT_EQ(starter_.errors, std::vector<std::string>{"no plan for it"});
  EXPECT_TRUE(starter_.started.empty());
}

TEST_P(SchedulerTest, OneBrokenJobDoesNotHoldUpTheOthersOfItsBatch) {
  const JobId broken = Job("broken", {}, "{}");
  const JobId fine = Job("fine", {});
  Write([&](Transaction& t) {
    t.Execute("update jobs set config = 'no json' where id = $1", {broken});
    store::CreateJobBuild(t, broken, {});
    store::CreateJobBuild(t, fine, {});
  });
  StartScheduler();
  EXPECT_EQ(Builds(broken), "1 pending");
  EXPECT_EQ(Builds(fine), "1 started");
}

TEST_P(SchedulerTest, PendingBuildsOfArchivedPipelinesAndRemovedJobsEnd) {
  const JobId job = Job("job", {}, R"({"serial":true})");
  StartScheduler();
  Trigger(job);
  const BuildId waiting = Trigger(job);
  Change([&](Transaction& t) {
    t.Execute("update jobs set active = 0 where id = $1", {job});
    t.AppendChange("pipeline.configured", pipeline_.value, team_);
  });
  EXPECT_EQ(Find(waiting).status, BuildStatus::kAborted);
}

TEST_P(SchedulerTest, ARestartFindsWhatWasLeft) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, ""}});
  const JobId manual = Job("manual", {});
  Write([&](Transaction& t) {
    AddVersion(t, r, "1");
    store::CreateJobBuild(t, manual, {.created_by = {}, .manual = true, .rerun_of = {}});
  });
  StartScheduler();
  EXPECT_EQ(Builds(job), "1 started r=1");
  EXPECT_EQ(Builds(manual), "1 started");
}

TEST_P(SchedulerTest, TheSweepCatchesWhatNoChangeTold) {
  const ResourceId r = Resource("r");
  const JobId job = Job("job", {{"r", r, {}, true, ""}});
  StartScheduler({.sweep_parts = 1});
  Write([&](Transaction& t) {
    AddVersion(t, r, "1");
    t.Execute("delete from changes");
  });
  Settle();
  EXPECT_EQ(Builds(job), "");
  Advance(std::chrono::seconds(181));
  EXPECT_EQ(Builds(job), "1 started r=1");
}

TEST_P(SchedulerTest, AnOwnerThatLostItsLeaseStartsNothing) {
  const JobId job = Job("job", {});
  feed_ = std::make_unique<store::ChangeFollower>(*node_, loop_.executor(), timers_, Logger());
  scheduler_ = std::make_unique<Scheduler>(
      Scheduler::Services{loop_.executor(), *node_, timers_, *feed_, planner_, starter_, checks_,
                          [] { return store::Owner{"gone", 3}; }, Logger()},
      Scheduler::Options{});
  loop_.RunUntilDone(feed_->Start());
  loop_.RunUntilDone(scheduler_->Start());
  Settle();
  Trigger(job);
  EXPECT_EQ(Builds(job), "1 pending");
  EXPECT_TRUE(starter_.started.empty());
}

TEST_P(SchedulerTest, AJobWithManyResourcesIsPlannedFromItsPipeline) {
  std::string resources;
  std::string gets;
  std::vector<TestInput> inputs;
  std::vector<ResourceId> ids;
  for (int i = 0; i < 162; ++i) {
    const std::string name = "r" + std::to_string(i);
    resources += (i ? "," : "") + (R"({"name":")" + name + R"(","type":"mock","source":{}})");
    gets += (i ? "," : "") + (R"({"get":")" + name + R"(","trigger":true})");
    ids.push_back(Resource(name));
    inputs.push_back({name, ids.back(), {}, true, ""});
  }
  const JobId job = Job("job", inputs, R"({"name":"job","plan":[]})");
  const std::string config =
      R"({"jobs":[{"name":"job","plan":[)" + gets + R"(]}],"resources":[)" + resources + "]}";
  Write([&](Transaction& t) {
    t.Execute("update pipelines set config = $2 where id = $1", {pipeline_, config});
    for (const ResourceId id : ids)
      AddVersion(t, id, "1");
    store::CreateJobBuild(t, job, {});
  });
  const auto planner = MakePipelinePlanner({});
  const auto before = node_->statements(store::Pool::kEngine);
  JobOutcome outcome;
  node_->Run(store::Pool::kEngine, true,
             [&](Transaction& t) { outcome = ScheduleJob(t, job, *planner, std::nullopt); });
  ASSERT_EQ(outcome.started.size(), 1U);
  EXPECT_LT(node_->statements(store::Pool::kEngine) - before, 600);
  const auto plan = Read([&](Transaction& t) { return store::FindPlan(t, outcome.started[0]); });
  EXPECT_NE(plan.value().find("r161"), std::string::npos);
  Write([&](Transaction& t) { AddVersion(t, ids[7], "2"); });
  const auto second = node_->statements(store::Pool::kEngine);
  node_->Run(store::Pool::kEngine, true,
             [&](Transaction& t) { outcome = ScheduleJob(t, job, *planner, std::nullopt); });
  ASSERT_EQ(outcome.started.size(), 1U);
  EXPECT_LT(node_->statements(store::Pool::kEngine) - second, 60);  // by what is new
}

TEST(FairQueueTest, TeamsTakeTurnsAndTheBackgroundComesLast) {
  FairQueue queue;
  const auto free = [](JobId) { return false; };
  for (int i = 1; i <= 100; ++i)
    queue.Push({JobId{i}, TeamId{1}});
  queue.Push({JobId{500}, TeamId{9}}, true);
  queue.Push({JobId{201}, TeamId{2}});
  EXPECT_FALSE(queue.Push({JobId{201}, TeamId{2}}));
  const auto first = queue.Take(3, free);
  EXPECT_EQ(first, (std::vector<DueJob>{
                       {JobId{1}, TeamId{1}}, {JobId{201}, TeamId{2}}, {JobId{2}, TeamId{1}}}));
  const auto busy = queue.Take(1, [](JobId job) { return job.value == 3; });
  EXPECT_EQ(busy, (std::vector<DueJob>{{JobId{4}, TeamId{1}}}));
  EXPECT_EQ(queue.Take(1000, free).size(), 97U);
  EXPECT_EQ(queue.Take(1000, free), (std::vector<DueJob>{{JobId{500}, TeamId{9}}}));
  EXPECT_EQ(queue.size(), 0U);
}

}  // namespace
}  // namespace pinion::scheduling
