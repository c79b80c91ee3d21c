#pragma once

#include <sys/types.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"
#include "linux/fd.h"

namespace pinion::linux {

/// Replaces the file by rename, so that readers see all of the old or all of the new content. It is
/// not flushed to the disk: for state that a power loss makes worthless anyway, such as that of
/// running containers. Blocks.
Result<void> ReplaceFile(const std::filesystem::path& path, std::string_view content,
                         unsigned mode = 0600);

/// Writes to a file that exists, in one write, as the kernel's own files want it. Blocks.
Result<void> WriteKernelFile(const std::filesystem::path& path, std::string_view content);

/// Opens `path` as a process with `root` as its root would: links and ".." never lead out of it.
/// `flags` as of open(2), O_CLOEXEC is added. Blocks.
Result<UniqueFd> OpenInRoot(const std::filesystem::path& root, const std::string& path, int flags,
                            mode_t mode = 0);

/// Reads a file found by OpenInRoot; only regular files, kTooLarge past `limit` bytes. Blocks.
Result<std::string> ReadFileInRoot(const std::filesystem::path& root, const std::string& path,
                                   std::size_t limit);

/// Opens or creates the file and takes its lock (flock) without waiting; nothing if another process
/// holds it. The lock lives as long as the last copy of the descriptor, over fork and exec.
Result<UniqueFd> TryLockFile(const std::filesystem::path& path);

}  // namespace pinion::linux
