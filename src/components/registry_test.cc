#include "components/registry.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "async/signal.h"
#include "store/testing.h"

namespace pinion::components {
namespace {

using namespace std::chrono_literals;

class RegistryTest : public store::testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    store::DatabaseOptions options = test_database().options();
    options.inline_calls = true;
    inline_ = ValueOrThrow(store::Database::Open(options, clock_, Logger()));
    registry_ = NewNode(1);
  }
  void TearDown() override {
    if (registry_) loop_.RunUntilDone(registry_->Stop());
    registry_.reset();
    inline_.reset();
    DatabaseTest::TearDown();
  }
  std::unique_ptr<Registry> NewNode(std::uint64_t seed) {
    return std::make_unique<Registry>(loop_.executor(), *inline_, timers_, Logger(), seed);
  }
  /// A component that counts its runs.
  static Component Counting(int& runs, Duration interval) {
    return {.name = "counter", .role = "backend", .interval = interval, .run = [&runs](auto) {
              return Count(runs);
            }};
  }
  static Task<void> Count(int& runs) {
    ++runs;
    co_return;
  }
  /// Ends when it is told to, or on stop.
  static Task<void> Hold(int& runs, Signal& end, std::stop_token stop) {
    ++runs;
    co_await end.Wait(stop);
  }
  static Task<void> FailTwice(int& runs) {
    if (++runs <= 2) throw Failure(ErrorKind::kUnavailable, "no worker");
    co_return;
  }
  void Start() { loop_.RunUntilDone(registry_->Start({})); }
  void Settle() {
    while (loop_.Poll() > 0) {
    }
  }
  void Advance(Duration by) {
    for (const SteadyTime end = clock_.Steady() + by; clock_.Steady() < end;) {
      Settle();
      clock_.Set(clock_.Steady() + 500ms);
      timers_.FireDue();
    }
    Settle();
  }
  void SetPaused(bool paused) {
    Write([&](store::Transaction& t) { store::SetComponentPaused(t, "counter", paused); });
    loop_.RunUntilDone(registry_->Reload({}));
    Settle();
  }

  Loop loop_{"test"};
  VirtualClock clock_;
  Timers timers_{clock_};
  int runs_ = 0;
  Signal end_;  // of runs that wait
  std::unique_ptr<store::Database> inline_;
  std::unique_ptr<Registry> registry_;
};
PINION_FOR_EACH_DATABASE(RegistryTest);

TEST_P(RegistryTest, RunsAtTheStartAndByIntervalWithJitter) {
  registry_->Add(Counting(runs_, 60s));
  Start();
  Advance(1s);
  EXPECT_EQ(runs_, 1);
  Advance(50s);
  EXPECT_EQ(runs_, 1);
  Advance(10s);
  EXPECT_EQ(runs_, 2);
  Advance(600s);
  EXPECT_GE(runs_, 11);
  EXPECT_LE(runs_, 13);
}

TEST_P(RegistryTest, TriggersRunAtOnceAndPutTheSweepOff) {
  registry_->Add(Counting(runs_, 60s));
  Start();
  Advance(40s);
  ASSERT_EQ(runs_, 1);
  for (int i = 0; i < 5; ++i)
    registry_->Trigger("counter");
  Settle();
  EXPECT_EQ(runs_, 2);
  Advance(50s);
  EXPECT_EQ(runs_, 2);
  EXPECT_THROW(registry_->Trigger("countre"), Failure);
}

TEST_P(RegistryTest, TriggersDuringARunAreOneMoreRun) {
  registry_->Add({.name = "counter", .role = "backend", .run = [&](std::stop_token stop) {
                    return Hold(runs_, end_, stop);
                  }});
  Start();
  Advance(10s);
  EXPECT_EQ(runs_, 0);  // no interval: triggered runs only
  registry_->Trigger("counter");
  Settle();
  EXPECT_TRUE(registry_->List()[0].running);
  registry_->Trigger("counter");
  registry_->Trigger("counter");
  Settle();
  EXPECT_EQ(runs_, 1);
  end_.Set();
  Settle();
  EXPECT_EQ(runs_, 2);
  end_.Set();
  Settle();
  EXPECT_EQ(runs_, 2);
  EXPECT_FALSE(registry_->List()[0].running);
}

TEST_P(RegistryTest, PausedOnesWaitAndRememberTheTrigger) {
  registry_->Add(Counting(runs_, 60s));
  Start();
  Advance(1s);
  SetPaused(true);
  EXPECT_TRUE(registry_->IsPaused("counter"));
  registry_->Trigger("counter");
  Advance(300s);
  EXPECT_EQ(runs_, 1);
  SetPaused(false);
  EXPECT_EQ(runs_, 2);
  // The pause outlives the process.
  SetPaused(true);
  loop_.RunUntilDone(registry_->Stop());
  registry_ = NewNode(2);
  registry_->Add(Counting(runs_, 60s));
  Start();
  Advance(120s);
  EXPECT_EQ(runs_, 2);
}

TEST_P(RegistryTest, PartsWithALoopOfTheirOwnAreToldOfPausesAndTellTheirRuns) {
  std::vector<bool> told;
  registry_->Add({.name = "counter", .role = "backend", .set_paused = [&](bool paused) {
                    told.push_back(paused);
                  }});
  const RunListener ran = registry_->RunsOf("counter");
  Start();
  SetPaused(true);
  EXPECT_EQ(told, (std::vector{false, true}));
  const SteadyTime begun = clock_.Steady();
  clock_.Set(begun + 3s);
  ran(begun, "");
  ran(clock_.Steady(), "the database is away");
  const ComponentStatus status = registry_->List().front();
  EXPECT_EQ(status.runs, 2);
  EXPECT_EQ(status.failures, 1);
  EXPECT_EQ(status.last_error, "the database is away");
  Advance(61s);
  EXPECT_EQ(
      Read([](store::Transaction& t) { return store::FindComponent(t, "counter"); })->last_ran,
      status.last_ran);
}

TEST_P(RegistryTest, WhatOthersNeedCannotBePaused) {
  registry_->Add({.name = "lease", .role = "backend"});
  registry_->Add(Counting(runs_, 60s));
  Start();
  EXPECT_THROW(Write([](store::Transaction& t) { store::SetComponentPaused(t, "lease", true); }),
               Failure);
  Write([](store::Transaction& t) { store::SetAllComponentsPaused(t, true); });
  loop_.RunUntilDone(registry_->Reload({}));
  EXPECT_FALSE(registry_->IsPaused("lease"));
  EXPECT_TRUE(registry_->IsPaused("counter"));
}

TEST_P(RegistryTest, FailuresAreShownAndTriedAgainSooner) {
  registry_->Add({.name = "counter", .role = "backend", .interval = 1h, .run = [&](auto) {
                    return FailTwice(runs_);
                  }});
  Start();
  Advance(500ms);
  EXPECT_EQ(registry_->List()[0].last_error, "no worker");
  Advance(10s);
  EXPECT_EQ(runs_, 3);
  EXPECT_EQ(registry_->List()[0].last_error, std::nullopt);
  EXPECT_EQ(registry_->List()[0].failures, 2);
}

TEST_P(RegistryTest, RunsThatHangAreStopped) {
  registry_->Add({.name = "counter",
                  .role = "backend",
                  .interval = 1h,
                  .run = [&](std::stop_token stop) { return Hold(runs_, end_, stop); },
                  .time_limit = 10s});
  Start();
  Advance(9s);
  EXPECT_EQ(runs_, 1);
  EXPECT_EQ(registry_->List()[0].failures, 0);
  Advance(5s);
  EXPECT_EQ(registry_->List()[0].failures, 1);
  EXPECT_EQ(runs_, 2);
}

TEST_P(RegistryTest, RunsAreNotedInTheTableWithinAMinuteAndAtTheEnd) {
  registry_->Add(Counting(runs_, 10s));
  registry_->Add({.name = "api", .role = "api"});
  Start();
  Advance(30s);
  const auto row = [&] {
    return *Read([](store::Transaction& t) { return store::FindComponent(t, "counter"); });
  };
  EXPECT_FALSE(row().last_ran);
  Advance(40s);
  const auto noted = row().last_ran;
  ASSERT_TRUE(noted);
  EXPECT_EQ(row().interval, 10s);
  Advance(15s);
  EXPECT_EQ(row().last_ran, noted);
  loop_.RunUntilDone(registry_->Stop());
  EXPECT_GT(row().last_ran, noted);
  EXPECT_EQ(Read([](store::Transaction& t) { return store::ListComponents(t).size(); }), 2U);
}

TEST_P(RegistryTest, StopCancelsARunAndWaitsForIt) {
  registry_->Add({.name = "counter", .role = "backend", .interval = 1h, .run = [&](auto stop) {
                    return Hold(runs_, end_, stop);
                  }});
  Start();
  Advance(1s);
  ASSERT_TRUE(registry_->List()[0].running);
  loop_.RunUntilDone(registry_->Stop());
  EXPECT_FALSE(registry_->List()[0].running);
  EXPECT_FALSE(timers_.Next());
}

TEST_P(RegistryTest, OneOfSeveralNodesSweepsEachInterval) {
  if (GetParam() == store::Dialect::kSqlite) GTEST_SKIP() << "SQLite has one node";
  int here = 0;
  int there = 0;
  Component component = Counting(here, 60s);
  component.shared = true;
  registry_->Add(component);
  const auto other = NewNode(7);
  component = Counting(there, 60s);
  component.shared = true;
  other->Add(component);
  Start();
  loop_.RunUntilDone(other->Start({}));
  Advance(600s);
  EXPECT_GE(here + there, 10);
  EXPECT_LE(here + there, 13);
  loop_.RunUntilDone(other->Stop());
}

}  // namespace
}  // namespace pinion::components
