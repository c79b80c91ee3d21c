#include "events/shared_files.h"

#include <algorithm>

#include "base/text.h"

namespace pinion::events {
namespace {

constexpr std::size_t kCopiedBytes = 1 << 20;
constexpr std::string_view kSegments = ".segments";
constexpr std::string_view kJournal = ".journal";

/// The epoch in a name like "12.e7.segments"; 0 for every other.
std::int64_t EpochOf(std::string_view name, const std::string& build) {
  const std::string start = build + ".e";
  if (!name.starts_with(start) || !name.ends_with(kSegments)) return 0;
  name.remove_prefix(start.size());
  name.remove_suffix(kSegments.size());
  return ParseNumber(name).value_or(0);
}

void Copy(LogFile& from, LogFile& to) {
  to.Truncate(0);
  for (std::uint64_t offset = 0;;) {
    const std::string bytes = from.ReadAt(offset, kCopiedBytes);
    if (bytes.empty()) break;
    to.WriteAt(offset, bytes);
    offset += bytes.size();
  }
  to.Sync();
}

}  // namespace

std::filesystem::path FileOf(const std::filesystem::path& stem, std::int64_t epoch,
                             std::string_view kind) {
  std::string path = stem.string();
  if (epoch > 0) path += ".e" + std::to_string(epoch);
  return path + std::string(kind);
}

std::int64_t NewestEpoch(LogFiles& files, const std::filesystem::path& stem) {
  std::int64_t newest = 0;
  for (const std::string& name : files.List(stem.parent_path()))
    newest = std::max(newest, EpochOf(name, stem.filename().string()));
  return newest;
}

void SeizeFiles(LogFiles& files, const std::filesystem::path& stem, std::int64_t epoch) {
  const std::int64_t newest = NewestEpoch(files, stem);
  if (newest == epoch) return;
  if (newest > epoch) {
    throw Failure(ErrorKind::kConflict, "another process writes it under epoch " +
                                            std::to_string(newest) + ", later than this one's " +
                                            std::to_string(epoch));
  }
  // The journal first: what its writer moves from there into segments meanwhile is found there.
  const auto journal = files.Open(FileOf(stem, newest, kJournal), false);
  const auto segments = files.Open(FileOf(stem, newest, kSegments), false);
  if (newest > 0 && !segments) {
    throw Failure(ErrorKind::kUnavailable, "another process takes it over at this moment");
  }
  if (journal) Copy(*journal, *files.Open(FileOf(stem, epoch, kJournal), true));
  // Segments make an epoch: they appear whole, and last.
  const std::filesystem::path made = FileOf(stem, epoch, ".new");
  const auto copy = files.Open(made, true);
  if (segments) Copy(*segments, *copy);
  files.Rename(made, FileOf(stem, epoch, kSegments));
  if (!journal && !segments) return;
  files.SyncFolder(stem.parent_path());
  // In this order: who finds the segments has found the journal.
  files.Remove(FileOf(stem, newest, kSegments));
  files.Remove(FileOf(stem, newest, kJournal));
}

void RemoveFiles(LogFiles& files, const std::filesystem::path& stem) {
  files.Remove(FileOf(stem, 0, kJournal));
  files.Remove(FileOf(stem, 0, kSegments));
  const std::string start = stem.filename().string() + ".e";
  for (const std::string& name : files.List(stem.parent_path())) {
    if (name.starts_with(start)) files.Remove(stem.parent_path() / name);
  }
}

}  // namespace pinion::events
