#include "base/files.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>

#include "base/encoding.h"

namespace pinion {
namespace {

struct Fd {
  int value;
  ~Fd() {
    if (value >= 0) ::close(value);
  }
};

}  // namespace

Result<std::string> ReadFile(const std::filesystem::path& path, std::size_t limit) {
  const Fd fd{::open(path.c_str(), O_RDONLY | O_CLOEXEC)};
  if (fd.value < 0) return std::unexpected(SystemError("open " + path.string(), errno));
  std::string content;
  std::array<char, 65536> buffer;
  for (;;) {
    const ssize_t got = ::read(fd.value, buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return std::unexpected(SystemError("read " + path.string(), errno));
    if (got == 0) return content;
    content.append(buffer.data(), static_cast<std::size_t>(got));
    if (content.size() > limit) {
      return Fail(ErrorKind::kTooLarge,
                  path.string() + " is over the limit of " + std::to_string(limit) + " bytes");
    }
  }
}

Result<void> WriteFile(const std::filesystem::path& path, std::string_view content, unsigned mode) {
  const std::string temporary = path.string() + ".new-" + ToHex(RandomBytes(4));
  const auto fail = [&](std::string_view what) -> Result<void> {
    const Error error = SystemError(std::string(what) + " " + temporary, errno);
    ::unlink(temporary.c_str());
    return std::unexpected(error);
  };
  {
    const Fd fd{::open(temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode)};
    if (fd.value < 0) return fail("create");
    while (!content.empty()) {
      const ssize_t written = ::write(fd.value, content.data(), content.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return fail("write");
      content.remove_prefix(static_cast<std::size_t>(written));
    }
    if (::fchmod(fd.value, mode) != 0) return fail("chmod");  // umask must not decide
    if (::fsync(fd.value) != 0) return fail("sync");
  }
  if (::rename(temporary.c_str(), path.c_str()) != 0) return fail("rename");
  const auto parent = path.has_parent_path() ? path.parent_path() : std::filesystem::path(".");
  const Fd folder{::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
  if (folder.value >= 0) ::fsync(folder.value);
  return {};
}

TemporaryFolder::TemporaryFolder(std::string_view prefix) {
  std::string name = std::filesystem::temp_directory_path() / (std::string(prefix) + "-XXXXXX");
  if (!::mkdtemp(name.data())) throw Failure(SystemError("mkdtemp " + name, errno));
  path_ = name;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace pinion
