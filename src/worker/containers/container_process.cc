#include "worker/containers/container_process.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

namespace pinion::worker {

Result<std::string> ReadOutput(const std::filesystem::path& folder, OutputStream stream,
                               std::int64_t& offset, std::size_t limit) {
  const auto path = folder / (stream == OutputStream::kStdout ? "stdout" : "stderr");
  const linux::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return std::unexpected(SystemError("open " + path.string(), errno));
  // Discarded bytes read as zeros; the first that are there come instead.
  const off_t data = ::lseek(file.get(), offset, SEEK_DATA);
  if (data > offset) offset = data;
  if (data < 0 && errno == ENXIO) {
    // Nothing but discarded bytes up to the end.
    const off_t end = ::lseek(file.get(), 0, SEEK_END);
    if (end > offset) offset = end;
    return std::string();
  }
  std::string bytes;
  ssize_t count = 0;
  bytes.resize_and_overwrite(limit, [&](char* room, std::size_t size) {
    count = ::pread(file.get(), room, size, offset);
    return static_cast<std::size_t>(std::max<ssize_t>(count, 0));
  });
  if (count < 0) return std::unexpected(SystemError("read " + path.string(), errno));
  return bytes;
}

void DiscardOutput(const std::filesystem::path& folder, OutputStream stream, std::int64_t from,
                   std::int64_t to) {
  const auto path = folder / (stream == OutputStream::kStdout ? "stdout" : "stderr");
  const linux::UniqueFd file(::open(path.c_str(), O_WRONLY | O_CLOEXEC));
  // Where the file system cannot do it, the bytes just stay until the container goes.
  if (file) ::fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from);
}

}  // namespace pinion::worker
