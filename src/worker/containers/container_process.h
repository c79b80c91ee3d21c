#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "linux/readiness.h"
#include "protocol/garden.h"
#include "worker/containers/broadcast.h"
#include "worker/containers/folder.h"

namespace pinion::worker {

/// The two output streams of a process; a terminal has the first alone.
enum class OutputStream : std::size_t { kStdout = 0, kStderr = 1 };

/// A process of a container as the worker knows it. Kept after its end, as long as the container
/// does, so that its output and exit status can be asked for. On the loop's thread.
struct ContainerProcess {
  std::string id;
  std::uint32_t number = 0;
  protocol::garden::ProcessSpec spec;
  std::filesystem::path folder;  ///< with the files stdout and stderr

  bool started = false;
  std::optional<ProcessEnd> end;
  std::array<std::int64_t, 2> size{};       ///< bytes in the log files
  std::array<std::int64_t, 2> delivered{};  ///< bytes that have reached some reader
  std::array<std::int64_t, 2> told{};       ///< what the supervisor knows of `delivered`
  std::array<std::int64_t, 2> discarded{};  ///< bytes whose disk space was freed
  /// Where input goes; only while somebody gives input. Closing it alone does not end the input.
  std::shared_ptr<linux::WatchedFd> input;
  bool input_answered = false;
  Broadcast changed;  ///< any of the above

  bool has_terminal() const { return spec.tty.has_value(); }
};

/// Reads up to `limit` bytes of a process's log file at `offset`. Where the file has a hole because
/// the bytes were acknowledged, `offset` moves on to the first bytes that are there. Blocks.
Result<std::string> ReadOutput(const std::filesystem::path& folder, OutputStream stream,
                               std::int64_t& offset, std::size_t limit);

/// Frees the disk space of a log file's bytes in that range; offsets stay what they are. Blocks.
void DiscardOutput(const std::filesystem::path& folder, OutputStream stream, std::int64_t from,
                   std::int64_t to);

}  // namespace pinion::worker
