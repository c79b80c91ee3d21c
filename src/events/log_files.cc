#include "events/log_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

namespace pinion::events {
namespace {

[[noreturn]] void Throw(std::string_view action, const std::filesystem::path& path) {
  const int cause = errno;
  throw Failure(ErrorKind::kUnavailable,
                SystemError(std::string(action) + " " + path.string(), cause).message);
}

class SystemLogFile final : public LogFile {
 public:
  SystemLogFile(int fd, std::filesystem::path path) : fd_(fd), path_(std::move(path)) {}
  SystemLogFile(const SystemLogFile&) = delete;
  SystemLogFile& operator=(const SystemLogFile&) = delete;
  ~SystemLogFile() override { ::close(fd_); }

  void WriteAt(std::uint64_t offset, std::string_view bytes) override {
    while (!bytes.empty()) {
      const ssize_t count = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
      if (count < 0) {
        if (errno == EINTR) continue;
        Throw("write", path_);
      }
      bytes.remove_prefix(static_cast<std::size_t>(count));
      offset += static_cast<std::uint64_t>(count);
    }
  }

  std::string ReadAt(std::uint64_t offset, std::size_t length) override {
    std::string bytes;
    // The length may come from a damaged header: no more is taken than the file can give.
    const std::uint64_t size = Size();
    if (offset >= size) return bytes;
    bytes.resize(static_cast<std::size_t>(std::min<std::uint64_t>(length, size - offset)));
    std::size_t filled = 0;
    while (filled < bytes.size()) {
      const ssize_t count = ::pread(fd_, bytes.data() + filled, bytes.size() - filled,
                                    static_cast<off_t>(offset + filled));
      if (count < 0) {
        if (errno == EINTR) continue;
        Throw("read", path_);
      }
      if (count == 0) break;
      filled += static_cast<std::size_t>(count);
    }
    bytes.resize(filled);
    return bytes;
  }

  std::uint64_t Size() override {
    struct stat status{};
    if (::fstat(fd_, &status) != 0) Throw("stat", path_);
    return static_cast<std::uint64_t>(status.st_size);
  }

  void Truncate(std::uint64_t size) override {
    while (::ftruncate(fd_, static_cast<off_t>(size)) != 0) {
      if (errno != EINTR) Throw("truncate", path_);
    }
  }

  void Sync() override {
    if (::fdatasync(fd_) != 0) Throw("sync", path_);
  }

 private:
  int fd_;
  std::filesystem::path path_;
};

void SyncOne(const std::filesystem::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) Throw("open", folder);
  const int result = ::fsync(fd);
  const int cause = errno;
  ::close(fd);
  errno = cause;
  if (result != 0) Throw("sync", folder);
}

class SystemLogFiles final : public LogFiles {
 public:
  std::shared_ptr<LogFile> Open(const std::filesystem::path& path, bool create) override {
    int fd = TryOpen(path, create);
    if (fd < 0 && errno == ENOENT && create) {
      std::error_code error;
      std::filesystem::create_directories(path.parent_path(), error);
      if (error) {
        errno = error.value();
        Throw("create", path.parent_path());
      }
      fd = TryOpen(path, create);
    }
    if (fd < 0 && errno == ENOENT && !create) return nullptr;
    if (fd < 0) Throw("open", path);
    return std::make_shared<SystemLogFile>(fd, path);
  }

  std::vector<std::string> List(const std::filesystem::path& folder) override {
    std::vector<std::string> names;
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator(folder, error))
      names.push_back(entry.path().filename());
    if (error && error != std::errc::no_such_file_or_directory) {
      errno = error.value();
      Throw("list", folder);
    }
    return names;
  }

  void Rename(const std::filesystem::path& from, const std::filesystem::path& to) override {
    if (::rename(from.c_str(), to.c_str()) != 0) Throw("rename", from);
  }

  void Remove(const std::filesystem::path& path) override {
    if (::unlink(path.c_str()) != 0 && errno != ENOENT) Throw("remove", path);
  }

  void SyncFolder(const std::filesystem::path& folder) override {
    SyncOne(folder);
    SyncOne(folder.parent_path());
  }

 private:
  static int TryOpen(const std::filesystem::path& path, bool create) {
    // A reader's store may lie on a read-only file system.
    const int fd = ::open(path.c_str(), O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0644);
    if (fd >= 0 || create || (errno != EROFS && errno != EACCES)) return fd;
    return ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  }
};

}  // namespace

std::shared_ptr<LogFiles> MakeSystemLogFiles() {
  return std::make_shared<SystemLogFiles>();
}

}  // namespace pinion::events
