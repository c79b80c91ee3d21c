#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>

#include "async/thread_pool.h"
#include "worker/containers/container.h"

namespace pinion::worker {

/// Some bytes of a process's output and where they stand in their stream.
struct OutputChunk {
  OutputStream stream = OutputStream::kStdout;
  std::int64_t offset = 0;
  std::string bytes;
};

/// Follows the output of a process from given offsets to its end. Back-pressure comes from the
/// caller: nothing is read ahead, and the process blocks when its reader is too far behind. On the
/// loop's thread.
class OutputCursor {
 public:
  /// Streams whose offset is absent are not read.
  OutputCursor(ThreadPool& pool, std::shared_ptr<Container> container,
               std::shared_ptr<ContainerProcess> process,
               std::array<std::optional<std::int64_t>, 2> offsets);

  /// The next bytes; nothing when the process has ended and all was read. The chunk before counts
  /// as delivered. Throws Cancelled on stop, Failure if a log file cannot be read.
  Task<std::optional<OutputChunk>> Next(std::stop_token stop);

 private:
  ThreadPool& pool_;
  std::shared_ptr<Container> container_;
  std::shared_ptr<ContainerProcess> process_;
  std::array<std::optional<std::int64_t>, 2> offsets_;
};

}  // namespace pinion::worker
