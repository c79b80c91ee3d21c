#include "worker/containers/container_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

namespace pinion::worker {

Result<std::string> ReadOutput(const std::filesystem::path& folder, OutputStream stream,
                               std::int64_t& offset, std::size_t limit) {
  const auto path = folder / (stream == OutputStream::kStdout ? "stdout" : "stderr");
  const linux::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::unexpected(SystemError("open " + path.string(), errno));
  const off_t data = ::lseek(file.get(), offset, SEEK_DATA);
  if (data > offset) offset = data;
  std::string bytes(limit, '\0');
  const ssize_t count = ::pread(file.get(), bytes.data(), bytes.size(), offset);
  if (count < 0) return std::unexpected(SystemError("read " + path.string(), errno));
  bytes.resize(static_cast<std::size_t>(count));
  return bytes;
}

}  // namespace pinion::worker
