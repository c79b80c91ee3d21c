#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "async/task_group.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "base/log.h"
#include "linux/cgroup.h"
#include "worker/containers/containers.h"

namespace pinion::worker {

/// What one container has done since the last look.
struct CpuUse {
  std::string handle;
  double cpus = 0;       ///< CPU time by wall time
  double weight = 1024;  ///< in shares, as it was given
  bool lowered = false;
};

/// Who is to run behind the others from now on, by handle, and who no more: the changes alone.
/// A container that used more than its fair part of `cpus` goes behind, one that used no more than
/// `always` never; it comes back when it gets less than half of that part while nobody who is not
/// behind has more than his.
std::map<std::string, bool> ChangesOfRank(const std::vector<CpuUse>& uses, double cpus,
                                          double always = 1);

struct CpuWatchOptions {
  Duration interval = std::chrono::seconds(1);
  double cpus = 0;    ///< 0: those that are online
  double always = 1;  ///< CPUs that a container may use without going behind
};

/// Lets containers that use more than their fair part of the CPUs run behind the others, by a
/// weight of a 32nd of theirs. The kernel alone shares fairly too, but CPU by CPU: a container
/// that spins on all of them takes a third of the one that a neighbour's only process runs on.
/// Nothing is lost while nobody else needs the CPU (docs/decisions/0008-cpu-ranks.md).
///
/// On the containers' loop; the pool does what blocks. Shutdown() before the containers'.
class CpuWatch {
 public:
  CpuWatch(Executor executor, Timers& timers, ThreadPool& pool, Logger log, Containers& containers,
           CpuWatchOptions options);
  void Start();
  /// Everybody gets his weight back: nobody watches from now on.
  Task<void> Shutdown();
  /// One look, as it is done every interval.
  Task<void> Look();
  /// Those behind the others.
  std::vector<std::string> Lowered() const;

 private:
  struct Seen {
    std::int64_t nanoseconds = 0;  ///< of CPU time, since the container's start
    bool lowered = false;
  };
  struct Entry {
    std::string handle;
    std::string cgroup;
    std::uint32_t shares = 0;  ///< that it asked for; 0: none
    bool is_new = false;       ///< whether it is behind is to be read too
    Seen seen;
  };
  Task<void> Watch();
  std::vector<Entry> Entries() const;
  /// Fills in what the kernel tells; drops those that are gone.
  static void Read(const linux::CgroupLayout& cgroups, std::vector<Entry>& entries);
  static void Write(const linux::CgroupLayout& cgroups, const Entry& entry, bool lowered);

  Timers& timers_;
  ThreadPool& pool_;
  Logger log_;
  Containers& containers_;
  CpuWatchOptions options_;
  std::map<std::string, Seen> seen_;
  SteadyTime last_look_{};
  TaskGroup tasks_;
};

}  // namespace pinion::worker
