#include "scheduling/scheduler.h"

#include <algorithm>

#include "base/mutant.h"

namespace pinion::scheduling {
namespace {

// Active jobs of running pipelines whose id falls into this part; parts = 1 is all of them.
std::vector<DueJob> JobsOfPart(store::Transaction& transaction, std::size_t part,
                               std::size_t parts) {
  std::vector<DueJob> due;
  for (const store::Row& row : transaction.Query(
           "select j.id, p.team_id from jobs j join pipelines p on p.id = j.pipeline_id where "
           "j.active = 1 and j.paused = 0 and p.paused = 0 and p.archived = 0 and j.id % $1 = $2 "
           "order by "
           "j.id",
           {static_cast<std::int64_t>(parts), static_cast<std::int64_t>(part)})) {
    due.push_back({row.As<JobTag>(0), row.As<TeamTag>(1)});
  }
  return due;
}

// Past this, mapping one by one costs more than looking at every job.
constexpr std::size_t kMostUnmapped = 20'000;

struct Swept {
  std::vector<DueJob> pending;
  std::vector<DueJob> background;
};

}  // namespace

Scheduler::Scheduler(Services services, Options options)
    : services_(std::move(services)),
      options_(options),
      retry_(options.first_retry),
      tasks_(services_.executor, services_.log, "scheduler") {
  services_.feed.Subscribe([this](const std::vector<store::Change>& changes, bool trimmed) {
    OnChanges(changes, trimmed);
  });
}

Scheduler::~Scheduler() = default;

Task<void> Scheduler::Start() {
  started_ = true;
  co_await Sweep(true);
  ArmSweep();
}

Task<void> Scheduler::Stop() {
  sweep_timer_.Cancel();
  retry_timer_.Cancel();
  faulty_timer_.Cancel();
  tasks_.RequestStop();
  co_await tasks_.Join();
}

void Scheduler::SetPaused(bool paused) {
  paused_ = paused;
  if (!paused) Dispatch();
}

void Scheduler::NoteRun(SteadyTime begun, const std::optional<Error>& error) const {
  if (services_.ran) services_.ran(begun, error ? error->message : "");
}

void Scheduler::OnChanges(const std::vector<store::Change>& changes, bool trimmed) {
  if (PINION_MUTANT("changes-dropped")) return;
  if (!started_) return;  // the first sweep sees their outcome
  overflowed_ |= trimmed || unmapped_.size() + changes.size() > kMostUnmapped;
  if (overflowed_) {
    unmapped_.clear();
  } else {
    unmapped_.insert(unmapped_.end(), changes.begin(), changes.end());
  }
  if (mapping_ == 0) tasks_.Spawn(MapChanges(Counted(mapping_)));
}

Task<void> Scheduler::MapChanges(Counted counted) {
  while (!unmapped_.empty() || overflowed_) {
    if (std::exchange(overflowed_, false)) co_await Sweep(true);
    const std::vector<store::Change> changes = std::exchange(unmapped_, {});
    std::optional<Error> error;
    try {
      Push(co_await services_.database.Read(store::Pool::kEngine,
                                            [&changes](store::Transaction& transaction) {
                                              return JobsDependingOn(transaction, changes);
                                            }));
    } catch (const Failure& failure) {
      error = failure.error();
    }
    if (error) {
      services_.log.Warn("changes could not be mapped to jobs, every job is looked at instead",
                         {{"error", error->message}});
      overflowed_ = true;
      co_await services_.timers.Sleep(options_.first_retry, tasks_.stop_token());
    }
    Dispatch();
  }
  {
    const Counted ended = std::move(counted);
  }
  NotifyIdle();
}

Task<void> Scheduler::Sweep(bool everything) {
  std::optional<Swept> swept;
  std::optional<Error> error;
  const SteadyTime begun = services_.timers.clock().Steady();
  const std::size_t parts = everything ? 1 : options_.sweep_parts;
  const std::size_t part = everything ? 0 : part_++ % parts;
  try {
    swept = co_await services_.database.Read(
        store::Pool::kEngine, [part, parts](store::Transaction& transaction) {
          return Swept{WithTeams(transaction, store::JobsWithPendingBuilds(transaction)),
                       JobsOfPart(transaction, part, parts)};
        });
  } catch (const Failure& failure) {
    error = failure.error();
    services_.log.Warn("the jobs could not be listed, the next sweep tries again",
                       {{"error", error->message}});
  }
  NoteRun(begun, error);
  if (!swept) co_return;
  Push(swept->pending);
  Push(swept->background, true);
  Dispatch();
}

Task<void> Scheduler::SpawnedSweep(Counted counted, bool everything) {
  co_await Sweep(everything);
  {
    const Counted ended = std::move(counted);
  }
  // Changes that came while it ran found a mapping under way.
  if (mapping_ == 0 && (!unmapped_.empty() || overflowed_)) {
    tasks_.Spawn(MapChanges(Counted(mapping_)));
  }
  NotifyIdle();
}

void Scheduler::ArmSweep() {
  if (PINION_MUTANT("changes-dropped")) return;
  sweep_timer_ = services_.timers.After(options_.sweep, [this] {
    tasks_.Spawn(SpawnedSweep(Counted(mapping_), false));
    ArmSweep();
  });
}

void Scheduler::Push(const std::vector<DueJob>& due, bool background) {
  for (const DueJob& job : due)
    queue_.Push(job, background);
}

void Scheduler::Dispatch() {
  while (!paused_ && batches_ < options_.concurrency && queue_.size() > 0) {
    auto jobs = queue_.Take(options_.batch, [&](JobId job) { return looking_.contains(job); });
    if (jobs.empty()) break;
    for (const DueJob& due : jobs)
      looking_.insert(due.job);
    if (!tasks_.Spawn(RunBatch(Counted(batches_), std::move(jobs)))) return;
  }
  NotifyIdle();
}

Task<void> Scheduler::RunBatch(Counted counted, std::vector<DueJob> jobs) {
  co_await LookAtAll(jobs);
  for (const DueJob& due : jobs)
    looking_.erase(due.job);
  {
    const Counted ended = std::move(counted);
  }
  Dispatch();
}

Task<void> Scheduler::LookAtAll(std::vector<DueJob> jobs) {
  std::vector<std::vector<DueJob>> pieces = {std::move(jobs)};
  while (!pieces.empty()) {
    const std::vector<DueJob> piece = std::move(pieces.back());
    pieces.pop_back();
    std::vector<JobId> ids;
    for (const DueJob& due : piece)
      ids.push_back(due.job);
    std::optional<Error> error;
    const SteadyTime begun = services_.timers.clock().Steady();
    try {
      Announce(co_await LookAt(std::move(ids)));
      retry_ = options_.first_retry;
    } catch (const Failure& failure) {
      error = failure.error();
    }
    NoteRun(begun, error);
    if (!error) continue;
    // A conflict may be the loss of this node's lease, which claims another then.
    const bool outage =
        error->kind == ErrorKind::kUnavailable || error->kind == ErrorKind::kTimeout;
    if (outage || (piece.size() == 1 && error->kind == ErrorKind::kConflict)) {
      RetryLater(piece, *error);
    } else if (piece.size() > 1) {
      // One of them is at fault: each gets a transaction of its own.
      for (const DueJob& due : piece)
        pieces.push_back({due});
    } else {
      services_.log.LogError("a job could not be scheduled, it is tried again",
                             {{"job", piece.front().job.value}, {"error", error->message}});
      TryFaultyLater(piece.front());
    }
  }
}

Task<Scheduler::Batch> Scheduler::LookAt(std::vector<JobId> jobs) {
  looks_ += static_cast<std::int64_t>(jobs.size());
  const auto owner = services_.owner ? services_.owner() : std::nullopt;
  BuildPlanner* planner = &services_.planner;
  const ResolutionLimits limits = options_.limits;
  auto batch = co_await services_.database.Write(
      store::Pool::kEngine, [jobs, owner, planner, limits](store::Transaction& transaction) {
        store::LockForScheduling(transaction, jobs);
        Batch result;
        std::vector<JobId> again;
        for (const JobId job : jobs) {
          JobOutcome outcome = ScheduleJob(transaction, job, *planner, owner, limits);
          again.insert(again.end(), outcome.peers.begin(), outcome.peers.end());
          if (outcome.again) again.push_back(job);
          result.outcomes.push_back(std::move(outcome));
        }
        result.again = WithTeams(transaction, again);
        return result;
      });
  co_return batch;
}

void Scheduler::Announce(const Batch& batch) {
  std::set<ResourceId> checks;
  for (const JobOutcome& outcome : batch.outcomes) {
    for (const BuildId build : outcome.started)
      services_.starter.BuildStarted(build);
    for (const auto& errored : outcome.errored) {
      services_.starter.BuildErrored(errored.build, errored.message);
    }
    checks.insert(outcome.checks.begin(), outcome.checks.end());
  }
  if (!checks.empty()) services_.checks.RequestChecks({checks.begin(), checks.end()});
  Push(batch.again);
}

void Scheduler::RetryLater(const std::vector<DueJob>& jobs, const Error& error) {
  services_.log.Warn("jobs could not be scheduled, trying again",
                     {{"jobs", static_cast<std::int64_t>(jobs.size())},
                      {"after", static_cast<double>(retry_.count()) / 1e9},
                      {"error", error.message}});
  const bool armed = !retrying_.empty();
  retrying_.insert(retrying_.end(), jobs.begin(), jobs.end());
  if (armed) return;
  retry_timer_ = services_.timers.After(retry_, [this] {
    Push(std::exchange(retrying_, {}));
    Dispatch();
  });
  retry_ = std::min(retry_ * 2, options_.last_retry);
}

void Scheduler::TryFaultyLater(const DueJob& job) {
  faulty_.push_back(job);
  if (faulty_.size() > 1) return;
  faulty_timer_ = services_.timers.After(options_.last_retry, [this] {
    Push(std::exchange(faulty_, {}));
    Dispatch();
  });
}

void Scheduler::NotifyIdle() {
  if (!IsIdle()) return;
  for (const auto& waker : std::exchange(idle_, {}))
    waker(true);
}

Task<void> Scheduler::WaitUntilIdle(std::stop_token stop) {
  if (IsIdle()) co_return;
  co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) { idle_.push_back(waker); });
}

}  // namespace pinion::scheduling
