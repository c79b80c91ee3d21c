#pragma once

#include "engine/step.h"

/// Steps that only arrange other steps. They hold no state that outlives the process: on the way
/// back from a crash they run again from the start, and their leaves tell what they have concluded.
/// Semantics are upstream's (atc/exec): hooks that run because of an abort or an error are not
/// interrupted by it.
namespace pinion::engine {

Task<Outcome> RunDo(BuildRun& run, Scope& scope, const std::vector<protocol::Plan>& steps,
                    const Interruption& interruption);
Task<Outcome> RunInParallel(BuildRun& run, Scope& scope, const protocol::InParallelPlan& plan,
                            const Interruption& interruption);
Task<Outcome> RunRetry(BuildRun& run, Scope& scope, const std::vector<protocol::Plan>& attempts,
                       const Interruption& interruption);
Task<Outcome> RunTry(BuildRun& run, Scope& scope, const protocol::TryPlan& plan,
                     const Interruption& interruption);
Task<Outcome> RunTimeout(BuildRun& run, Scope& scope, const protocol::TimeoutPlan& plan,
                         const Interruption& interruption);
Task<Outcome> RunOnSuccess(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                           const Interruption& interruption);
Task<Outcome> RunOnFailure(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                           const Interruption& interruption);
Task<Outcome> RunOnError(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                         const Interruption& interruption);
Task<Outcome> RunOnAbort(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                         const Interruption& interruption);
Task<Outcome> RunEnsure(BuildRun& run, Scope& scope, const protocol::HookPlan& plan,
                        const Interruption& interruption);

/// Runs `count` sub-steps, at most `limit` at once (0: all), each by `run_one(index,
/// interruption)`. With fail_fast the first that does not succeed interrupts the others. Shared by
/// in_parallel and across.
using IndexedStep = std::function<Task<Outcome>(std::size_t, const Interruption&)>;
Task<Outcome> RunConcurrently(BuildRun& run, std::size_t count, std::size_t limit, bool fail_fast,
                              IndexedStep run_one, const Interruption& interruption);

}  // namespace pinion::engine
