#pragma once

#include <set>

#include "async/timers.h"
#include "base/log.h"
#include "events/log_store.h"
#include "retention/log_policy.h"
#include "store/database.h"

namespace pinion::store {
struct Change;
}

namespace pinion::retention {

struct BuildLogOptions {
  LogOptions logs;
  /// Builds without a job, and their logs, after their end; 0: kept for ever.
  std::int64_t one_off_seconds = 0;
  Duration sweep_interval = std::chrono::hours(1);  ///< over all jobs and all files, for their age
  std::size_t page = 1000;                          ///< builds looked at in one transaction
};

/// Removes the logs of builds as the jobs and the server want it, old builds of one-off runs, and
/// logs whose builds are gone. On one loop's thread.
class BuildLogs {
 public:
  BuildLogs(store::Database& database, events::LogStore& logs, Timers& timers, Logger log,
            BuildLogOptions options);

  /// What follows the change feed calls this for each change. True if Run() is worth it now; that a
  /// build has ended can wait for its next pass.
  bool Look(const store::Change& change);

  /// One pass: the jobs whose builds have ended since the last one; those of all, and files without
  /// a build, when it is time. At most some hundred thousand files: the next pass goes on.
  Task<void> Run(std::stop_token stop);

  struct Numbers {
    std::int64_t removed = 0;   ///< logs of builds that are there
    std::int64_t orphans = 0;   ///< logs without a build
    std::int64_t one_offs = 0;  ///< builds
  };
  const Numbers& numbers() const { return numbers_; }

 private:
  Task<void> LookAtJobs(std::stop_token stop);
  Task<void> LookAtJob(JobId job, std::stop_token stop);
  Task<void> RemoveOneOffs(std::stop_token stop);
  Task<void> RemoveOrphans(std::stop_token stop);
  Task<void> RemoveLogs(std::vector<BuildId> builds);

  store::Database& database_;
  events::LogStore& logs_;
  Timers& timers_;
  Logger log_;
  BuildLogOptions options_;
  std::set<JobId> jobs_;       ///< with builds that have ended since the last pass
  std::set<BuildId> deleted_;  ///< whose logs are to go
  std::optional<SteadyTime> last_sweep_;
  bool builds_deleted_ = true;  ///< perhaps: files are to be looked at
  BuildId next_file_;           ///< where the walk over the files goes on
  Numbers numbers_;
};

}  // namespace pinion::retention
