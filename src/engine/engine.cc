#include "engine/engine.h"

#include "engine/step.h"
#include "protocol/events.h"

namespace pinion::engine {
namespace {

// Between tries to write a build's end while the database or the disk is away.
constexpr Duration kRetryDelay = std::chrono::seconds(1);

store::BuildStatus StatusOf(Outcome outcome) {
  switch (outcome) {
    case Outcome::kSucceeded:
      return store::BuildStatus::kSucceeded;
    case Outcome::kFailed:
      return store::BuildStatus::kFailed;
    case Outcome::kErrored:
    case Outcome::kTimedOut:
      return store::BuildStatus::kErrored;
    case Outcome::kAborted:
      return store::BuildStatus::kAborted;
  }
  return store::BuildStatus::kErrored;
}

/// What a build needs to be run, read in one transaction when it is claimed.
struct Claimed {
  store::BuildRow row;
  std::string plan;
  std::vector<store::StepRow> steps;
};

std::optional<Claimed> Claim(store::Transaction& transaction, BuildId build,
                             const store::Owner& owner) {
  std::optional<store::BuildRow> row = store::FindBuild(transaction, build);
  if (!row || row->status != store::BuildStatus::kStarted) return std::nullopt;
  // Taken over already, by this epoch, or free for the taking; a row of a former epoch of this node
  // is its own.
  if (row->owner != owner && !store::ClaimBuild(transaction, build, owner, row->owner)) {
    return std::nullopt;
  }
  const std::optional<std::string> plan = store::FindPlan(transaction, build);
  return Claimed{*row, plan.value_or(""), store::ListSteps(transaction, build)};
}

/// Claims it, however long the database is away.
Task<std::optional<Claimed>> ClaimPatiently(EngineServices& services, BuildId build,
                                            std::stop_token stop) {
  for (;;) {
    std::optional<Error> error;
    try {
      co_return co_await services.database.Write(
          store::Pool::kEngine, [build, owner = services.owner](store::Transaction& transaction) {
            return Claim(transaction, build, owner);
          });
    } catch (const Failure& failure) {
      const ErrorKind kind = failure.error().kind;
      if (kind != ErrorKind::kUnavailable && kind != ErrorKind::kTimeout) throw;
      error = failure.error();
    }
    services.log.Warn("a build could not be claimed; trying again",
                      {{"build", build.value}, {"error", error->message}});
    co_await services.timers.Sleep(kRetryDelay, stop);
  }
}

}  // namespace

Engine::Engine(EngineServices services, RunListener ran)
    : services_(std::move(services)),
      ran_(std::move(ran)),
      tasks_(services_.executor, services_.log, "builds") {}

Engine::~Engine() = default;

Task<void> Engine::TakeUp() {
  const std::vector<store::BuildRow> rows = co_await services_.database.Read(
      store::Pool::kEngine, [node = services_.owner.node](store::Transaction& transaction) {
        return store::ListRunnable(transaction, node);
      });
  for (const store::BuildRow& row : rows)
    Start(row.id);
}

void Engine::SetPaused(bool paused) {
  if (std::exchange(paused_, paused) && !paused) tasks_.Spawn(TakeUp());
}

void Engine::Start(BuildId build) {
  // What is not begun now, the end of the pause or the next process takes up.
  if (paused_ || releasing_ || running_.contains(build)) return;
  running_.emplace(build, nullptr);
  tasks_.Spawn(Run(build));
}

void Engine::ReportError(BuildId build, std::string message) {
  tasks_.Spawn(WriteError(build, std::move(message)));
}

Task<void> Engine::WriteError(BuildId build, std::string message) {
  const auto writer = co_await services_.logs.OpenWriter(build);
  const std::int64_t now = services_.timers.clock().UnixSeconds();
  writer->Append(protocol::ErrorEvent({}, now, message));
  writer->Append(protocol::StatusEvent(store::Name(store::BuildStatus::kErrored), now));
  co_await writer->Finish();
}

void Engine::Abort(BuildId build) {
  const auto found = running_.find(build);
  if (found == running_.end()) return;  // claiming reads the row's flag
  if (found->second) found->second->root().Interrupt(Outcome::kAborted);
}

Task<void> Engine::DropDeleted(std::stop_token stop) {
  std::vector<BuildId> builds;
  for (const auto& [build, run] : running_)
    builds.push_back(build);
  const std::vector<BuildId> deleted = co_await services_.database.Read(
      store::Pool::kEngine,
      [builds](store::Transaction& transaction) {
        return store::ListDeletedBuilds(transaction, builds);
      },
      stop);
  std::vector<std::shared_ptr<Event>> ends;
  for (const BuildId build : deleted) {
    const auto found = running_.find(build);
    if (found == running_.end()) continue;
    std::shared_ptr<Event>& end = dropped_[build];
    if (!end) end = std::make_shared<Event>();
    ends.push_back(end);
    if (found->second) found->second->Release();
  }
  for (const std::shared_ptr<Event>& end : ends)
    co_await end->Wait(stop);
}

Task<void> Engine::Release() {
  releasing_ = true;
  for (const auto& [build, run] : running_) {
    if (run) run->Release();
  }
  tasks_.RequestStop();
  co_await tasks_.Join();
}

Task<void> Engine::Run(BuildId build) {
  std::exception_ptr failure;
  const SteadyTime begun = services_.timers.clock().Steady();
  try {
    const bool lost = !co_await RunClaimed(build);
    if (lost || dropped_.contains(build)) co_await RemoveLogIfDeleted(build);
  } catch (...) {
    failure = std::current_exception();
  }
  running_.erase(build);
  if (const auto dropped = dropped_.extract(build)) dropped.mapped()->Set();
  if (ran_) ran_(begun, "");
  if (failure) std::rethrow_exception(failure);
}

/// A build without a row has no log: nobody can ask for it. What is left here for want of the
/// database, log retention removes.
Task<void> Engine::RemoveLogIfDeleted(BuildId build) {
  try {
    const std::vector<BuildId> deleted = co_await services_.database.Read(
        store::Pool::kEngine, [build](store::Transaction& transaction) {
          return store::ListDeletedBuilds(transaction, {build});
        });
    if (deleted.empty()) co_return;
    co_await services_.logs.Remove(build);
    services_.log.Info("build dropped: it was deleted while it ran", {{"build", build.value}});
  } catch (const Failure& failure) {
    services_.log.Warn("the log of a build that was given up may be left",
                       {{"build", build.value}, {"error", failure.error().message}});
  }
}

/// False if the build turned out to be another's, or nobody's any more.
Task<bool> Engine::RunClaimed(BuildId build) {
  std::optional<Claimed> claimed = co_await ClaimPatiently(services_, build, tasks_.stop_token());
  if (!claimed || releasing_) co_return true;
  auto writer = co_await services_.logs.OpenWriter(build);
  BuildRun run(services_, claimed->row, std::move(writer), std::move(claimed->steps));
  if (releasing_) co_return true;
  running_[build] = &run;
  if (dropped_.contains(build)) run.Release();
  if (claimed->row.aborted) run.root().Interrupt(Outcome::kAborted);
  run.log().Info("build runs", {{"resumed", !run.IsNew()}});
  run.EmitOnce("", Stage::kStarted, protocol::StatusEvent("started", run.now()));

  const Outcome outcome = co_await RunPlan(run, claimed->plan);
  running_[build] = nullptr;
  if (run.released()) {
    co_await run.writer().Flush();
    co_return true;
  }
  co_return co_await End(run, StatusOf(outcome));
}

Task<Outcome> Engine::RunPlan(BuildRun& run, const std::string& text) {
  auto plan = protocol::ParsePlan(text);
  if (!plan) {
    run.Errored("", "the build's plan cannot be read: " + plan.error().message);
    co_return Outcome::kErrored;
  }
  Scope scope;
  co_return co_await RunStep(run, scope, *plan, run.root());
}

Task<bool> Engine::End(BuildRun& run, store::BuildStatus status) {
  run.EmitOnce("", Stage::kFinished, protocol::StatusEvent(store::Name(status), run.now()));
  const auto ended = std::make_shared<bool>(false);
  for (;;) {
    std::string error;
    try {
      // Events first: who sees the build ended can read all of its log.
      co_await run.writer().Flush();
      BuildRun::Also finish = [id = run.build().id, status, owner = services_.owner,
                               ended](store::Transaction& transaction) {
        *ended = store::FinishBuild(transaction, id, status, owner);
      };
      co_await run.Write(std::move(finish));
      break;
    } catch (const Failure& failure) {
      // Lost to another owner: he ends it.
      if (failure.error().kind == ErrorKind::kConflict) co_return false;
      error = failure.error().message;
    }
    run.log().Warn("the build's end could not be written; trying again", {{"error", error}});
    co_await services_.timers.Sleep(kRetryDelay, tasks_.stop_token());
  }
  co_await run.writer().Finish();
  run.log().Info("build ended", {{"status", store::Name(status)}});
  co_return *ended;
}

}  // namespace pinion::engine
