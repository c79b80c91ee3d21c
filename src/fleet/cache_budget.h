#pragma once

#include "async/timers.h"
#include "base/log.h"
#include "fleet/registry.h"

namespace pinion::fleet {

struct CacheBudgetOptions {
  int percent = 80;  ///< of a worker's disk in use, from which on caches go; 0: never
  Duration timeout = std::chrono::seconds(30);  ///< for a worker's answer
};

/// Gives up caches of resources and tasks that nothing uses, the least recently used first, on
/// workers whose disk is fuller than the budget. On one loop's thread.
class CacheBudget {
 public:
  /// `evicted` is called when volumes were marked: the collector destroys them.
  CacheBudget(Timers& timers, store::Database& database, WorkerRegistry& registry, Logger log,
              std::function<void()> evicted, CacheBudgetOptions options);

  /// One pass: asks every worker that can be reached for its disk, and marks a fifth of the unused
  /// caches of those that are above the budget. How full the disk is then shows the next pass.
  Task<void> Run(std::stop_token stop);

 private:
  Task<void> LookAt(std::string worker, std::stop_token stop);

  Timers& timers_;
  store::Database& database_;
  WorkerRegistry& registry_;
  Logger log_;
  std::function<void()> evicted_;
  CacheBudgetOptions options_;
};

}  // namespace pinion::fleet
