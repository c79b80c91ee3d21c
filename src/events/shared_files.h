#pragma once

#include "events/log_files.h"

/// Names of a log's files in a folder that several processes write to, and their hand-over. Blocks:
/// on the store's pool.
namespace pinion::events {

/// `stem` is the path up to the build's id; `kind` ".segments" or ".journal". Epoch 0 is that of
/// stores that one process has for itself.
std::filesystem::path FileOf(const std::filesystem::path& stem, std::int64_t epoch,
                             std::string_view kind);

/// The highest epoch that has segments, 0 if none.
std::int64_t NewestEpoch(LogFiles& files, const std::filesystem::path& stem);

/// Gives the epoch files of its own with what the newest before it wrote, which are removed then: a
/// process that still writes to those writes into the void. Nothing if the epoch has files already;
/// kConflict if a higher one has. Killed at any point, it can be done again under another epoch.
void SeizeFiles(LogFiles& files, const std::filesystem::path& stem, std::int64_t epoch);

/// All files of the build, of whatever epoch.
void RemoveFiles(LogFiles& files, const std::filesystem::path& stem);

}  // namespace pinion::events
