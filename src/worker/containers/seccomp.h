#pragma once

#include <string>

#include "base/error.h"
#include "base/json.h"

namespace pinion::worker {

/// Which system calls unprivileged containers may make: the list that is customary for containers,
/// for this machine's architecture and its 32-bit brother. Others fail with EPERM; clone3 with
/// ENOSYS, so that libraries fall back to clone, whose flags can be looked at.
///
/// As the "seccomp" member of an OCI configuration, which runtimes compile at each start.
Json SeccompProfile();

/// The same, compiled once: base64 of a BPF program, for crun's annotation
/// "run.oci.seccomp_bpf_data". Saves 15 ms of a container's start. Blocks for some milliseconds.
Result<std::string> CompiledSeccomp();

}  // namespace pinion::worker
