#include "engine/step.h"

#include "engine/control_steps.h"
#include "engine/steps.h"
#include "protocol/events.h"

namespace pinion::engine {
namespace {

using Leaf = Task<Conclusion> (*)(LeafContext);

/// Upstream's words for what happened to a step that was interrupted.
constexpr std::string_view kInterrupted = "interrupted";
constexpr std::string_view kTimeoutExceeded = "timeout exceeded";

void Apply(const Conclusion& conclusion, const std::string& plan_id, Scope& scope) {
  for (const auto& [name, artifact] : conclusion.artifacts)
    scope.SetArtifact(name, artifact);
  if (conclusion.version) scope.SetVersion(plan_id, *conclusion.version);
  for (const Conclusion::Var& var : conclusion.vars) {
    scope.vars().Set(var.name, var.value, var.secret);
  }
}

Outcome Replay(const store::StepRow& row, Scope& scope) {
  const Conclusion conclusion = ValueOrThrow(FromJson<Conclusion>(row.result));
  Apply(conclusion, row.plan_id, scope);
  return ParseOutcome(row.state);
}

Task<Outcome> RunLeaf(BuildRun& run, Scope& scope, const protocol::Plan& plan,
                      const Interruption& interruption, Leaf leaf) {
  if (const store::StepRow* row = run.Concluded(plan.id)) co_return Replay(*row, scope);
  run.Passed(plan.id, "begun");
  Conclusion conclusion;
  std::string message;
  try {
    conclusion = co_await leaf({run, scope, plan, interruption});
  } catch (const Cancelled&) {
    conclusion.interrupted = true;
  } catch (...) {
    message = CurrentError().message;
  }
  if (run.released()) co_return Outcome::kAborted;
  if (conclusion.interrupted) {
    // A step's own time limit makes it fail; a limit around it is for the `timeout` modifier to
    // judge.
    conclusion.outcome = interruption.interrupted() ? interruption.cause() : Outcome::kFailed;
    message = conclusion.outcome == Outcome::kAborted ? kInterrupted : kTimeoutExceeded;
  } else if (!message.empty()) {
    conclusion.outcome = Outcome::kErrored;
  }
  if (!message.empty()) run.Errored(plan.id, message);
  run.Passed(plan.id, "done");
  try {
    if (conclusion.repeatable && conclusion.outcome == Outcome::kSucceeded) {
      run.ConcludeLater(plan.id, conclusion.outcome, ToJson(conclusion), conclusion.also);
    } else {
      co_await run.Conclude(plan.id, conclusion.outcome, ToJson(conclusion), conclusion.also);
    }
  } catch (const Cancelled&) {
    co_return Outcome::kAborted;
  } catch (...) {
    // Without a durable conclusion the step must not count: what depends on it would not survive.
    run.Errored(plan.id, "saving the step's result: " + CurrentError().message);
    co_return Outcome::kErrored;
  }
  run.Passed(plan.id, "concluded");
  Apply(conclusion, plan.id, scope);
  co_return conclusion.outcome;
}

}  // namespace

Task<Outcome> RunStep(BuildRun& run, Scope& scope, const protocol::Plan& plan,
                      const Interruption& interruption) {
  if (run.released()) co_return Outcome::kAborted;
  // Leaves.
  if (plan.get) co_return co_await RunLeaf(run, scope, plan, interruption, RunGet);
  if (plan.put) co_return co_await RunLeaf(run, scope, plan, interruption, RunPut);
  if (plan.check) co_return co_await RunLeaf(run, scope, plan, interruption, RunCheck);
  if (plan.task) co_return co_await RunLeaf(run, scope, plan, interruption, RunTask);
  if (plan.run) co_return co_await RunLeaf(run, scope, plan, interruption, RunPrototype);
  if (plan.set_pipeline) co_return co_await RunLeaf(run, scope, plan, interruption, RunSetPipeline);
  if (plan.load_var) co_return co_await RunLeaf(run, scope, plan, interruption, RunLoadVar);
  if (plan.artifact_input) {
    co_return co_await RunLeaf(run, scope, plan, interruption, RunArtifactInput);
  }
  if (plan.artifact_output) {
    co_return co_await RunLeaf(run, scope, plan, interruption, RunArtifactOutput);
  }
  // Composites.
  if (plan.do_steps) co_return co_await RunDo(run, scope, *plan.do_steps, interruption);
  if (plan.in_parallel)
    co_return co_await RunInParallel(run, scope, *plan.in_parallel, interruption);
  if (plan.across) co_return co_await RunAcross(run, scope, plan, interruption);
  if (plan.retry) co_return co_await RunRetry(run, scope, *plan.retry, interruption);
  if (plan.try_step) co_return co_await RunTry(run, scope, *plan.try_step, interruption);
  if (plan.timeout) co_return co_await RunTimeout(run, scope, *plan.timeout, interruption);
  if (plan.on_success) co_return co_await RunOnSuccess(run, scope, *plan.on_success, interruption);
  if (plan.on_failure) co_return co_await RunOnFailure(run, scope, *plan.on_failure, interruption);
  if (plan.on_error) co_return co_await RunOnError(run, scope, *plan.on_error, interruption);
  if (plan.on_abort) co_return co_await RunOnAbort(run, scope, *plan.on_abort, interruption);
  if (plan.ensure) co_return co_await RunEnsure(run, scope, *plan.ensure, interruption);
  run.Errored(plan.id, "the plan has a step of a kind that this server does not know");
  co_return Outcome::kErrored;
}

}  // namespace pinion::engine
