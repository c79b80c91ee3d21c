// Control steps, hooks and scopes without builds: RunStep and the little of BuildRun that they use
// are fakes of this file, so that it is linked without the rest of the engine.

#include "engine/control_steps.h"

#include <gtest/gtest.h>

#include <set>

#include "async/loop.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "engine/build_run.h"

namespace pinion::engine {
namespace {

using namespace std::chrono_literals;
using enum Outcome;
using protocol::Plan;
using Ran = std::vector<std::string>;

/// What leaf steps do, by plan id, and what they did.
struct Script {
  std::map<std::string, Outcome> outcomes;  ///< others succeed
  std::set<std::string> waiting;            ///< those that wait until they are interrupted
  Ran ran;
  std::set<std::string> interrupted;  ///< those that were interrupted before they began
  Ran errors;
  std::vector<std::vector<int>> attempts;  // of those that ran
  std::size_t running = 0;
  std::size_t most_running = 0;
};
Script* script = nullptr;

/// A place for a service that nobody here uses.
template <class T>
T& Unused() {
  alignas(T) static std::byte place[sizeof(T)];
  return *reinterpret_cast<T*>(place);
}

Plan Step(std::string id) {
  Plan plan;
  plan.id = std::move(id);
  return plan;
}

std::vector<Plan> Steps(const std::vector<std::string>& ids) {
  std::vector<Plan> plans;
  for (const std::string& id : ids)
    plans.push_back(Step(id));
  return plans;
}

class ControlStepsTest : public testing::Test {
 protected:
  ControlStepsTest() { script = &script_; }
  ~ControlStepsTest() override { script = nullptr; }

  void Fires(std::string id, Outcome outcome) { script_.outcomes[std::move(id)] = outcome; }

  /// Runs a hook's step that ends as told, then its hook "hook"; what ran after the step is in
  /// `ran`.
  template <class RunHook>
  Outcome WithHook(RunHook run_hook, Outcome of_step, Outcome of_hook = kSucceeded) {
    script_.ran.clear();
    script_.outcomes = {{"step", of_step}, {"hook", of_hook}};
    const protocol::HookPlan plan{Step("step"), Step("hook")};
    return loop_.RunUntilDone(run_hook(run_, scope_, plan, build_));
  }
  bool HookRan() const { return script_.ran == Ran{"step", "hook"}; }

  /// Begins a step that has to wait for something.
  void Begin(Task<Outcome> task) {
    const auto keep = [](Task<Outcome> waited, std::optional<Outcome>& out) -> Task<void> {
      out = co_await std::move(waited);
    };
    begun_.Spawn(keep(std::move(task), result_));
    loop_.Poll();
  }
  Outcome End() {
    loop_.RunUntilDone(begun_.Join());
    return result_.value_or(kErrored);
  }

  Loop loop_{"test"};
  void* opaque_ = &loop_;  // stands for services of types that are not even known here
  VirtualClock clock_;
  Timers timers_{clock_};
  EngineServices services_{.executor = loop_.executor(),
                           .database = Unused<store::Database>(),
                           .timers = timers_,
                           .logs = Unused<events::LogStore>(),
                           .fleet = Unused<fleet::WorkerRegistry>(),
                           .image_metadata = *static_cast<ImageMetadataCache*>(opaque_),
                           .base_types = *static_cast<BaseTypes*>(opaque_),
                           .gets = gets_,
                           .checks = gets_};
  SingleFlight gets_;
  BuildRun run_{services_, {}, nullptr, {}};
  Scope scope_;
  Interruption build_;
  Script script_;
  TaskGroup begun_{loop_.executor(), Logger(), "test"};
  std::optional<Outcome> result_;
};

}  // namespace

BuildRun::BuildRun(EngineServices& services, store::BuildRow build,
                   std::unique_ptr<events::BuildLogWriter> writer, std::vector<store::StepRow>)
    : services_(services), build_(std::move(build)), writer_(std::move(writer)) {}

void BuildRun::Errored(const std::string& plan_id, std::string_view message) {
  script->errors.push_back(plan_id + ": " + std::string(message));
}

Task<Outcome> RunStep(BuildRun&, Scope&, const Plan& plan, const Interruption& interruption) {
  Script& told = *script;
  told.ran.push_back(plan.id);
  if (interruption.interrupted()) told.interrupted.insert(plan.id);
  told.attempts.push_back(plan.attempts);
  told.most_running = std::max(told.most_running, ++told.running);
  Outcome outcome = interruption.interrupted() ? interruption.cause() : kSucceeded;
  if (told.waiting.contains(plan.id)) {
    Event never;
    try {
      co_await never.Wait(interruption.token());
    } catch (const Cancelled&) {
      outcome = interruption.cause();
    }
  } else if (outcome == kSucceeded && told.outcomes.contains(plan.id)) {
    outcome = told.outcomes[plan.id];
  }
  --told.running;
  co_return outcome;
}

namespace {

TEST_F(ControlStepsTest, DoStopsAtTheFirstThatDoesNotSucceed) {
  EXPECT_EQ(loop_.RunUntilDone(RunDo(run_, scope_, Steps({}), build_)), kSucceeded);
  const std::vector<Plan> steps = Steps({"a", "b", "c"});
  EXPECT_EQ(loop_.RunUntilDone(RunDo(run_, scope_, steps, build_)), kSucceeded);
  EXPECT_EQ(script_.ran, (Ran{"a", "b", "c"}));
  script_.ran.clear();
  Fires("b", kFailed);
  EXPECT_EQ(loop_.RunUntilDone(RunDo(run_, scope_, steps, build_)), kFailed);
  EXPECT_EQ(script_.ran, (Ran{"a", "b"}));
}

TEST_F(ControlStepsTest, ParallelStepsAllRunAndTheWorstCounts) {
  Fires("a", kFailed);
  Fires("b", kErrored);
  const protocol::InParallelPlan plan{.steps = Steps({"a", "b", "c"})};
  EXPECT_EQ(loop_.RunUntilDone(RunInParallel(run_, scope_, plan, build_)), kErrored);
  EXPECT_EQ(script_.ran, (Ran{"a", "b", "c"}));
}

TEST_F(ControlStepsTest, ParallelStepsKeepToTheirLimit) {
  script_.waiting = {"a", "b", "c", "d"};
  const protocol::InParallelPlan plan{.steps = Steps({"a", "b", "c", "d"}), .limit = 2};
  Begin(RunInParallel(run_, scope_, plan, build_));
  EXPECT_EQ(script_.ran, (Ran{"a", "b"}));
  build_.Interrupt(kAborted);
  EXPECT_EQ(End(), kAborted);
  EXPECT_EQ(script_.ran, (Ran{"a", "b"}));
  EXPECT_EQ(script_.most_running, 2U);
}

TEST_F(ControlStepsTest, FailFastInterruptsSiblings) {
  script_.waiting = {"slow"};
  Fires("bad", kFailed);
  const protocol::InParallelPlan plan{
      .steps = Steps({"slow", "bad", "never"}), .limit = 2, .fail_fast = true};
  EXPECT_EQ(loop_.RunUntilDone(RunInParallel(run_, scope_, plan, build_)), kFailed);
  EXPECT_EQ(script_.ran, (Ran{"slow", "bad"}));
  EXPECT_FALSE(build_.interrupted());
}

TEST_F(ControlStepsTest, RetryEndsWithTheFirstSuccessOrTheLastFailure) {
  Fires("1", kErrored);
  Fires("2", kFailed);
  const std::vector<Plan> attempts = Steps({"1", "2", "3", "4"});
  EXPECT_EQ(loop_.RunUntilDone(RunRetry(run_, scope_, attempts, build_)), kSucceeded);
  EXPECT_EQ(script_.ran, (Ran{"1", "2", "3"}));
  EXPECT_EQ(script_.attempts, (std::vector<std::vector<int>>{{1}, {2}, {3}}));
  Fires("3", kErrored);
  Fires("4", kFailed);
  EXPECT_EQ(loop_.RunUntilDone(RunRetry(run_, scope_, attempts, build_)), kFailed);
}

TEST_F(ControlStepsTest, AnAbortEndsRetries) {
  script_.waiting = {"1"};
  const std::vector<Plan> attempts = Steps({"1", "2"});
  Begin(RunRetry(run_, scope_, attempts, build_));
  build_.Interrupt(kAborted);
  EXPECT_EQ(End(), kAborted);
  EXPECT_EQ(script_.ran, (Ran{"1"}));
}

TEST_F(ControlStepsTest, TrySwallowsEverythingButAborts) {
  const protocol::TryPlan plan{Step("step")};
  for (const auto& [inside, outside] :
       {std::pair(kSucceeded, kSucceeded), std::pair(kFailed, kSucceeded),
        std::pair(kErrored, kSucceeded), std::pair(kTimedOut, kSucceeded),
        std::pair(kAborted, kAborted)}) {
    Fires("step", inside);
    EXPECT_EQ(loop_.RunUntilDone(RunTry(run_, scope_, plan, build_)), outside);
  }
}

TEST_F(ControlStepsTest, ATimeLimitFailsTheStepAndLeavesTheBuildAlone) {
  script_.waiting = {"step"};
  const protocol::TimeoutPlan plan{.step = Step("step"), .duration = "1m"};
  Begin(RunTimeout(run_, scope_, plan, build_));
  clock_.Set(clock_.Steady() + 59s);
  timers_.FireDue();
  loop_.Poll();
  EXPECT_FALSE(result_);
  clock_.Set(clock_.Steady() + 1s);
  timers_.FireDue();
  EXPECT_EQ(End(), kFailed);
  EXPECT_FALSE(build_.interrupted());
  EXPECT_FALSE(timers_.Next());
}

TEST_F(ControlStepsTest, AnAbortWithinATimeLimitIsAnAbort) {
  script_.waiting = {"step"};
  const protocol::TimeoutPlan plan{.step = Step("step"), .duration = "1m"};
  Begin(RunTimeout(run_, scope_, plan, build_));
  build_.Interrupt(kAborted);
  EXPECT_EQ(End(), kAborted);
}

TEST_F(ControlStepsTest, ABrokenTimeLimitIsAnErrorOfTheStep) {
  const protocol::TimeoutPlan plan{.step = Step("step"), .duration = "soon"};
  EXPECT_EQ(loop_.RunUntilDone(RunTimeout(run_, scope_, plan, build_)), kErrored);
  EXPECT_EQ(script_.ran, Ran{});
  ASSERT_EQ(script_.errors.size(), 1U);
  EXPECT_TRUE(script_.errors[0].starts_with("step: ")) << script_.errors[0];
}

TEST_F(ControlStepsTest, HooksRunForTheirOutcomeOnly) {
  const auto runs_for = [&](auto run_hook) {
    std::set<Outcome> outcomes;
    for (const Outcome outcome : {kSucceeded, kFailed, kErrored, kTimedOut, kAborted}) {
      EXPECT_EQ(WithHook(run_hook, outcome), outcome);
      if (HookRan()) outcomes.insert(outcome);
    }
    return outcomes;
  };
  EXPECT_EQ(runs_for(RunOnSuccess), std::set{kSucceeded});
  EXPECT_EQ(runs_for(RunOnFailure), std::set{kFailed});
  EXPECT_EQ(runs_for(RunOnError), (std::set{kErrored, kTimedOut}));
  EXPECT_EQ(runs_for(RunOnAbort), std::set{kAborted});
  EXPECT_EQ(runs_for(RunEnsure), (std::set{kSucceeded, kFailed, kErrored, kTimedOut, kAborted}));
}

TEST_F(ControlStepsTest, WhatHooksComeToCountsWhereItIsWorse) {
  EXPECT_EQ(WithHook(RunOnSuccess, kSucceeded, kFailed), kFailed);
  EXPECT_EQ(WithHook(RunOnFailure, kFailed, kFailed), kFailed);
  EXPECT_EQ(WithHook(RunOnFailure, kFailed, kErrored), kErrored);
  EXPECT_EQ(WithHook(RunOnError, kErrored, kFailed), kErrored);
  EXPECT_EQ(WithHook(RunEnsure, kSucceeded, kFailed), kFailed);
  EXPECT_EQ(WithHook(RunEnsure, kErrored, kFailed), kErrored);
}

TEST_F(ControlStepsTest, HooksOfAnAbortAreNotInterruptedByIt) {
  for (const auto run_hook : {RunOnAbort, RunEnsure}) {
    script_.ran.clear();
    script_.waiting = {"step"};
    const protocol::HookPlan plan{Step("step"), Step("hook")};
    Interruption aborted(&build_);
    aborted.Interrupt(kAborted);
    EXPECT_EQ(loop_.RunUntilDone(run_hook(run_, scope_, plan, aborted)), kAborted);
    EXPECT_TRUE(HookRan());
    EXPECT_EQ(script_.interrupted, std::set<std::string>{"step"});
  }
}

TEST(InterruptionTest, ReachesEveryScopeInsideWithTheFirstCause) {
  Interruption build;
  Interruption timeout(&build);
  Interruption group(&timeout);
  Interruption sibling(&build);
  timeout.Interrupt(kTimedOut);
  EXPECT_FALSE(build.interrupted());
  EXPECT_FALSE(sibling.interrupted());
  EXPECT_TRUE(group.interrupted());
  EXPECT_TRUE(group.token().stop_requested());
  EXPECT_EQ(group.cause(), kTimedOut);
  build.Interrupt(kAborted);
  EXPECT_EQ(timeout.cause(), kTimedOut);
  EXPECT_EQ(sibling.cause(), kAborted);
  const Interruption late(&build);
  EXPECT_TRUE(late.interrupted());
  EXPECT_EQ(late.cause(), kAborted);
}

TEST(ScopeTest, NamesAreLookedUpOutwardsAndSetInside) {
  Scope outer;
  Scope inner(&outer);
  outer.SetArtifact("a", {"worker", "1"});
  outer.SetArtifact("b", {"worker", "2"});
  inner.SetArtifact("a", {"worker", "3"});
  EXPECT_EQ(inner.FindArtifact("a")->volume, "3");
  EXPECT_EQ(inner.FindArtifact("b")->volume, "2");
  EXPECT_EQ(outer.FindArtifact("a")->volume, "1");
  EXPECT_EQ(inner.FindArtifact("c"), nullptr);
  EXPECT_EQ(inner.Artifacts().size(), 2U);
  EXPECT_EQ(inner.Artifacts()["a"].volume, "3");
  outer.SetVersion("1", {{"ref", "x"}});
  EXPECT_NE(inner.FindVersion("1"), nullptr);
  EXPECT_EQ(inner.FindVersion("2"), nullptr);
}

TEST(SingleFlightTest, OneAtATimeForEachKey) {
  Loop loop("test");
  SingleFlight flights;
  Ran entered;
  Event go_on;
  const auto enter = [](SingleFlight& all, std::string key, std::string name, Ran& out,
                        Event& until, std::stop_token stop) -> Task<void> {
    const SingleFlight::Turn turn = co_await all.Enter(std::move(key), stop);
    out.push_back(name);
    co_await until.Wait(stop);
  };
  TaskGroup group(loop.executor(), Logger(), "test");
  std::stop_source given_up;
  group.Spawn(enter(flights, "k", "first", entered, go_on, {}));
  group.Spawn(enter(flights, "k", "gives up", entered, go_on, given_up.get_token()));
  group.Spawn(enter(flights, "k", "second", entered, go_on, {}));
  group.Spawn(enter(flights, "other", "other", entered, go_on, {}));
  loop.Poll();
  EXPECT_EQ(entered, (Ran{"first", "other"}));
  given_up.request_stop();
  loop.Poll();
  go_on.Set();
  loop.RunUntilDone(group.Join());
  EXPECT_EQ(entered, (Ran{"first", "other", "second"}));
}

}  // namespace
}  // namespace pinion::engine
