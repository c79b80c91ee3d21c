#include "worker/containers/limits.h"

#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "linux/files.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;

/// On v2 a controller can be given away only if it is listed at the root.
bool HasController(const linux::CgroupLayout& cgroups, std::string_view controller) {
  const auto root = cgroups.Controller(controller);
  return root && (!cgroups.unified() ||
                  ReadFile(*root / "cgroup.controllers").value_or("").find(controller) !=
                      std::string::npos);
}

Result<void> Require(const linux::CgroupLayout& cgroups, std::string_view controller,
                     std::string_view limit) {
  if (HasController(cgroups, controller)) return {};
  return Fail(ErrorKind::kInvalid,
              "the " + std::string(limit) +
                  " limit cannot be kept: this machine has no cgroup controller \"" +
                  std::string(controller) + "\"; remove the limit or enable it");
}

}  // namespace

Result<Json> LimitResources(const protocol::garden::Limits& limits, std::int64_t processes_max,
                            const linux::CgroupLayout& cgroups) {
  JsonObject resources;
  const std::uint32_t shares =
      limits.cpu_limits.weight > 0 ? limits.cpu_limits.weight : limits.cpu_limits.limit_in_shares;
  if (shares > 0) {
    if (auto there = Require(cgroups, "cpu", "CPU"); !there) return std::unexpected(there.error());
    resources.Set("cpu", JsonObject{{"shares", shares}});
  }
  const std::int64_t memory = limits.memory_limits.limit_in_bytes;
  if (memory > 0) {
    if (auto there = Require(cgroups, "memory", "memory"); !there) {
      return std::unexpected(there.error());
    }
    JsonObject limit{{"limit", memory}};
    std::error_code error;
    const auto root = cgroups.Controller("memory");
    if (cgroups.unified() || fs::exists(*root / "memory.memsw.limit_in_bytes", error)) {
      limit.Set("swap", memory);
    }
    resources.Set("memory", std::move(limit));
  }
  if (limits.pid_limits.max > 0) {
    if (auto there = Require(cgroups, "pids", "process"); !there) {
      return std::unexpected(there.error());
    }
    resources.Set("pids", JsonObject{{"limit", limits.pid_limits.max}});
  } else if (processes_max > 0 && HasController(cgroups, "pids")) {
    resources.Set("pids", JsonObject{{"limit", processes_max}});
  }
  return resources;
}

Result<Json> LimitWrites(const fs::path& folder, std::int64_t bytes_per_second,
                         const linux::CgroupLayout& cgroups) {
  if (auto there = Require(cgroups, cgroups.unified() ? "io" : "blkio", "write rate"); !there) {
    return std::unexpected(there.error());
  }
  struct stat status{};
  if (::stat(folder.c_str(), &status) != 0) {
    return std::unexpected(SystemError("stat " + folder.string(), errno));
  }
  // The kernel wants the whole disk, not a part of it.
  const fs::path device = fs::path("/sys/dev/block") / (std::to_string(major(status.st_dev)) + ":" +
                                                        std::to_string(minor(status.st_dev)));
  std::error_code error;
  const fs::path disk =
      fs::exists(device / "partition", error) ? fs::canonical(device, error).parent_path() : device;
  const std::string text = ReadFile(disk / "dev").value_or("");
  const std::size_t colon = text.find(':');
  if (colon == std::string::npos) {
    return Fail(ErrorKind::kInvalid, "the write rate cannot be limited: " + folder.string() +
                                         " lies on no single disk; remove the limit");
  }
  return JsonObject{{"throttleWriteBpsDevice",
                     JsonArray{JsonObject{{"major", std::atoll(text.c_str())},
                                          {"minor", std::atoll(text.c_str() + colon + 1)},
                                          {"rate", bytes_per_second}}}}};
}

std::int64_t MemoryForContainers() {
  const std::int64_t all =
      static_cast<std::int64_t>(::sysconf(_SC_PHYS_PAGES)) * ::sysconf(_SC_PAGESIZE);
  return std::max<std::int64_t>(all - std::max<std::int64_t>(all / 10, 256 << 20), all / 2);
}

Result<void> LimitMemoryOfAll(const linux::CgroupLayout& cgroups, const std::string& cgroup,
                              std::int64_t bytes) {
  if (auto there = Require(cgroups, "memory", "memory"); !there) return there;
  const fs::path root = *cgroups.Controller("memory");
  const fs::path folder = root / cgroup;
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) {
    return std::unexpected(SystemError("make the cgroup " + folder.string(), error.value()));
  }
  if (!cgroups.unified()) {
    return linux::WriteKernelFile(folder / "memory.limit_in_bytes", std::to_string(bytes));
  }
  // Each level must hand the controller down to the next.
  fs::path level = root;
  for (const fs::path& part : fs::path(cgroup)) {
    if (auto handed = linux::WriteKernelFile(level / "cgroup.subtree_control", "+memory");
        !handed) {
      return handed;
    }
    level /= part;
  }
  return linux::WriteKernelFile(folder / "memory.max", std::to_string(bytes));
}

}  // namespace pinion::worker
