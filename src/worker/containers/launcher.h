#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>

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
/// called from any thread; everything blocks.
class Launcher {
 public:
  explicit Launcher(const ContainersOptions& options) : options_(options) {}

  /// Finds the machine's cgroups and the runtime, writes the supervisor's program into the state
  /// folder and makes the supervisors' own cgroup. The error says what is missing and how to get it.
  Result<void> Prepare();

  const linux::CgroupLayout& cgroups() const { return cgroups_; }
  const std::filesystem::path& supervisor() const { return supervisor_; }
  /// crun's filter, compiled once; empty for other runtimes.
  const std::string& compiled_seccomp() const { return compiled_seccomp_; }
  /// The container's cgroup below the root of each hierarchy. Workers of other folders on the same
  /// machine have others.
  std::string CgroupOf(const std::string& handle) const;

  /// Starts the supervisor, which starts the container of that folder's config.json. The lock of the
  /// folder goes over to it. kConflict if another supervisor still has it.
  Result<LaunchedSupervisor> Launch(const std::string& handle,
                                    const std::filesystem::path& folder) const;

  /// Kills what is left of a container without a supervisor and removes the runtime's traces and
  /// cgroups. Idempotent.
  Result<void> CleanUp(const std::string& handle) const;

 private:
  std::string Hierarchies() const;
  std::filesystem::path RuntimeRoot() const { return options_.work_dir / "run" / "runtime"; }

  const ContainersOptions& options_;
  linux::CgroupLayout cgroups_;
  std::filesystem::path supervisor_;
  std::string compiled_seccomp_;
  std::string cgroup_parent_;
  std::string tracking_files_;
};

}  // namespace pinion::worker
