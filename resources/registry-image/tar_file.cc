#include "registry-image/tar_file.h"

#include <fcntl.h>

#include <array>
#include <cstring>

#include "archive/tar_library.h"

namespace pinion::resource {
namespace {

namespace fs = std::filesystem;

constexpr std::uint64_t kBlock = 512;
constexpr std::size_t kEntriesMax = 100'000;
constexpr int kLinksMax = 8;

struct Header {
  std::array<char, kBlock> bytes{};

  void Text(std::size_t at, std::string_view text) {
    std::memcpy(bytes.data() + at, text.data(), text.size());
  }
  void Octal(std::size_t at, int digits, std::uint64_t value) {
    for (int i = digits - 1; i >= 0; --i, value >>= 3) {
      bytes[at + static_cast<std::size_t>(i)] = static_cast<char>('0' + (value & 7));
    }
  }
};

// Sizes that do not fit eleven octal digits are binary with the first bit set.
void PutSize(Header& header, std::uint64_t size) {
  if (size < (std::uint64_t{1} << 33)) {
    header.Octal(124, 11, size);
    return;
  }
  for (std::size_t i = 0; i < 8; ++i, size >>= 8)
    header.bytes[135 - i] = static_cast<char>(size & 0xff);
  header.bytes[124] = '\x80';
}

std::string Normal(std::string_view name) {
  std::string normal = fs::path(name).lexically_normal().relative_path().string();
  while (normal.starts_with("../"))
    normal.erase(0, 3);
  if (normal.ends_with('/')) normal.pop_back();
  return normal;
}

}  // namespace

void TarWriter::Begin(const std::string& name, std::uint64_t size) {
  if (name.size() > 100) throw Failure(ErrorKind::kInternal, "a tar entry's name is too long");
  Header header;
  header.Text(0, name);
  header.Octal(100, 7, 0644);
  header.Octal(108, 7, 0);
  header.Octal(116, 7, 0);
  PutSize(header, size);
  header.Octal(136, 11, 0);
  header.Text(148, "        ");
  header.bytes[156] = '0';
  header.Text(257, std::string_view("ustar\00000", 8));
  std::uint64_t sum = 0;
  for (const char c : header.bytes)
    sum += static_cast<unsigned char>(c);
  header.Octal(148, 6, sum);
  header.bytes[154] = '\0';
  size_ = size;
  to_.Write(std::string_view(header.bytes.data(), header.bytes.size()));
}

void TarWriter::End() {
  to_.Write(std::string((kBlock - size_ % kBlock) % kBlock, '\0'));
}

void TarWriter::Add(const std::string& name, std::string_view content) {
  Begin(name, content.size());
  to_.Write(content);
  End();
}

void TarWriter::Finish() {
  to_.Write(std::string(2 * kBlock, '\0'));
  to_.Finish();
}

FileSink::FileSink(const fs::path& path)
    : name_(path.string()),
      fd_(::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644)) {
  if (!fd_) throw Failure(SystemError("create " + name_, errno));
}

void FileSink::Write(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(fd_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) throw Failure(SystemError("write " + name_, errno));
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void FileSink::Finish() {
  if (::close(fd_.Release()) != 0) throw Failure(SystemError("close " + name_, errno));
}

FilePart::FilePart(const fs::path& path, std::uint64_t offset, std::uint64_t size)
    : name_(path.string()),
      fd_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)),
      offset_(offset),
      left_(size) {
  if (!fd_) throw Failure(SystemError("open " + name_, errno));
}

std::size_t FilePart::Read(std::span<char> buffer) {
  const std::size_t want = std::min<std::uint64_t>(buffer.size(), left_);
  if (want == 0) return 0;
  for (;;) {
    const ssize_t got = ::pread(fd_.get(), buffer.data(), want, static_cast<off_t>(offset_));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Failure(SystemError("read " + name_, errno));
    if (got == 0) throw Failure(ErrorKind::kInvalid, name_ + " ends too early");
    offset_ += static_cast<std::uint64_t>(got);
    left_ -= static_cast<std::uint64_t>(got);
    return static_cast<std::size_t>(got);
  }
}

TarFile::TarFile(fs::path path) : path_(std::move(path)) {
  const archive::Utf8Locale locale;
  const std::unique_ptr<::archive, archive::FreeRead> handle(::archive_read_new());
  if (!handle) throw Failure(ErrorKind::kInternal, "no memory to read an archive");
  // No decompression: the files are read again at the offsets that are found here.
  ::archive_read_support_format_tar(handle.get());
  ::archive_read_support_filter_none(handle.get());
  const auto wrong = [&] {
    return Failure(ErrorKind::kInvalid, path_.string() + " is no (uncompressed) tar file: " +
                                            archive::TarError(handle.get()));
  };
  if (::archive_read_open_filename(handle.get(), path_.c_str(), 256 << 10) != ARCHIVE_OK) {
    throw wrong();
  }
  ::archive_entry* entry = nullptr;
  for (;;) {
    const int status = ::archive_read_next_header(handle.get(), &entry);
    if (status == ARCHIVE_EOF) break;
    if (status != ARCHIVE_OK && status != ARCHIVE_WARN) throw wrong();
    if (entries_.size() > kEntriesMax) {
      throw Failure(ErrorKind::kTooLarge, path_.string() + " has more than 100,000 entries");
    }
    const char* name = ::archive_entry_pathname(entry);
    if (!name) continue;
    Entry made;
    const std::string normal = Normal(name);
    if (const char* hard = ::archive_entry_hardlink(entry)) {
      made.link = Normal(hard);
    } else if (const char* soft = ::archive_entry_symlink(entry)) {
      made.link = Normal((fs::path(normal).parent_path() / soft).string());
    } else if (::archive_entry_filetype(entry) == AE_IFREG) {
      made.size = static_cast<std::uint64_t>(::archive_entry_size(entry));
      // What has been read so far are the headers.
      made.offset = static_cast<std::uint64_t>(::archive_filter_bytes(handle.get(), 0));
    } else {
      continue;
    }
    entries_[normal] = std::move(made);
  }
}

const TarFile::Entry* TarFile::Find(std::string name) const {
  name = Normal(name);
  for (int links = 0; links <= kLinksMax; ++links) {
    const auto at = entries_.find(name);
    if (at == entries_.end()) return nullptr;
    if (at->second.link.empty()) return &at->second;
    name = at->second.link;
  }
  return nullptr;
}

const TarFile::Entry& TarFile::Need(const std::string& name) const {
  const Entry* entry = Find(name);
  if (!entry) {
    throw Failure(ErrorKind::kNotFound, path_.string() + " has no file '" + name + "' in it");
  }
  return *entry;
}

std::uint64_t TarFile::Size(const std::string& name) const {
  return Need(name).size;
}

std::unique_ptr<archive::ByteSource> TarFile::Open(const std::string& name) const {
  const Entry& entry = Need(name);
  return std::make_unique<FilePart>(path_, entry.offset, entry.size);
}

}  // namespace pinion::resource
