#include "engine/engine.h"

#include "engine/step.h"
#include "protocol/events.h"
#include "store/containers.h"

namespace pinion::engine {
namespace {

// Between tries to write a build's end while the database or the disk is away.
constexpr Duration kRetryDelay = std::chrono::seconds(1);
constexpr Duration kSweep = std::chrono::minutes(3);
// More than any node runs at a time.
constexpr int kTakenUpMax = 1'000'000;

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
  row->owner = owner;
  const std::optional<std::string> plan = store::FindPlan(transaction, build);
  return Claimed{*row, plan.value_or(""), store::ListSteps(transaction, build)};
}

}  // namespace

Engine::Engine(EngineServices services, RunListener ran)
    : services_(std::move(services)),
      ran_(std::move(ran)),
      tasks_(services_.executor, services_.log, "builds") {}

Engine::~Engine() = default;

Task<void> Engine::TakeUp() {
  letting_go_ = false;
  const std::vector<store::BuildRow> rows = co_await services_.database.Read(
      store::Pool::kEngine, [node = services_.owner().node](store::Transaction& transaction) {
        return store::ListRunnable(transaction, node, kTakenUpMax);
      });
  for (const store::BuildRow& row : rows)
    Start(row.id);
  ArmSweep();
}

void Engine::ArmSweep() {
  if (releasing_) return;
  sweep_timer_ = services_.timers.After(kSweep, [this] { tasks_.Spawn(Sweep()); });
}

Task<void> Engine::Sweep() {
  ArmSweep();
  if (!letting_go_) co_await TakeUp();
}

void Engine::SetPaused(bool paused) {
  if (std::exchange(paused_, paused) && !paused && !letting_go_) tasks_.Spawn(TakeUp());
}

void Engine::Start(BuildId build) {
  // What is not begun now, the end of the pause or the next process takes up.
  if (paused_ || releasing_ || letting_go_ || running_.contains(build)) return;
  running_.emplace(build, Running());
  tasks_.Spawn(Run(build));
}

void Engine::ReportError(BuildId build, std::string message) {
  tasks_.Spawn(WriteError(build, std::move(message)));
}

Task<void> Engine::WriteError(BuildId build, std::string message) {
  const auto writer = co_await services_.logs.OpenWriter(build, services_.owner().epoch);
  const std::int64_t now = services_.timers.clock().UnixSeconds();
  writer->Append(protocol::ErrorEvent({}, now, message));
  writer->Append(protocol::StatusEvent(store::Name(store::BuildStatus::kErrored), now));
  co_await writer->Finish();
}

void Engine::Abort(BuildId build) {
  const auto found = running_.find(build);
  if (found == running_.end()) return;  // claiming reads the row's flag
  found->second.aborted = true;
  if (found->second.run) found->second.run->root().Interrupt(Outcome::kAborted);
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
    if (found->second.run) found->second.run->Release();
  }
  for (const std::shared_ptr<Event>& end : ends)
    co_await end->Wait(stop);
}

void Engine::ReleaseRuns() {
  for (const auto& [build, running] : running_) {
    if (running.run) running.run->Release();
  }
}

Task<void> Engine::Release() {
  releasing_ = true;
  sweep_timer_.Cancel();
  ReleaseRuns();
  tasks_.RequestStop();
  co_await tasks_.Join();
}

Task<void> Engine::LetGo() {
  letting_go_ = true;
  ReleaseRuns();
  while (!running_.empty()) {
    if (!idle_) idle_ = std::make_shared<Event>();
    const std::shared_ptr<Event> idle = idle_;
    co_await idle->Wait(tasks_.stop_token());
  }
}

Task<void> Engine::Run(BuildId build) {
  std::exception_ptr stopped;
  bool lost = false;
  const SteadyTime begun = services_.timers.clock().Steady();
  for (;;) {
    std::optional<Error> error;
    try {
      lost = !co_await RunClaimed(build);
    } catch (const Failure& failure) {
      error = failure.error();
    } catch (...) {
      stopped = std::current_exception();
    }
    running_[build].run = nullptr;
    // While the database or the disk is away nobody else can run it either.
    if (!error || releasing_ || letting_go_) break;
    services_.log.Warn("a build could not be run, trying again",
                       {{"build", build.value}, {"error", error->message}});
    try {
      co_await services_.timers.Sleep(kRetryDelay, tasks_.stop_token());
    } catch (const Cancelled&) {
      break;
    }
  }
  if (!stopped && (lost || dropped_.contains(build))) co_await RemoveLogIfDeleted(build);
  running_.erase(build);
  if (running_.empty() && idle_) std::exchange(idle_, nullptr)->Set();
  if (const auto dropped = dropped_.extract(build)) dropped.mapped()->Set();
  if (ran_) ran_(begun, "");
  if (stopped) std::rethrow_exception(stopped);
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
  std::optional<Claimed> claimed = co_await services_.database.Write(
      store::Pool::kEngine, [build, owner = services_.owner()](store::Transaction& transaction) {
        return Claim(transaction, build, owner);
      });
  if (!claimed || releasing_ || letting_go_) co_return true;
  // Before the log is read: what its former owner still writes, he must not acknowledge.
  co_await FenceContainers(claimed->row);
  auto writer = co_await services_.logs.OpenWriter(build, claimed->row.owner->epoch);
  BuildRun run(services_, claimed->row, std::move(writer), std::move(claimed->steps));
  if (releasing_ || letting_go_) co_return true;
  // What its watchers were told stands, though the row was not written.
  if (const auto decided = run.DecidedEnd()) {
    co_return co_await End(run, *decided);
  }
  Running& running = running_[build];
  running.run = &run;
  if (dropped_.contains(build)) run.Release();
  if (claimed->row.aborted || running.aborted) run.root().Interrupt(Outcome::kAborted);
  run.log().Info("build runs", {{"resumed", !run.IsNew()}});
  run.EmitOnce("", Stage::kStarted, protocol::StatusEvent("started", run.now()));

  const Outcome outcome = co_await RunPlan(run, claimed->plan);
  running_[build].run = nullptr;
  if (run.released()) {
    co_await run.writer().Flush();
    co_return true;
  }
  co_return co_await End(run, StatusOf(outcome));
}

/// Shows this owner's epoch to the build's containers: they take nothing from its former owner any
/// more, who may still run and not know that his lease is lost.
Task<void> Engine::FenceContainers(store::BuildRow build) {
  if (services_.database.dialect() == store::Dialect::kSqlite) co_return;  // one process has it
  const std::vector<store::ContainerRow> rows = co_await services_.database.Read(
      store::Pool::kEngine, [id = build.id](store::Transaction& transaction) {
        return store::ListBuildContainers(transaction, id);
      });
  for (const store::ContainerRow& row : rows) {
    const auto client = services_.fleet.Client(row.worker_name);
    if (!client) continue;
    try {
      co_await client->Fence(row.handle, static_cast<std::uint64_t>(build.owner->epoch),
                             tasks_.stop_token());
    } catch (const Failure& failure) {
      // A worker that is away is away for most others, too: the build waits for it later.
      services_.log.Warn(
          "a container could not be told of its build's new owner",
          {{"build", build.id.value}, {"handle", row.handle}, {"error", failure.error().message}});
    }
  }
}

Task<Outcome> Engine::RunPlan(BuildRun& run, const std::string& text) {
  auto plan = protocol::ParsePlan(text);
  if (!plan) {
    run.Errored("", "the build's plan cannot be read: " + plan.error().message);
    co_return Outcome::kErrored;
  }
  Scope scope;
  std::string error;
  try {
    co_return co_await RunStep(run, scope, *plan, run.root());
  } catch (const Failure& failure) {
    error = failure.error().message;
  }
  run.Errored("", error);
  co_return Outcome::kErrored;
}

Task<bool> Engine::End(BuildRun& run, store::BuildStatus status) {
  run.EmitEnd(status);
  const auto ended = std::make_shared<bool>(false);
  for (;;) {
    std::string error;
    try {
      // Events first: who sees the build ended can read all of its log.
      co_await run.writer().Flush();
      BuildRun::Also finish = [id = run.build().id, status, owner = run.owner(),
                               ended](store::Transaction& transaction) {
        *ended = store::FinishBuild(transaction, id, status, owner);
      };
      co_await run.Write(std::move(finish));
      break;
    } catch (const Failure& failure) {
      // Lost to another owner: he ends it.
      if (failure.error().kind == ErrorKind::kConflict) {
        run.log().Warn("the build's end was refused here", {{"error", failure.error().message}});
        co_return false;
      }
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
