#pragma once

#include <string>

#include "fleet/worker_client.h"

namespace pinion::fleet {

/// Where a stream begins or ends: a path inside a volume on a worker.
struct VolumePlace {
  WorkerClient* worker = nullptr;
  std::string handle;
  std::string path = ".";
};

/// Copies what is at one place to the other through this process, as a stream of at most a buffer
/// in memory. `encoding`: what both workers understand (gzip, zstd). Not repeated: a copy that
/// broke off leaves the destination half filled, to be destroyed by the caller. Failures name both
/// ends.
Task<void> CopyVolume(VolumePlace from, VolumePlace to, std::string encoding, std::stop_token stop);

}  // namespace pinion::fleet
