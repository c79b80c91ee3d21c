#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pinion::events {

/// One open file of the log store. Every call blocks and is made on the store's pool; errors are
/// Failures of kind kUnavailable that name the path and the cause.
class LogFile {
 public:
  virtual ~LogFile() = default;
  virtual void WriteAt(std::uint64_t offset, std::string_view bytes) = 0;
  /// Up to `length` bytes, fewer only at the file's end.
  virtual std::string ReadAt(std::uint64_t offset, std::size_t length) = 0;
  virtual std::uint64_t Size() = 0;
  virtual void Truncate(std::uint64_t size) = 0;
  /// Returns when what was written survives a power loss.
  virtual void Sync() = 0;
};

/// What the log store asks of a file system; tests put a failing one in its place. Thread-safe.
class LogFiles {
 public:
  virtual ~LogFiles() = default;
  /// Null if there is no such file and `create` is not given. Missing folders are made.
  virtual std::shared_ptr<LogFile> Open(const std::filesystem::path& path, bool create) = 0;
  /// The names in this folder, none if it is not there. For stores that several processes share.
  virtual std::vector<std::string> List(const std::filesystem::path& folder) {
    static_cast<void>(folder);
    return {};
  }
  /// Puts a file in the place of another, at once. Likewise.
  virtual void Rename(const std::filesystem::path& from, const std::filesystem::path& to) {
    static_cast<void>(to);
    throw Failure(ErrorKind::kUnavailable, "rename " + from.string() + ": not supported");
  }
  /// A file that is not there is no error.
  virtual void Remove(const std::filesystem::path& path) = 0;
  /// Makes new names in this folder, and of this folder in its parent, survive a power loss.
  virtual void SyncFolder(const std::filesystem::path& folder) = 0;
};

std::shared_ptr<LogFiles> MakeSystemLogFiles();

}  // namespace pinion::events
