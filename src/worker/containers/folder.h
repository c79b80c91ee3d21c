#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/error.h"
#include "protocol/garden.h"

namespace pinion::worker {

/// How a process ended: an exit status, or the reason why there is none.
struct ProcessEnd {
  int exit_status = 0;
  std::string error;
  bool unexecuted = false;  ///< it never ran; `exit_status` is an errno then
};

/// What changes in a container's life beside its processes.
struct ContainerState {
  std::map<std::string, std::string> properties;
  std::int64_t grace_time = 0;  ///< nanoseconds, 0 the default
  std::int64_t epoch = 0;       ///< the highest lease epoch that was seen
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("properties", self.properties);
    visit("grace_time", self.grace_time);
    visit("epoch", self.epoch);
  }
};

/// What the folder of a process says about it.
struct StoredProcess {
  std::uint32_t number = 0;
  protocol::garden::ProcessSpec spec;
  std::optional<ProcessEnd> end;
  std::int64_t stdout_size = 0;
  std::int64_t stderr_size = 0;
};

/// The two folders of one container. On disk, all that is known about it:
///   spec.json    as it was asked for           state.json  properties, grace time, epoch
///   processes/N/ id.json, stdout, stderr, exit ended       why the container is no more
/// In memory (below /run), what dies with the machine:
///   config.json  for the runtime               lock        held by the supervisor while it lives
///   control      the supervisor's socket       spec-N      of process N, for init
///   hosts, resolv.conf                         state       a link to the folder on disk
/// Making files on disk takes up to a millisecond each. All methods block; any thread.
class ContainerFolder {
 public:
  ContainerFolder(std::filesystem::path path, std::filesystem::path run_path)
      : path_(std::move(path)), run_path_(std::move(run_path)) {}
  const std::filesystem::path& path() const { return path_; }
  const std::filesystem::path& run_path() const { return run_path_; }

  Result<void> Make(const protocol::garden::ContainerSpec& spec) const;
  /// The folder in memory; it may be there.
  Result<void> MakeRunFolder() const;
  Result<protocol::garden::ContainerSpec> LoadSpec() const;
  Result<void> SaveState(const ContainerState& state) const;
  Result<ContainerState> LoadState() const;
  /// Why the container is no more, as its supervisor wrote it; empty if it was killed.
  std::string LoadEnded() const;

  std::filesystem::path ProcessPath(std::uint32_t number) const;
  /// Makes the folder of a process; `init_spec` is what the container's init reads. Its input, if
  /// it is all there, lies in memory until its supervisor has opened it.
  Result<void> MakeProcess(std::uint32_t number, const protocol::garden::ProcessSpec& spec,
                           const std::string& init_spec,
                           const std::optional<std::string>& input) const;
  /// Whether its supervisor has yet to open the process's input.
  bool HasInput(std::uint32_t number) const;
  /// The processes with readable folders, by number.
  std::vector<StoredProcess> LoadProcesses() const;
  std::optional<ProcessEnd> LoadEnd(std::uint32_t number) const;
  void RemoveProcess(std::uint32_t number) const;

 private:
  std::filesystem::path InputPath(std::uint32_t number) const;
  std::filesystem::path path_;
  std::filesystem::path run_path_;
};

/// Handles are folder names, host names and cgroup names: 1 to 128 letters, digits, '_', '-' and
/// '.', the first a letter or digit.
Result<void> CheckHandle(const std::string& handle);

}  // namespace pinion::worker
