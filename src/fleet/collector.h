#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "async/run_listener.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "fleet/registry.h"
#include "store/volumes.h"

namespace pinion::fleet {

struct CollectorOptions {
  store::ContainerRetention containers;
  store::VolumeRetention volumes;
  Duration sweep_interval = std::chrono::minutes(1);    ///< without being told of anything
  Duration shortest_pause = std::chrono::seconds(1);    ///< between two rounds
  Duration destroy_timeout = std::chrono::seconds(60);  ///< for one container or volume
  Duration longest_pause = std::chrono::minutes(5);     ///< before a failing one is tried again
  std::size_t at_once = 16;                             ///< destroyed at a time on one worker
};

/// Collects containers and volumes that nobody needs any more. A round marks them in the database,
/// one transaction, and starts destroying what is marked; it does not wait for that, so that a
/// stuck one holds up no other. Each sweep also asks the workers what they have: what is missing
/// there is forgotten, what nobody knows is destroyed. On one loop's thread.
class Collector {
 public:
  Collector(Executor executor, Timers& timers, store::Database& database, WorkerRegistry& registry,
            Logger log, CollectorOptions options = {}, RunListener ran = {});
  Collector(const Collector&) = delete;
  Collector& operator=(const Collector&) = delete;

  /// Runs until stopped; ends what it destroys then. Once.
  Task<void> Run(std::stop_token stop);
  /// While it is paused no round begins; what is being destroyed goes on. Before Run() too.
  void SetPaused(bool paused);
  /// Something may be no longer needed: a build ended, a container was left.
  void Notify() { wake_.Set(); }
  /// As Notify(), and the workers are asked what they have: something may be there of which no row
  /// tells.
  void RequestSweep();

  struct Numbers {
    std::int64_t rounds = 0;
    std::int64_t destroyed = 0;
    std::int64_t failed = 0;
    std::size_t under_way = 0;
    std::size_t failing = 0;  ///< waiting to be tried again
  };
  Numbers numbers() const;

 private:
  enum class Kind { kContainer, kVolume };
  struct Key {
    Kind kind;
    store::Doomed doomed;
    friend auto operator<=>(const Key&, const Key&) = default;
  };
  struct Failing {
    SteadyTime next;
    Duration pause;
    bool in_use = false;  ///< by copies: worth a try when another volume has gone
  };

  Task<void> Round(bool sweep);
  Task<void> AskWorker(std::string worker);
  /// `since`: when the database was asked; what was forgotten after that is no news.
  void Begin(Kind kind, const std::vector<store::Doomed>& doomed, SteadyTime since);
  bool GoneSince(const Key& key, SteadyTime since) const;
  /// What is being destroyed on this worker, or was forgotten since then.
  std::vector<std::string> AtWork(Kind kind, const std::string& worker, SteadyTime since) const;
  Task<void> Destroy(Key key);
  void Failed(const Key& key, const Error& error);
  Task<void> ForgetGone();
  Task<void> WaitForReason(std::stop_token stop);

  Executor executor_;
  Timers& timers_;
  store::Database& database_;
  WorkerRegistry& registry_;
  Logger log_;
  CollectorOptions options_;
  RunListener ran_;  // may be none
  bool paused_ = false;
  Signal wake_;
  SteadyTime next_sweep_{};
  std::set<Key> under_way_;
  std::set<std::string> asking_;
  std::map<Key, Failing> failing_;
  std::map<std::string, Semaphore> permits_;
  std::vector<Key> gone_;  ///< destroyed, their rows not yet deleted
  bool forgetting_ = false;
  std::map<Key, SteadyTime> forgotten_;  ///< whose rows were deleted lately, and when
  Numbers numbers_;
  TaskGroup tasks_;
};

}  // namespace pinion::fleet
