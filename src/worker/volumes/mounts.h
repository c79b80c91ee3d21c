#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"
#include "linux/fd.h"

/// The mounts under volumes. Everything blocks; nothing here keeps state. Needs root.
namespace pinion::worker {

/// True if something is mounted exactly there.
bool IsMountPoint(const std::filesystem::path& path);

/// Mounts `folder` onto itself, private, so that mounts made below it reach no other mount
/// namespace. Does nothing if that was done before.
Result<void> MakePrivateMount(const std::filesystem::path& folder);

/// Mounts the content of `folder` (not what is mounted below it) at `target` once more, with ids
/// mapped: id i on disk shows as kHostIdBase + i. The error names what the kernel or the file
/// system cannot do, and the way out.
Result<void> MakeMappedView(const std::filesystem::path& folder,
                            const std::filesystem::path& target);

/// Mounts the folder `source` at `target`, with the id mapping of the mount that `source` is
/// reached by.
Result<void> MountFolder(const std::filesystem::path& source, const std::filesystem::path& target);

/// What an overlay consists of. All folders are reached through the same mount (mapped or not).
struct OverlaySpec {
  std::vector<std::filesystem::path> lowers;  ///< topmost first, at least one
  std::filesystem::path upper;
  std::filesystem::path work;  ///< empty, on the upper's file system
};

/// Mounts an overlay without the syncing that makes unmounting slow ("volatile"): after a crash of
/// the machine its upper is not to be trusted. With `mapped`, call it inside MappedCredentials.
Result<void> MountOverlay(const OverlaySpec& spec, const std::filesystem::path& target);

/// Unmounts; while something still uses the mount it is detached and goes with its last user.
/// No error if nothing is mounted there.
Result<void> Unmount(const std::filesystem::path& target);

/// While it lives, the calling thread makes files as the mapped root (kHostIdBase) with all of
/// root's capabilities: host ids that are not mapped cannot make files in mapped folders. Threads
/// only, no coroutines: no suspension may happen inside.
class MappedCredentials {
 public:
  explicit MappedCredentials(bool active = true);
  MappedCredentials(const MappedCredentials&) = delete;
  MappedCredentials& operator=(const MappedCredentials&) = delete;
  ~MappedCredentials();

 private:
  bool active_;
};

}  // namespace pinion::worker
