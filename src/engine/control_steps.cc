#include "engine/control_steps.h"

#include <algorithm>

#include "async/signal.h"
#include "async/task_group.h"
#include "base/units.h"
#include "engine/build_run.h"

namespace pinion::engine {
namespace {

/// Errors beat failures, interruptions beat both: what a group of steps came to.
int Badness(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSucceeded:
      return 0;
    case Outcome::kFailed:
      return 1;
    case Outcome::kErrored:
      return 2;
    case Outcome::kTimedOut:
      return 3;
    case Outcome::kAborted:
      return 4;
  }
  return 4;
}

Outcome Worse(Outcome a, Outcome b) {
  return Badness(a) >= Badness(b) ? a : b;
}

struct Group {
  Outcome worst = Outcome::kSucceeded;
  Interruption* interruption;
  bool fail_fast;
};

Task<void> RunMember(Group& group, Semaphore& slots, std::size_t index, IndexedStep& run_one) {
  Semaphore::Permit slot;
  try {
    slot = co_await slots.Acquire(group.interruption->token());
  } catch (const Cancelled&) {
    co_return;  // never started; the interruption's cause speaks for it
  }
  const Outcome outcome = co_await run_one(index, *group.interruption);
  // Siblings that were stopped by fail-fast are not what the group came to.
  const bool stopped_by_sibling =
      outcome == Outcome::kAborted && group.worst != Outcome::kSucceeded;
  if (!stopped_by_sibling) group.worst = Worse(group.worst, outcome);
  if (group.fail_fast && outcome != Outcome::kSucceeded) {
    group.interruption->Interrupt(Outcome::kAborted);
  }
}

}  // namespace

Task<Outcome> RunConcurrently(BuildRun& run, std::size_t count, std::size_t limit, bool fail_fast,
                              IndexedStep run_one, const Interruption& interruption) {
  Interruption inner(&interruption);
  Group group{.interruption = &inner, .fail_fast = fail_fast};
  Semaphore slots(limit == 0 ? std::max<std::size_t>(count, 1) : limit);
  {
    TaskGroup tasks(co_await boost::asio::this_coro::executor, run.log(), "steps");
    for (std::size_t i = 0; i < count; ++i)
      tasks.Spawn(RunMember(group, slots, i, run_one));
    co_await tasks.Join();
  }
  if (interruption.interrupted()) co_return interruption.cause();
  co_return group.worst;
}

Task<Outcome> RunDo(BuildRun& run, Scope& scope, const std::vector<protocol::Plan>& steps,
                    const Interruption& interruption) {
  for (const protocol::Plan& step : steps) {
    const Outcome outcome = co_await RunStep(run, scope, step, interruption);
    if (outcome != Outcome::kSucceeded) co_return outcome;
  }
  co_return Outcome::kSucceeded;
}

Task<Outcome> RunInParallel(BuildRun& run, Scope& scope, const protocol::InParallelPlan& plan,
                            const Interruption& interruption) {
  IndexedStep run_one = [&](std::size_t index, const Interruption& inner) {
    return RunStep(run, scope, plan.steps[index], inner);
  };
  const auto limit = static_cast<std::size_t>(std::max(plan.limit, 0));
  co_return co_await RunConcurrently(run, plan.steps.size(), limit, plan.fail_fast,
                                     std::move(run_one), interruption);
}

Task<Outcome> RunRetry(BuildRun& run, Scope& scope, const std::vector<protocol::Plan>& attempts,
                       const Interruption& interruption) {
  Outcome outcome = Outcome::kSucceeded;
  for (std::size_t i = 0; i < attempts.size(); ++i) {
    protocol::Plan attempt = attempts[i];
    protocol::ForEachPlan(attempt, [number = static_cast<int>(i) + 1](protocol::Plan& part) {
      part.attempts.push_back(number);
    });
    outcome = co_await RunStep(run, scope, attempt, interruption);
    if (interruption.interrupted()) co_return interruption.cause();
    if (outcome == Outcome::kSucceeded) break;
  }
  co_return outcome;
}

Task<Outcome> RunTry(BuildRun& run, Scope& scope, const protocol::TryPlan& plan,
                     const Interruption& interruption) {
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, interruption);
  // An abort is passed on; a time-out of the step is swallowed as any other error.
  co_return outcome == Outcome::kAborted ? outcome : Outcome::kSucceeded;
}

Task<Outcome> RunTimeout(BuildRun& run, Scope& scope, const protocol::TimeoutPlan& plan,
                         const Interruption& interruption) {
  const auto limit = ParseDuration(plan.duration);
  if (!limit) {
    run.Errored(plan.step->id, limit.error().message);
    co_return Outcome::kErrored;
  }
  Interruption inner(&interruption);
  inner.SetTimeLimit(run.timers(), *limit);
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, inner);
  if (interruption.interrupted()) co_return outcome;
  co_return outcome == Outcome::kTimedOut ? Outcome::kFailed : outcome;
}

Task<Outcome> RunOnSuccess(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                           const Interruption& interruption) {
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, interruption);
  if (outcome != Outcome::kSucceeded) co_return outcome;
  co_return co_await RunStep(run, scope, *plan.next, interruption);
}

Task<Outcome> RunOnFailure(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                           const Interruption& interruption) {
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, interruption);
  if (outcome != Outcome::kFailed) co_return outcome;
  const Outcome hook = co_await RunStep(run, scope, *plan.next, interruption);
  const bool hook_broke = hook != Outcome::kSucceeded && hook != Outcome::kFailed;
  co_return hook_broke ? hook : outcome;
}

Task<Outcome> RunOnError(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                         const Interruption& interruption) {
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, interruption);
  if (outcome != Outcome::kErrored && outcome != Outcome::kTimedOut) co_return outcome;
  co_await RunStep(run, scope, *plan.next, run.hooks());
  co_return outcome;
}

Task<Outcome> RunOnAbort(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                         const Interruption& interruption) {
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, interruption);
  if (outcome != Outcome::kAborted) co_return outcome;
  co_await RunStep(run, scope, *plan.next, run.hooks());
  co_return outcome;
}

Task<Outcome> RunEnsure(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                        const Interruption& interruption) {
  const Outcome outcome = co_await RunStep(run, scope, *plan.step, interruption);
  const Interruption& hook_scope = interruption.interrupted() ? run.hooks() : interruption;
  const Outcome hook = co_await RunStep(run, scope, *plan.next, hook_scope);
  if (interruption.interrupted()) co_return interruption.cause();
  co_return Worse(outcome, hook);
}

}  // namespace pinion::engine
