#include "cli/upload.h"

#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <locale.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <set>

#include "archive/codec.h"
#include "archive/pack.h"
#include "archive/tree.h"
#include "base/text.h"
#include "linux/process.h"

namespace pinion::cli {
namespace {

/// What `git ls-files -z` prints with these flags; nothing if git fails or is not there.
std::optional<std::vector<std::string>> ListFiles(const std::filesystem::path& folder,
                                                  std::vector<std::string> flags) {
  std::vector<std::string> arguments{"git", "-C", folder.string(), "ls-files", "-z"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC) != 0) return std::nullopt;
  linux::UniqueFd read_end(ends[0]), write_end(ends[1]);
  const auto child = linux::Spawn({.arguments = arguments, .descriptors = {{write_end.get(), 1}}});
  write_end.Reset();
  if (!child) return std::nullopt;
  std::string text;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(read_end.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  int status = 0;
  while (::waitpid(*child, &status, 0) < 0 && errno == EINTR) {
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) return std::nullopt;
  std::vector<std::string> files;
  for (const std::string_view name : Split(text, '\0')) {
    if (!name.empty()) files.emplace_back(name);
  }
  return files;
}

struct FreeWrite {
  void operator()(::archive* handle) const { ::archive_write_free(handle); }
};
struct FreeEntry {
  void operator()(::archive_entry* entry) const { ::archive_entry_free(entry); }
};

/// Writes chosen files below a folder as a tar stream.
class FileTar {
 public:
  FileTar(std::filesystem::path folder, archive::ByteSink& to)
      : folder_(std::move(folder)), to_(to), handle_(::archive_write_new()) {
    // Names are bytes here; the library wants to know their character set.
    locale_ = ::newlocale(LC_CTYPE_MASK, "C.UTF-8", nullptr);
    if (locale_) before_ = ::uselocale(locale_);
    ::archive_write_set_format_pax_restricted(handle_.get());
    ::archive_write_set_bytes_in_last_block(handle_.get(), 1);
    Check(::archive_write_open(handle_.get(), this, nullptr, &FileTar::Write, nullptr), "");
  }
  FileTar(const FileTar&) = delete;
  FileTar& operator=(const FileTar&) = delete;
  ~FileTar() {
    if (!locale_) return;
    ::uselocale(before_);
    ::freelocale(locale_);
  }

  void Add(const std::string& name) {
    const std::filesystem::path path = folder_ / name;
    struct stat info{};
    if (::lstat(path.c_str(), &info) != 0) {
      throw Failure(SystemError("reading " + path.string(), errno));
    }
    if (!S_ISREG(info.st_mode) && !S_ISLNK(info.st_mode) && !S_ISDIR(info.st_mode)) return;
    const std::unique_ptr<::archive_entry, FreeEntry> entry(::archive_entry_new());
    ::archive_entry_copy_stat(entry.get(), &info);
    ::archive_entry_copy_pathname(entry.get(), name.c_str());
    ::archive_entry_set_nlink(entry.get(), 1);
    if (S_ISLNK(info.st_mode)) {
      ::archive_entry_copy_symlink(entry.get(), std::filesystem::read_symlink(path).c_str());
    }
    if (!S_ISREG(info.st_mode)) ::archive_entry_set_size(entry.get(), 0);
    Check(::archive_write_header(handle_.get(), entry.get()), name);
    if (S_ISREG(info.st_mode)) AddContent(path, static_cast<std::uint64_t>(info.st_size));
    if (!S_ISDIR(info.st_mode)) return;
    // A folder in git's list is another repository: all of it goes along.
    std::vector<std::string> inside;
    for (const auto& found : std::filesystem::directory_iterator(path))
      inside.push_back(found.path().filename().string());
    std::ranges::sort(inside);
    for (const std::string& child : inside)
      Add((std::filesystem::path(name) / child).string());
  }

  void Finish() {
    Check(::archive_write_close(handle_.get()), "");
    to_.Finish();
  }

 private:
  static la_ssize_t Write(::archive* handle, void* data, const void* bytes, std::size_t size) {
    auto* self = static_cast<FileTar*>(data);
    if (self->error_) return ARCHIVE_FATAL;
    try {
      self->to_.Write({static_cast<const char*>(bytes), size});
      return static_cast<la_ssize_t>(size);
    } catch (...) {
      self->error_ = std::current_exception();
      ::archive_set_error(handle, EIO, "the stream broke off");
      return ARCHIVE_FATAL;
    }
  }

  void AddContent(const std::filesystem::path& path, std::uint64_t size) {
    const linux::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW));
    if (!file) throw Failure(SystemError("opening " + path.string(), errno));
    std::array<char, 65536> buffer;
    while (size > 0) {
      const std::size_t want = std::min<std::uint64_t>(size, buffer.size());
      const ssize_t got = ::read(file.get(), buffer.data(), want);
      if (got < 0 && errno == EINTR) continue;
      if (got <= 0) {
        throw Failure(ErrorKind::kConflict, path.string() + " became shorter while it was read");
      }
      if (::archive_write_data(handle_.get(), buffer.data(), static_cast<std::size_t>(got)) < 0) {
        Check(ARCHIVE_FATAL, path.string());
      }
      size -= static_cast<std::uint64_t>(got);
    }
  }

  void Check(int status, const std::string& name) {
    if (error_) std::rethrow_exception(error_);
    if (status == ARCHIVE_OK || status == ARCHIVE_WARN) return;
    const char* text = ::archive_error_string(handle_.get());
    throw Failure(ErrorKind::kInternal, "packing " + name + ": " + (text ? text : "no reason"));
  }

  std::filesystem::path folder_;
  archive::ByteSink& to_;
  std::exception_ptr error_;
  std::unique_ptr<::archive, FreeWrite> handle_;
  locale_t locale_{};
  locale_t before_{};
};

}  // namespace

std::optional<std::vector<std::string>> GitFiles(const std::filesystem::path& folder) {
  const auto tracked = ListFiles(folder, {});
  const auto deleted = ListFiles(folder, {"--deleted"});
  const auto untracked = ListFiles(folder, {"--others", "--exclude-standard"});
  if (!tracked || !deleted || !untracked) return std::nullopt;
  std::set<std::string> files(tracked->begin(), tracked->end());
  for (const std::string& gone : *deleted)
    files.erase(gone);
  files.insert(untracked->begin(), untracked->end());
  return std::vector<std::string>(files.begin(), files.end());
}

void PackFolder(const std::filesystem::path& folder, bool all, archive::ByteSink& to) {
  const auto encoder = archive::MakeEncoder(to, archive::Encoding::kGzip);
  const auto files = all ? std::nullopt : GitFiles(folder);
  if (!files) {
    const auto root = archive::OpenFolder(folder);
    archive::Pack(root.get(), "", *encoder, {});
    return;
  }
  FileTar tar(folder, *encoder);
  for (const std::string& file : *files)
    tar.Add(file);
  tar.Finish();
}

}  // namespace pinion::cli
