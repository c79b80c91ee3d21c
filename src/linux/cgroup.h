#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pinion::linux {

/// The cgroup file systems of this machine, as they are mounted.
class CgroupLayout {
 public:
  /// Reads /proc/self/mountinfo. kUnavailable, with the way out, if no cgroups are mounted.
  static Result<CgroupLayout> Detect();
  /// As Detect, from that text of a mountinfo file: for tests.
  static Result<CgroupLayout> FromMountInfo(std::string_view mount_info);

  /// Only cgroup v2, at /sys/fs/cgroup.
  bool unified() const { return hierarchies_.empty(); }
  /// Mount points of v1 hierarchies that hold one of the controllers that limit containers (cpu,
  /// memory, pids, devices, freezer, cpuset, blkio, cpuacct).
  const std::vector<std::filesystem::path>& hierarchies() const { return hierarchies_; }
  /// v1: where this controller is; v2: the root.
  std::optional<std::filesystem::path> Controller(std::string_view name) const;
  /// Where a service manager tells whose process is whose: name=systemd, and v2.
  const std::vector<std::filesystem::path>& tracking() const { return tracking_; }
  /// The v2 mount, of hybrid machines too.
  const std::optional<std::filesystem::path>& v2() const { return v2_; }

  /// The processes in this cgroup and below it, from every hierarchy.
  std::vector<pid_t> Processes(const std::string& cgroup) const;
  /// Removes that cgroup and those below it in every hierarchy; those with processes stay. Returns
  /// how many are left.
  std::size_t Remove(const std::string& cgroup) const;
  /// Removes that cgroup wherever nothing is in it or below it.
  void RemoveIfEmpty(const std::string& cgroup) const;

 private:
  struct Mount {
    std::filesystem::path path;
    std::vector<std::string> controllers;
  };
  std::vector<std::filesystem::path> Roots() const;

  std::vector<Mount> mounts_;
  std::vector<std::filesystem::path> hierarchies_;
  std::vector<std::filesystem::path> tracking_;
  std::optional<std::filesystem::path> v2_;
};

}  // namespace pinion::linux
