#pragma once

#include <sys/types.h>

#include <filesystem>
#include <mutex>
#include <string>
#include <vector>

#include "base/error.h"
#include "linux/cgroup.h"
#include "linux/fd.h"
#include "worker/containers/options.h"

namespace pinion::worker {

/// A supervisor that was started: the worker's end of its connection, and the child to wait for.
struct LaunchedSupervisor {
  linux::UniqueFd socket;
  linux::UniqueFd pidfd;
  pid_t pid = 0;
};

/// Starts supervisors and removes what containers leave behind. Everything but Prepare() may be
/// called from any thread; everything blocks. A few supervisors wait for their container ahead:
/// spawning one and moving it to its cgroup takes as long as half a container's start.
class Launcher {
 public:
  explicit Launcher(const ContainersOptions& options) : options_(options) {}
  /// Supervisors without a container end with it.
  ~Launcher();

  /// Finds the machine's cgroups and the runtime, writes the supervisor's program into the state
  /// folder and makes the supervisors' own cgroup. The error says what is missing and how to get
  /// it.
  Result<void> Prepare();

  /// The container's folder in memory.
  std::filesystem::path RunFolder(const std::string& handle) const {
    return run_dir_ / "containers" / handle;
  }
  const linux::CgroupLayout& cgroups() const { return cgroups_; }
  const std::filesystem::path& supervisor() const { return supervisor_; }
  /// crun's filter, compiled once; empty for other runtimes.
  const std::string& compiled_seccomp() const { return compiled_seccomp_; }
  /// The container's cgroup below the root of each hierarchy. Workers of other folders on the same
  /// machine have others.
  std::string CgroupOf(const std::string& handle) const;

  /// Gives the container to a supervisor, which starts it by the config.json of its folder in
  /// memory. The lock of that goes over to it. kConflict if another supervisor still has it.
  Result<LaunchedSupervisor> Launch(const std::string& handle);
  /// Makes up for supervisors that have got a container.
  Result<void> Refill();
  std::size_t waiting() const;

  /// Kills what is left of a container without a supervisor and removes the runtime's traces and
  /// cgroups. Idempotent.
  Result<void> CleanUp(const std::string& handle) const;

 private:
  Result<LaunchedSupervisor> SpawnSupervisor() const;
  std::string Hierarchies() const;
  std::filesystem::path RuntimeRoot() const { return run_dir_ / "runtime"; }

  const ContainersOptions& options_;
  linux::CgroupLayout cgroups_;
  std::filesystem::path supervisor_;
  std::string compiled_seccomp_;
  std::filesystem::path run_dir_;  ///< in memory: below /run
  linux::UniqueFd work_dir_lock_;
  std::string cgroup_parent_;
  std::string tracking_files_;
  linux::UniqueFd runtime_;  ///< its program; crun's as a sealed copy in memory
  mutable std::mutex mutex_;
  std::vector<LaunchedSupervisor> waiting_;
};

}  // namespace pinion::worker
