#include "checking/checker.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "async/loop.h"
#include "checking/check_plan.h"
#include "store/builds.h"
#include "store/scheduling_testing.h"
#include "store/scopes.h"
#include "store/testing.h"
#include "store/versions.h"

namespace pinion::checking {
namespace {

using namespace store::testing;  // NOLINT
using store::Transaction;

class FakeFiller final : public SourceFiller {
 public:
  Task<Json> FillIn(SourceOwner, Json value, std::stop_token) override {
    if (!error.empty()) throw Failure(ErrorKind::kNotFound, error);
    std::string text = ToText(value);
    if (const auto at = text.find("((secret))"); at != std::string::npos) {
      text.replace(at, 10, secret);
    }
    co_return ValueOrThrow(ParseJson(text));
  }
  std::string secret = "one";
  std::string error;
};

class FakeRunner final : public CheckRunner {
 public:
  Task<CheckResult> RunCheck(CheckRequest request, std::stop_token stop) override {
    requests.push_back(request);
    if (hold) {
      co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) { held.push_back(waker); });
    }
    if (!error.empty()) throw Failure(ErrorKind::kInternal, error);
    co_return CheckResult{.versions = versions,
                          .image = image,
                          .from_scratch = request.from.image.value_or(image) != image};
  }
  std::vector<CheckRequest> requests;
  std::vector<protocol::Version> versions;
  std::string image;
  std::string error;
  bool hold = false;
  std::vector<Waker<bool>> held;
};

class CheckerTest : public DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    auto options = test_database().options();
    options.inline_calls = true;
    node_ = ValueOrThrow(store::Database::Open(options, virtual_clock_, Logger()));
    Change([&](Transaction& t) {
      team_ = AddTeam(t);
      pipeline_ = AddPipeline(t, team_);
      job_ = AddJob(t, pipeline_, "job");
    });
  }
  void TearDown() override {
    if (checker_) {
      loop_.RunUntilDone(checker_->Stop());
      loop_.RunUntilDone(feed_->Stop());
    }
    checker_.reset();
    feed_.reset();
    node_.reset();
    DatabaseTest::TearDown();
  }

  void StartChecker(Checker::Options options = {}) {
    feed_ = std::make_unique<store::ChangeFollower>(*node_, loop_.executor(), timers_, Logger());
    checker_ =
        std::make_unique<Checker>(Checker::Services{loop_.executor(), *node_, timers_, *feed_,
                                                    filler_, runner_, Logger(), "node"},
                                  options);
    loop_.RunUntilDone(feed_->Start());
    loop_.RunUntilDone(checker_->Start());
    Settle();
  }
  // Everything that happens without time passing.
  void Settle() {
    if (!checker_) return;
    loop_.RunUntilDone(feed_->CatchUp());
    const auto due = [&] {
      const auto next = timers_.Next();
      return next && *next <= virtual_clock_.Steady();
    };
    while (loop_.Poll() > 0 || due())
      timers_.FireDue();
  }
  void Advance(Duration by) {
    // In steps, as time passes: what is due follows from what was done before.
    const SteadyTime end = virtual_clock_.Steady() + by;
    while (true) {
      const auto next = timers_.Next();
      if (!next || *next > end) break;
      virtual_clock_.Set(std::max(*next, virtual_clock_.Steady()));
      Settle();
    }
    virtual_clock_.Set(end);
    Settle();
  }
  template <class Work>
  void Change(Work work) {
    node_->Run(store::Pool::kApi, true, [&](Transaction& t) { work(t); });
    Settle();
  }
  ResourceId Add(const std::string& name, const std::string& members, bool trigger = true,
                 bool input = true) {
    ResourceId id;
    Change([&](Transaction& t) {
      id = t.QueryOne(
                "insert into resources (pipeline_id, name, type, config) values ($1, $2, 'mock', "
                "$3) returning id",
                {pipeline_, name, R"({"name":")" + name + R"(","type":"mock",)" + members + "}"})
               ->As<ResourceTag>(0);
      if (input) AddInput(t, job_, {name, id, {}, trigger, ""});
      t.AppendChange("pipeline.configured", pipeline_.value, team_);
    });
    return id;
  }
  store::ResourceRow Row(ResourceId resource) {
    return Read([&](Transaction& t) { return store::FindResource(t, resource).value(); });
  }
  std::size_t checks() const { return runner_.requests.size(); }

  VirtualClock virtual_clock_;
  Timers timers_{virtual_clock_};
  Loop loop_{"test"};
  std::unique_ptr<store::Database> node_;
  FakeFiller filler_;
  FakeRunner runner_;
  std::unique_ptr<store::ChangeFollower> feed_;
  std::unique_ptr<Checker> checker_;
  TeamId team_;
  PipelineId pipeline_;
  JobId job_;
};
PINION_FOR_EACH_DATABASE(CheckerTest);

using std::chrono::minutes;
using std::chrono::seconds;

TEST_P(CheckerTest, ANewResourceIsCheckedAtOnceAndThenAtItsInterval) {
  StartChecker();
  runner_.versions = {{{"v", "1"}}};
  const ResourceId r = Add("r", R"("source":{"a":1},"check_every":"30s")");
  ASSERT_EQ(checks(), 1U);
  EXPECT_FALSE(runner_.requests[0].from.version);
  Advance(seconds(29));
  EXPECT_EQ(checks(), 1U);
  Advance(seconds(2));
  ASSERT_EQ(checks(), 2U);
  EXPECT_EQ(runner_.requests[1].from.version, (protocol::Version{{"v", "1"}}));
  EXPECT_EQ(Row(r).last_check_succeeded, true);
  Advance(minutes(5));
  EXPECT_EQ(checks(), 12U);
}

TEST_P(CheckerTest, WhatAnotherImageOfTheTypeFindsIsNewest) {
  StartChecker();
  runner_.image = "image 1";
  runner_.versions = {{{"v", "1"}}, {{"v", "2"}}};
  const ResourceId r = Add("r", R"("source":{},"check_every":"30s")");
  Advance(seconds(31));
  ASSERT_EQ(checks(), 2U);
  EXPECT_EQ(runner_.requests[1].from.image, "image 1");
  // A failure says nothing of what its image would have found.
  runner_.image = "image 2";
  runner_.error = "no";
  Advance(seconds(30));
  runner_.error = "";
  runner_.versions = {{{"v", "1"}}};
  Advance(seconds(30));
  ASSERT_EQ(checks(), 4U);
  EXPECT_EQ(runner_.requests[3].from.image, "image 1");
  const auto latest = [&] {
    return Read([&](Transaction& t) {
      return store::LatestVersion(t, store::FindResource(t, r)->scope)->version;
    });
  };
  EXPECT_EQ(latest(), R"({"v":"1"})");
  // The same image again: known versions stay where they are.
  runner_.versions = {{{"v", "2"}}};
  Advance(seconds(30));
  EXPECT_EQ(runner_.requests.back().from.image, "image 2");
  EXPECT_EQ(runner_.requests.back().from.version, (protocol::Version{{"v", "1"}}));
  EXPECT_EQ(latest(), R"({"v":"1"})");
}

TEST_P(CheckerTest, EqualSourcesAreCheckedOnceForAll) {
  StartChecker();
  const ResourceId a = Add("a", R"("source":{"x":1,"y":2})");
  const ResourceId b = Add("b", R"("source":{"y":2,"x":1},"check_every":"20s")");
  const ResourceId c = Add("c", R"("source":{"y":3})");
  EXPECT_EQ(Row(a).scope, Row(b).scope);
  EXPECT_NE(Row(a).scope, Row(c).scope);
  EXPECT_EQ(checks(), 2U);
  Advance(seconds(61));
  EXPECT_EQ(checks(), 6U);  // the shorter interval of the two, and the other scope
}

TEST_P(CheckerTest, NeverMeansOnlyWhenAsked) {
  StartChecker();
  const ResourceId r = Add("r", R"("source":{},"check_every":"never")");
  Advance(minutes(10));
  EXPECT_EQ(checks(), 0U);
  checker_->RequestChecks({r});
  Settle();
  EXPECT_EQ(checks(), 1U);
  Change([&](Transaction& t) { store::RequestCheck(t, r); });
  EXPECT_EQ(checks(), 2U);
  Advance(minutes(10));
  EXPECT_EQ(checks(), 2U);
}

TEST_P(CheckerTest, DuringAPauseNothingIsCheckedAndNothingForgotten) {
  StartChecker();
  const ResourceId r = Add("r", R"("source":{},"check_every":"never")");
  Add("other", R"("source":{"a":1},"check_every":"30s")");
  ASSERT_EQ(checks(), 1U);
  checker_->SetPaused(true);
  checker_->RequestChecks({r});
  virtual_clock_.Set(virtual_clock_.Steady() + minutes(5));
  timers_.FireDue();
  while (loop_.Poll() > 0) {
  }
  EXPECT_EQ(checks(), 1U);
  checker_->SetPaused(false);
  Advance(seconds(1));
  EXPECT_EQ(checks(), 3U);
}

TEST_P(CheckerTest, WhatTriggersNothingIsCheckedUntilItHasVersions) {
  StartChecker();
  const ResourceId input = Add("input", R"("source":{"i":1})", false);
  const ResourceId put = Add("put", R"("source":{"p":1})", false, false);
  EXPECT_EQ(checks(), 2U);
  Advance(seconds(61));
  EXPECT_EQ(checks(), 3U);  // the input has no version yet
  EXPECT_EQ(runner_.requests[2].resource, input);
  runner_.versions = {{{"v", "1"}}};
  Advance(minutes(10));
  EXPECT_EQ(checks(), 4U);
  checker_->RequestChecks({put});
  Settle();
  EXPECT_EQ(checks(), 5U);
}

TEST_P(CheckerTest, PausedAndDestroyedPipelinesAreNotChecked) {
  StartChecker();
  Add("r", R"("source":{})");
  Change([&](Transaction& t) {
    t.Execute("update pipelines set paused = 1 where id = $1", {pipeline_});
    t.AppendChange("pipeline.paused", pipeline_.value, team_);
  });
  Advance(minutes(5));
  EXPECT_EQ(checks(), 1U);
  EXPECT_EQ(checker_->scheduled(), 0U);
  Change([&](Transaction& t) {
    t.Execute("update pipelines set paused = 0 where id = $1", {pipeline_});
    t.AppendChange("pipeline.unpaused", pipeline_.value, team_);
  });
  EXPECT_EQ(checks(), 2U);
  Change([&](Transaction& t) {
    t.Execute("delete from pipelines where id = $1", {pipeline_});
    t.AppendChange("pipeline.destroyed", pipeline_.value, team_);
  });
  Advance(minutes(5));
  EXPECT_EQ(checks(), 2U);
}

TEST_P(CheckerTest, ErrorsAndTimeOutsAreKeptAndTriedAgain) {
  StartChecker();
  runner_.error = "no route to host";
  const ResourceId r = Add("r", R"("source":{},"check_timeout":"10s")");
  EXPECT_EQ(Row(r).last_check_error, "no route to host");
  EXPECT_EQ(Row(r).last_check_succeeded, false);
  runner_.error.clear();
  runner_.hold = true;
  Advance(seconds(61));
  EXPECT_EQ(checker_->running(), 1U);
  Advance(seconds(11));
  EXPECT_EQ(checker_->running(), 0U);
  EXPECT_EQ(Row(r).last_check_error, "timed out after 10s");
  runner_.hold = false;
  runner_.versions = {{}};
  Advance(seconds(61));
  EXPECT_EQ(Row(r).last_check_error, "the check listed a version without members");
  runner_.versions = {{{"v", "1"}}};
  Advance(seconds(61));
  EXPECT_EQ(Row(r).last_check_succeeded, true);
}

TEST_P(CheckerTest, TwoNodesCheckOnce) {
  Add("r", R"("source":{})");
  StartChecker();
  ASSERT_EQ(checks(), 1U);
  FakeRunner other_runner;
  store::ChangeFollower other_feed(*node_, loop_.executor(), timers_, Logger());
  Checker other({loop_.executor(), *node_, timers_, other_feed, filler_, other_runner, Logger()},
                {});
  loop_.RunUntilDone(other_feed.Start());
  loop_.RunUntilDone(other.Start());
  Settle();
  Advance(minutes(5) + seconds(30));
  EXPECT_GE(checks() + other_runner.requests.size(), 5U);
  EXPECT_LE(checks() + other_runner.requests.size(), 6U);
  loop_.RunUntilDone(other.Stop());
  loop_.RunUntilDone(other_feed.Stop());
}

TEST_P(CheckerTest, AStopGivesTheClaimUpForTheNextProcess) {
  runner_.hold = true;
  const ResourceId r = Add("r", R"("source":{})");
  StartChecker();
  ASSERT_EQ(checks(), 1U);
  EXPECT_EQ(checker_->running(), 1U);
  loop_.RunUntilDone(checker_->Stop());
  loop_.RunUntilDone(feed_->Stop());
  runner_.hold = false;
  StartChecker();
  EXPECT_EQ(checks(), 2U);
  EXPECT_EQ(Row(r).last_check_succeeded, true);
}

TEST_P(CheckerTest, LongChecksKeepTheirClaim) {
  runner_.hold = true;
  const ResourceId r = Add("r", R"("source":{})");
  StartChecker();
  Advance(minutes(10));
  const ScopeId scope = Row(r).scope;
  Change([&](Transaction& t) { EXPECT_FALSE(store::ClaimCheck(t, scope, "other", 1, true)); });
  runner_.held.at(0)(true);
  Settle();
  EXPECT_EQ(Row(r).last_check_succeeded, true);
  EXPECT_EQ(checks(), 1U);
}

TEST_P(CheckerTest, ClaimsOfAFormerProcessOfThisNodeEndAtItsStart) {
  const ResourceId r = Add("r", R"("source":{},"check_every":"never")");
  StartChecker();
  checker_->RequestChecks({r});
  Settle();
  ASSERT_EQ(checks(), 1U);
  const ScopeId scope = Row(r).scope;
  loop_.RunUntilDone(checker_->Stop());
  loop_.RunUntilDone(feed_->Stop());
  node_->Run(store::Pool::kApi, true,
             [&](Transaction& t) { ASSERT_TRUE(store::ClaimCheck(t, scope, "node", 90, true)); });
  StartChecker();
  checker_->RequestChecks({r});
  Settle();
  EXPECT_EQ(checks(), 2U);
}

TEST_P(CheckerTest, WhoAsksWhileAnotherNodeChecksIsNotForgotten) {
  const ResourceId r = Add("r", R"("source":{},"check_every":"never")");
  StartChecker();
  checker_->RequestChecks({r});
  Settle();
  ASSERT_EQ(checks(), 1U);
  const ScopeId scope = Row(r).scope;
  Change([&](Transaction& t) { ASSERT_TRUE(store::ClaimCheck(t, scope, "other", 60, true)); });
  checker_->RequestChecks({r});
  Advance(seconds(50));
  EXPECT_EQ(checks(), 1U);
  Advance(seconds(20));
  EXPECT_EQ(checks(), 2U);
}

TEST_P(CheckerTest, ConcurrencyAndRateAreLimitedAndRequestsGoFirst) {
  std::vector<ResourceId> all;
  for (int i = 0; i < 10; ++i) {
    all.push_back(Add("r" + std::to_string(i), R"("source":{"i":)" + std::to_string(i) + "}"));
  }
  StartChecker({.concurrency = 3, .per_second = 2});
  EXPECT_EQ(checks(), 1U);
  checker_->RequestChecks({all[9]});
  Advance(std::chrono::milliseconds(500));
  ASSERT_EQ(checks(), 2U);
  EXPECT_EQ(runner_.requests[1].resource, all[9]);
  Advance(seconds(4));
  EXPECT_EQ(checks(), 10U);
  runner_.hold = true;
  Advance(minutes(2));
  EXPECT_EQ(checker_->running(), 3U);
}

TEST_P(CheckerTest, AChangedSecretIsAnotherScopeAndAMissingOneKeepsIt) {
  StartChecker();
  runner_.versions = {{{"v", "1"}}};
  const ResourceId r = Add("r", R"x("source":{"token":"((secret))"})x");
  const ScopeId first = Row(r).scope;
  filler_.error = "vault is sealed";
  Advance(seconds(61));
  EXPECT_EQ(Row(r).scope, first);
  filler_.error.clear();
  filler_.secret = "two";
  Advance(seconds(61));
  EXPECT_NE(Row(r).scope, first);
  EXPECT_EQ(Row(r).last_check_succeeded, true);
  EXPECT_EQ(ToText(runner_.requests.back().plan.check->source), R"x({"token":"((secret))"})x");
}

TEST_P(CheckerTest, APinnedResourceIsCheckedFromItsPin) {
  runner_.versions = {{{"v", "1"}}, {{"v", "2"}}};
  const ResourceId r = Add("r", R"("source":{})");
  StartChecker();
  Change([&](Transaction& t) { store::PinVersion(t, r, VersionNamed(t, r, "1")); });
  Advance(seconds(61));
  EXPECT_EQ(runner_.requests.back().from.version, (protocol::Version{{"v", "1"}}));
  EXPECT_FALSE(runner_.requests.back().from.image);  // whatever the type's image
}

TEST_P(CheckerTest, AManualCheckIsABuildWithThePlanOfItsTypesImages) {
  ResourceId r;
  Change([&](Transaction& t) {
    t.Execute(
        "insert into resource_types (pipeline_id, name, type, config) values ($1, 'custom', "
        "'registry-image', $2)",
        {pipeline_, R"({"name":"custom","type":"registry-image","source":{"repository":"x"},)"
                    R"("defaults":{"d":1}})"});
    r = t.QueryOne(
             "insert into resources (pipeline_id, name, type, config) values ($1, 'r', 'custom', "
             "$2) returning id",
             {pipeline_, R"({"name":"r","type":"custom","source":{"s":2}})"})
            ->As<ResourceTag>(0);
  });
  BuildId id;
  Change([&](Transaction& t) {
    id = ValueOrThrow(CreateManualCheck(t, r, {}, protocol::Version{{"v", "7"}}, false, "bob"));
  });
  Read([&](Transaction& t) {
    const auto build = store::FindBuild(t, id).value();
    EXPECT_EQ(build.status, store::BuildStatus::kStarted);
    EXPECT_EQ(build.name, "check");
    EXPECT_EQ(build.created_by, "bob");
    const auto plan = ValueOrThrow(protocol::ParsePlan(store::FindPlan(t, id).value()));
    EXPECT_EQ(ToText(plan.check->source), R"({"d":1,"s":2})");
    EXPECT_EQ(plan.check->from_version, (protocol::Version{{"v", "7"}}));
    ASSERT_TRUE(plan.check->image.get_plan);
    EXPECT_TRUE(plan.check->image.check_plan->check->skip_interval);
    const auto chain = ChainOf(*plan.check);
    ASSERT_EQ(chain.size(), 2U);
    EXPECT_EQ(chain[1].type, "registry-image");
  });
}

}  // namespace
}  // namespace pinion::checking
