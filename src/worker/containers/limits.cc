#include "worker/containers/limits.h"

#include <filesystem>

#include "base/files.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;

/// On v2 a controller can be given away only if it is listed at the root.
Result<void> Require(const linux::CgroupLayout& cgroups, std::string_view controller,
                     std::string_view limit) {
  bool there = false;
  if (const auto root = cgroups.Controller(controller)) {
    there =
        !cgroups.unified() ||
        ReadFile(*root / "cgroup.controllers").value_or("").find(controller) != std::string::npos;
  }
  if (there) return {};
  return Fail(ErrorKind::kInvalid,
              "the " + std::string(limit) +
                  " limit cannot be kept: this machine has no cgroup controller \"" +
                  std::string(controller) + "\"; remove the limit or enable it");
}

}  // namespace

Result<Json> LimitResources(const protocol::garden::Limits& limits,
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
  }
  return resources;
}

}  // namespace pinion::worker
