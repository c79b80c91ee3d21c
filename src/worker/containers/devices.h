#pragma once

#include "base/json.h"

namespace pinion::worker {

/// Rules of the device cgroup, as "resources.devices" of an OCI configuration: everything for
/// privileged containers; else making nodes, using harmless ones (null, zero, full, random,
/// urandom, tty, terminals) and FUSE, as upstream has it.
Json DeviceRules(bool privileged);

/// Nodes beside those that runtimes make by themselves, as "devices": /dev/fuse for privileged
/// ones.
Json DeviceNodes(bool privileged);

}  // namespace pinion::worker
