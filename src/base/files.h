#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "base/error.h"

namespace pinion {

/// The whole file, kTooLarge past `limit` bytes. Errors name the path.
Result<std::string> ReadFile(const std::filesystem::path& path, std::size_t limit = 64 << 20);

/// Writes through a temporary file beside it, flushed to disk, so that readers see all of the old
/// or all of the new content, also after a crash. `mode` is that of the new file.
Result<void> WriteFile(const std::filesystem::path& path, std::string_view content,
                       unsigned mode = 0644);

/// A new folder under the system's temporary folder, removed with all its content at the end of
/// the object's life.
class TemporaryFolder {
 public:
  explicit TemporaryFolder(std::string_view prefix = "pinion");
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace pinion
