#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/clock.h"

namespace pinion::worker {

struct ContainersOptions {
  std::filesystem::path work_dir;  ///< containers live in its folder "containers"
  std::string runtime = "crun";    ///< crun or runc: a name in PATH or a path
  std::size_t containers_max = 250;
  std::size_t starts_max = 3;  ///< starting at the same time
  /// How far a process may run ahead of its reader, per stream, before its pipe blocks.
  std::int64_t unread_bytes_max = 64 << 20;
  /// Processes and threads of a container that asks for no limit itself; 0: any number.
  std::int64_t processes_max = 4096;
  /// Memory of all containers together, page cache included; 0: what the machine has, less a tenth
  /// for everything else.
  std::int64_t memory_max = 0;
  std::int64_t write_rate = 0;  ///< bytes a second that a container may write to disk; 0: any
  Duration grace_time = std::chrono::seconds(10);  ///< from TERM to KILL, unless the container says
  std::vector<std::string> dns_servers;            ///< none: those of the host
  std::vector<std::string> extra_hosts;            ///< lines of /etc/hosts
};

}  // namespace pinion::worker
