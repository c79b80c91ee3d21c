#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "async/task_group.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "base/log.h"
#include "worker/containers/containers.h"

namespace pinion::worker {

struct DiskWatchOptions {
  std::filesystem::path folder;  ///< on the file system that is watched
  /// What one container may have written, and how many files and folders; 0: half of what the file
  /// system has.
  std::int64_t bytes_max = 0;
  std::int64_t files_max = 0;
  Duration interval = std::chrono::seconds(1);
  /// Which folder holds the files that were written through this mounted one: a container is not
  /// to blame for the layers below.
  std::function<std::filesystem::path(const std::filesystem::path&)> own_files =
      [](const std::filesystem::path& mounted) { return mounted; };
};

/// What lies below a folder, on its own file system.
struct DiskUse {
  std::int64_t bytes = 0;  ///< blocks, so that holes do not count
  std::int64_t files = 0;  ///< of every kind, folders included
};

/// Counts until one of the limits is passed. Folders nested deeper than 400 count as too many
/// files: nobody needs them, and looking further would cost a descriptor each. Blocks.
DiskUse MeasureDisk(const std::filesystem::path& folder, std::int64_t bytes_max,
                    std::int64_t files_max);

/// Ends containers that fill the disk, by their number of files or by bytes, with a reason that
/// their step shows; the file systems that volumes lie on have no quota that would do. Looks at
/// the file system as a whole every second, which costs nothing, and into the containers' volumes
/// only when it has changed by an eighth of a limit, or is nearly full: when less than a twentieth
/// is left, a container must not have more than a tenth.
///
/// On the containers' loop; the pool does what blocks. Shutdown() before the containers'.
class DiskWatch {
 public:
  DiskWatch(Executor executor, Timers& timers, ThreadPool& pool, Logger log, Containers& containers,
            DiskWatchOptions options);
  void Start();
  Task<void> Shutdown();
  /// One look, as it is done every interval.
  Task<void> Look();

 private:
  struct Space {
    DiskUse total;
    DiskUse free;
    bool low() const;
  };
  static Space SpaceOf(const std::filesystem::path& folder);
  DiskUse Limits(const Space& space) const;
  bool WorthMeasuring(const Space& space, const DiskUse& limits) const;
  Task<void> Watch();
  Task<DiskUse> Measure(std::shared_ptr<Container> container, DiskUse limits);
  bool StillKnown(const std::string& handle) const;

  Timers& timers_;
  ThreadPool& pool_;
  Logger log_;
  Containers& containers_;
  DiskWatchOptions options_;
  DiskUse measured_free_;
  std::string last_ended_;  ///< its files go some time after it
  TaskGroup tasks_;
};

}  // namespace pinion::worker
