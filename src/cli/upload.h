#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "archive/byte_stream.h"

namespace pinion::cli {

/// The files of a folder that git does not ignore, tracked or not, relative to it; nothing if it is
/// no part of a working copy. Blocks.
std::optional<std::vector<std::string>> GitFiles(const std::filesystem::path& folder);

/// Writes a folder as a gzip tar stream and finishes `to`: all of it, or, unless `all`, without
/// what git ignores. Blocks; throws Failure.
void PackFolder(const std::filesystem::path& folder, bool all, archive::ByteSink& to);

}  // namespace pinion::cli
