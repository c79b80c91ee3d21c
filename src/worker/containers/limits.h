#pragma once

#include <filesystem>

#include "base/json.h"
#include "linux/cgroup.h"
#include "protocol/garden.h"

namespace pinion::worker {

/// Limits as "resources" of an OCI configuration, without devices: CPU shares (which runtimes turn
/// into v2's weight), memory (swap included where the kernel counts it) and processes. kInvalid if
/// this machine has no cgroup controller for a limit that is asked for: a limit is never ignored.
/// `processes_max` is for specifications that name none, where the machine can keep it; 0: any.
Result<Json> LimitResources(const protocol::garden::Limits& limits, std::int64_t processes_max,
                            const linux::CgroupLayout& cgroups);

/// "blockIO" of an OCI configuration: at most so many bytes a second written to the disk that
/// `folder` lies on. Cgroup v1 counts what processes write themselves and wait for (fsync,
/// O_DIRECT), v2 also what the kernel writes for them later. kInvalid if it cannot be kept here: no
/// controller, or a file system that is on no single disk. Blocks.
Result<Json> LimitWrites(const std::filesystem::path& folder, std::int64_t bytes_per_second,
                         const linux::CgroupLayout& cgroups);

/// Limits all that is below this cgroup together to so much memory; makes the cgroup. What
/// containers take then cannot starve the server and their supervisors. Blocks.
Result<void> LimitMemoryOfAll(const linux::CgroupLayout& cgroups, const std::string& cgroup,
                              std::int64_t bytes);
/// The machine's memory less a tenth, at least 256 MiB less.
std::int64_t MemoryForContainers();

}  // namespace pinion::worker
