#include "worker/containers/supervisor_program.h"

#include <sys/stat.h>

#include <cerrno>
#include <string_view>

#include "base/encoding.h"
#include "linux/files.h"

extern "C" const unsigned char pinion_supervisor_begin[];
extern "C" const unsigned char pinion_supervisor_end[];

namespace pinion::worker {

namespace fs = std::filesystem;

Result<void> MakePassableFolder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return std::unexpected(SystemError("make folder " + path.string(), error.value()));
  if (::chmod(path.c_str(), 0711) != 0) {
    return std::unexpected(SystemError("chmod " + path.string(), errno));
  }
  return {};
}

Result<fs::path> InstallSupervisor(const fs::path& work_dir) {
  const std::string_view program(
      reinterpret_cast<const char*>(pinion_supervisor_begin),
      static_cast<std::size_t>(pinion_supervisor_end - pinion_supervisor_begin));
  for (const fs::path& folder : {work_dir, work_dir / "run"}) {
    if (auto made = MakePassableFolder(folder); !made) return std::unexpected(made.error());
  }
  // A program that runs cannot be written to, and older ones may still run: a name per content.
  const fs::path path = work_dir / "run" / ("supervisor-" + ToHex(Sha256(program)).substr(0, 16));
  std::error_code error;
  if (fs::exists(path, error)) return path;
  if (auto written = linux::ReplaceFile(path, program, 0700); !written) {
    return std::unexpected(written.error());
  }
  if (::chmod(path.c_str(), 0755) != 0) {
    return std::unexpected(SystemError("chmod " + path.string(), errno));
  }
  return path;
}

}  // namespace pinion::worker
