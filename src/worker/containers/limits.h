#pragma once

#include "base/json.h"
#include "linux/cgroup.h"
#include "protocol/garden.h"

namespace pinion::worker {

/// Limits as "resources" of an OCI configuration, without devices: CPU shares (which runtimes turn
/// into v2's weight), memory (swap included where the kernel counts it) and processes. kInvalid if
/// this machine has no cgroup controller for a limit that is asked for: a limit is never ignored.
Result<Json> LimitResources(const protocol::garden::Limits& limits,
                            const linux::CgroupLayout& cgroups);

}  // namespace pinion::worker
