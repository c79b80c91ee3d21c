#pragma once

#include <functional>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "async/run_listener.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "async/timers.h"
#include "base/log.h"
#include "checking/check_requester.h"
#include "scheduling/fair_queue.h"
#include "scheduling/interfaces.h"
#include "scheduling/schedule_job.h"
#include "store/change_follower.h"
#include "store/database.h"

namespace pinion::scheduling {

/// Turns changes into builds. Each change of the feed is mapped to the jobs that depend on it, and
/// each such job is looked at once, in a transaction (see ScheduleJob); there is no tick on the
/// way. A sweep, at most once a minute, catches what was missed. Several nodes may schedule at
/// once: a job's rows are locked while it is looked at, and looking twice changes nothing. On one
/// loop.
class Scheduler {
 public:
  struct Options {
    std::size_t batch = 16;       ///< jobs in one transaction
    std::size_t concurrency = 2;  ///< transactions at a time; SQLite writes one at a time anyway
    Duration sweep = std::chrono::minutes(3);
    Duration first_retry = std::chrono::milliseconds(100);
    Duration last_retry = std::chrono::seconds(30);
    /// The background's share: every job is swept once in so many sweeps.
    std::size_t sweep_parts = 60;
    ResolutionLimits limits;
  };
  struct Services {
    Executor executor;
    store::Database& database;
    Timers& timers;
    store::ChangeFollower& feed;
    BuildPlanner& planner;
    BuildStarter& starter;
    checking::CheckRequester& checks;
    /// This process's lease, for the builds it starts; nothing: any engine claims them.
    std::function<std::optional<store::Owner>()> owner;
    Logger log;
    RunListener ran = {};  ///< may be none
  };

  Scheduler(Services services, Options options);
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;
  ~Scheduler();  // after Stop()

  /// Looks at every job with pending builds, then at all others in the background. Call it after
  /// the feed's Start().
  Task<void> Start();
  Task<void> Stop();

  /// While it is paused no build starts; what happens is remembered. Before Start() too.
  void SetPaused(bool paused);

  /// Returns when nothing is queued and nothing runs; what waits for a retry does not count. For
  /// tests.
  Task<void> WaitUntilIdle(std::stop_token stop);

  /// Jobs that wait to be looked at.
  std::size_t queued() const { return queue_.size(); }
  /// Looks since the start, for metrics.
  std::int64_t looks() const { return looks_; }

 private:
  struct Batch {
    std::vector<JobOutcome> outcomes;
    std::vector<DueJob> again;
  };

  // One of what runs, counted from before its coroutine is spawned until it ends.
  class Counted {
   public:
    explicit Counted(std::size_t& count) : count_(&++count) {}
    Counted(Counted&& other) noexcept : count_(std::exchange(other.count_, nullptr)) {}
    Counted& operator=(Counted&&) = delete;
    ~Counted() {
      if (count_) --*count_;
    }

   private:
    std::size_t* count_;
  };

  void OnChanges(const std::vector<store::Change>& changes, bool trimmed);
  Task<void> MapChanges(Counted counted);
  Task<void> Sweep(bool everything);
  Task<void> SpawnedSweep(Counted counted, bool everything);
  void Push(const std::vector<DueJob>& due, bool background = false);
  void Dispatch();
  Task<void> RunBatch(Counted counted, std::vector<DueJob> jobs);
  Task<void> LookAtAll(std::vector<DueJob> jobs);
  Task<Batch> LookAt(std::vector<JobId> jobs);
  void Announce(const Batch& batch);
  void NoteRun(SteadyTime begun, const std::optional<Error>& error) const;
  void RetryLater(const std::vector<DueJob>& jobs, const Error& error);
  /// A job that fails by itself is looked at again, but seldom.
  void TryFaultyLater(const DueJob& job);
  void ArmSweep();
  bool IsIdle() const { return mapping_ == 0 && batches_ == 0 && queue_.size() == 0; }
  void NotifyIdle();

  Services services_;
  Options options_;
  FairQueue queue_;
  std::set<JobId> looking_;
  std::vector<store::Change> unmapped_;
  bool overflowed_ = false;  // more changes than are worth mapping: everything is looked at
  std::size_t mapping_ = 0;  // mappings and sweeps that run
  std::size_t batches_ = 0;  // that run
  std::int64_t looks_ = 0;
  std::size_t part_ = 0;
  Duration retry_;
  std::vector<DueJob> retrying_;
  Timers::Handle retry_timer_;
  std::vector<DueJob> faulty_;
  Timers::Handle faulty_timer_;
  Timers::Handle sweep_timer_;
  std::vector<Waker<bool>> idle_;
  bool started_ = false;
  bool paused_ = false;
  TaskGroup tasks_;
};

}  // namespace pinion::scheduling
