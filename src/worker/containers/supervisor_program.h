#pragma once

#include <filesystem>

#include "base/error.h"

namespace pinion::worker {

/// Makes a folder with its parents; mode 0711, so that root inside containers, nobody outside, gets
/// to its mounts. Blocks.
Result<void> MakePassableFolder(const std::filesystem::path& path);

/// Writes the supervisor's program, which is part of this one, into the state folder unless it is
/// there, and returns its path. Blocks.
Result<std::filesystem::path> InstallSupervisor(const std::filesystem::path& work_dir);

}  // namespace pinion::worker
