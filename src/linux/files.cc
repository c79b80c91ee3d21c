#include "linux/files.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <cerrno>
#include <cstdio>

namespace pinion::linux {
namespace {

Result<void> WriteAll(int fd, std::string_view content, const std::filesystem::path& path) {
  while (!content.empty()) {
    const ssize_t written = ::write(fd, content.data(), content.size());
    if (written < 0) {
      if (errno == EINTR) continue;
      return std::unexpected(SystemError("write " + path.string(), errno));
    }
    content.remove_prefix(static_cast<std::size_t>(written));
  }
  return {};
}

}  // namespace

Result<void> ReplaceFile(const std::filesystem::path& path, std::string_view content,
                         unsigned mode) {
  const std::string temporary = path.string() + ".new";
  UniqueFd file(::open(temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                       static_cast<mode_t>(mode)));
  if (!file) return std::unexpected(SystemError("open " + temporary, errno));
  if (auto written = WriteAll(file.get(), content, temporary); !written) return written;
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return std::unexpected(SystemError("rename " + temporary, errno));
  }
  return {};
}

Result<void> WriteKernelFile(const std::filesystem::path& path, std::string_view content) {
  const UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!file) return std::unexpected(SystemError("open " + path.string(), errno));
  if (::write(file.get(), content.data(), content.size()) < 0) {
    return std::unexpected(SystemError("write " + path.string(), errno));
  }
  return {};
}

Result<UniqueFd> OpenInRoot(const std::filesystem::path& root, const std::string& path, int flags,
                            mode_t mode) {
  const UniqueFd folder(::open(root.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return std::unexpected(SystemError("open " + root.string(), errno));
  open_how how{};
  how.flags = static_cast<std::uint64_t>(flags | O_CLOEXEC);
  how.mode = mode;
  how.resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
  // The kernel asks to try again when a rename elsewhere raced with the walk.
  for (int attempt = 0; attempt < 16; ++attempt) {
    const long fd = ::syscall(SYS_openat2, folder.get(), path.c_str(), &how, sizeof how);
    if (fd >= 0) return UniqueFd(static_cast<int>(fd));
    if (errno != EAGAIN && errno != EINTR) break;
  }
  return std::unexpected(SystemError("open " + path + " in " + root.string(), errno));
}

Result<std::string> ReadFileInRoot(const std::filesystem::path& root, const std::string& path,
                                   std::size_t limit) {
  // Non-blocking: a FIFO at that place must not hold the thread.
  auto file = OpenInRoot(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
  if (!file) return std::unexpected(std::move(file).error());
  struct stat status{};
  if (::fstat(file->get(), &status) != 0 || !S_ISREG(status.st_mode)) {
    return Fail(ErrorKind::kInvalid, path + " in " + root.string() + " is not a regular file");
  }
  std::string content;
  char buffer[16384];
  while (true) {
    const ssize_t count = ::read(file->get(), buffer, sizeof buffer);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(SystemError("read " + path, errno));
    if (count == 0) return content;
    content.append(buffer, static_cast<std::size_t>(count));
    if (content.size() > limit) {
      return Fail(ErrorKind::kTooLarge,
                  path + " is larger than " + std::to_string(limit) + " bytes");
    }
  }
}

Result<UniqueFd> TryLockFile(const std::filesystem::path& path) {
  UniqueFd file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file) return std::unexpected(SystemError("open " + path.string(), errno));
  if (::flock(file.get(), LOCK_EX | LOCK_NB) == 0) return file;
  if (errno == EWOULDBLOCK) return UniqueFd();
  return std::unexpected(SystemError("lock " + path.string(), errno));
}

}  // namespace pinion::linux
