#pragma once

#include <map>
#include <memory>
#include <string>

#include "events/log_files.h"

namespace pinion::simulation {

/// A disk that outlives the processes that write on it. Names and bytes survive a kill at once, as
/// on a real machine whose power stays on; what was not synced matters to no test here.
class MemoryDisk {
 public:
  struct File {
    std::string bytes;
  };
  /// The disk as one process sees it.
  std::shared_ptr<events::LogFiles> Mount(std::shared_ptr<struct MountState> state);

  std::map<std::string, std::shared_ptr<File>> files;
};

/// What a process may still do with its disk.
struct MountState {
  bool refused = false;     ///< its lease is lost: a fenced disk takes no more from it
  bool failing = false;     ///< every write fails, as on a full disk
  std::size_t torn_at = 0;  ///< > 0: the next write keeps so many bytes only; then nothing
  bool torn = false;
};

}  // namespace pinion::simulation
