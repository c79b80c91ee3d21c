#pragma once

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "linux/fd.h"

namespace pinion::archive {

using FileHandle = linux::UniqueFd;

/// How symbolic links on the way to a path are taken.
enum class Links {
  kBeneath,  ///< followed while they stay below the root; absolute and leaving ones are refused
  kInRoot,   ///< as if the root were "/": they cannot leave
};

/// Opens `path` below the folder `root` (openat2); the result is never outside, also while somebody
/// changes the tree. An empty path is the folder itself. errno-based Failure naming the path.
Result<FileHandle> OpenBelow(int root, std::string_view path, int flags, Links links);

/// The components of an archive's path: leading "/" and "./" and doubled slashes vanish. kInvalid
/// for
/// "..", NUL, components over 255 bytes, more than `limit` bytes.
Result<std::vector<std::string>> SplitPath(std::string_view path, std::size_t limit = 4096);

/// Makes the folders of `path` below `root` where they are missing, owned by `owner`, mode 0755.
Result<void> MakeFolders(int root, std::string_view path, Links links, uid_t owner = 0);

/// Removes `name` in the folder `parent` with everything in it. Needs few descriptors and no long
/// paths whatever the depth: full folders are moved up and emptied one by one. Follows no links. It
/// is no error if nothing is there. Immutable flags are taken off. Stops between entries
/// (Cancelled).
void RemoveTree(int parent, const std::string& name, const std::stop_token& stop = {});
void RemoveTree(const std::filesystem::path& path, const std::stop_token& stop = {});

/// Opens a folder for work below it.
FileHandle OpenFolder(const std::filesystem::path& path);

}  // namespace pinion::archive
