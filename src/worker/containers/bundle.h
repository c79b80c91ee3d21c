#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "base/json.h"
#include "linux/cgroup.h"
#include "protocol/garden.h"

namespace pinion::worker {

/// What a bundle needs to know of the worker.
struct BundleContext {
  const linux::CgroupLayout* cgroups = nullptr;
  std::filesystem::path supervisor;  ///< its init half becomes process 1
  std::filesystem::path folder;      ///< of the container: resolv.conf and hosts are in it
  std::string cgroup;                ///< below the root of each hierarchy
  std::string network_namespace;     ///< path; empty: a new one with loopback only
  std::string user_namespace;        ///< path of one that owns the network's; empty: a new one
  std::int64_t processes_max = 0;    ///< of a container that names no limit; 0: any
  std::int64_t write_rate = 0;       ///< bytes a second to the folder's disk; 0: any
  std::filesystem::path work_dir;    ///< on the disk that write_rate is about
  std::string compiled_seccomp;      ///< empty: the runtime compiles the profile
};

/// The OCI configuration (config.json) of a container. kInvalid names the field that cannot be.
/// Blocks (looks at the root file system).
Result<Json> MakeBundle(const protocol::garden::ContainerSpec& spec, const BundleContext& context);

/// The folder that a spec's rootfs or image names: raw://FOLDER.
Result<std::filesystem::path> RootfsFolder(const protocol::garden::ContainerSpec& spec);

}  // namespace pinion::worker
