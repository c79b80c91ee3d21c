#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "base/error.h"

namespace pinion::worker {

/// A user of a container, as its numbers inside.
struct ContainerUser {
  std::uint32_t uid = 0;
  std::uint32_t gid = 0;
  std::vector<std::uint32_t> groups;  ///< additional ones
  std::string home = "/";
};

/// Finds "name", "name:group", "uid" or "uid:gid" (mixed too) in the root file system's /etc/passwd
/// and /etc/group; links never lead out of it. Numbers need no entry; empty text and "root" are
/// root even without the files. kNotFound names the user and the file. Blocks.
Result<ContainerUser> FindUser(const std::filesystem::path& rootfs, const std::string& user);

}  // namespace pinion::worker
