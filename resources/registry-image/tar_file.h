#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "archive/byte_stream.h"
#include "linux/fd.h"

namespace pinion::resource {

/// Writes a tar file whose entries are streamed in, of sizes known before.
class TarWriter {
 public:
  explicit TarWriter(archive::ByteSink& to) : to_(to) {}
  /// Begins an entry: exactly `size` bytes follow through content().
  void Begin(const std::string& name, std::uint64_t size);
  archive::ByteSink& content() { return to_; }
  /// Ends the entry that was begun.
  void End();
  void Add(const std::string& name, std::string_view content);
  /// The end of the archive.
  void Finish();

 private:
  archive::ByteSink& to_;
  std::uint64_t size_ = 0;
};

/// A file that is written from its start; errors name it.
class FileSink final : public archive::ByteSink {
 public:
  explicit FileSink(const std::filesystem::path& path);
  void Write(std::string_view bytes) override;
  void Finish() override;

 private:
  std::string name_;
  linux::UniqueFd fd_;
};

/// Bytes of a file from an offset on, independent of other readers of it.
class FilePart final : public archive::ByteSource {
 public:
  FilePart(const std::filesystem::path& path, std::uint64_t offset, std::uint64_t size);
  std::size_t Read(std::span<char> buffer) override;

 private:
  std::string name_;
  linux::UniqueFd fd_;
  std::uint64_t offset_;
  std::uint64_t left_;
};

/// Where the files of an uncompressed tar file lie in it, read once. Entries that are links stand
/// for what they name.
class TarFile {
 public:
  /// kInvalid names the file if it is no tar file.
  explicit TarFile(std::filesystem::path path);

  bool Has(const std::string& name) const { return Find(name) != nullptr; }
  /// kNotFound if there is no such file.
  std::uint64_t Size(const std::string& name) const;
  std::unique_ptr<archive::ByteSource> Open(const std::string& name) const;

 private:
  struct Entry {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    std::string link;  // what a symbolic link points to, from the archive's root
  };
  const Entry* Find(std::string name) const;
  const Entry& Need(const std::string& name) const;

  std::filesystem::path path_;
  std::map<std::string, Entry> entries_;
};

}  // namespace pinion::resource
