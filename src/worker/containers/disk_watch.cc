#include "worker/containers/disk_watch.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <set>
#include <vector>

#include "base/text.h"
#include "base/units.h"
#include "linux/fd.h"
#include "worker/containers/bundle.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kDepthMax = 400;
constexpr std::int64_t kBlockBytes = 512;
// A file system without a count of files (btrfs) gets this for its half.
constexpr std::int64_t kFilesWithoutCount = 20'000'000;

using Folder = std::unique_ptr<DIR, decltype(&::closedir)>;

Folder OpenFolder(int parent, const char* name) {
  linux::UniqueFd fd(::openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  DIR* opened = fd ? ::fdopendir(fd.get()) : nullptr;
  if (opened) (void)fd.Release();
  return {opened, &::closedir};
}

/// The folders that a container can write to on disk.
std::vector<fs::path> WritableFolders(const Container& container) {
  std::set<fs::path> folders;
  if (const auto rootfs = RootfsFolder(container.spec())) folders.insert(*rootfs);
  for (const protocol::garden::BindMount& bind : container.spec().bind_mounts) {
    if (bind.mode == 1) folders.insert(bind.src_path);
  }
  return {folders.begin(), folders.end()};
}

bool Over(const DiskUse& use, const DiskUse& limits) {
  return use.bytes > limits.bytes || use.files > limits.files;
}

}  // namespace

DiskUse MeasureDisk(const fs::path& folder, std::int64_t bytes_max, std::int64_t files_max) {
  DiskUse use;
  std::vector<Folder> open;
  open.push_back(OpenFolder(AT_FDCWD, folder.c_str()));
  struct stat status{};
  if (!open[0] || ::fstat(::dirfd(open[0].get()), &status) != 0) return use;
  const dev_t device = status.st_dev;
  while (!open.empty() && use.bytes <= bytes_max && use.files <= files_max) {
    const dirent* entry = ::readdir(open.back().get());
    if (!entry) {
      open.pop_back();
      continue;
    }
    const std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    const int parent = ::dirfd(open.back().get());
    if (::fstatat(parent, entry->d_name, &status, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0 ||
        status.st_dev != device) {
      continue;
    }
    // A file with several names is counted at each by its part.
    const auto names = S_ISDIR(status.st_mode) ? 1 : std::max<nlink_t>(1, status.st_nlink);
    use.bytes += status.st_blocks * kBlockBytes / static_cast<std::int64_t>(names);
    ++use.files;
    if (!S_ISDIR(status.st_mode)) continue;
    if (open.size() >= kDepthMax) {
      use.files = std::max(use.files, files_max + 1);
    } else if (Folder inner = OpenFolder(parent, entry->d_name)) {
      open.push_back(std::move(inner));
    }
  }
  return use;
}

bool DiskWatch::Space::low() const {
  return free.bytes < total.bytes / 20 || (total.files > 0 && free.files < total.files / 20);
}

DiskWatch::DiskWatch(Executor executor, Timers& timers, ThreadPool& pool, Logger log,
                     Containers& containers, DiskWatchOptions options)
    : timers_(timers),
      pool_(pool),
      log_(log),
      containers_(containers),
      options_(std::move(options)),
      tasks_(std::move(executor), log, "disk watch") {}

void DiskWatch::Start() {
  tasks_.Spawn(Watch());
}

Task<void> DiskWatch::Shutdown() {
  tasks_.RequestStop();
  co_await tasks_.Join();
}

Task<void> DiskWatch::Watch() {
  while (true) {
    co_await timers_.Sleep(options_.interval, tasks_.stop_token());
    co_await Look();
  }
}

DiskWatch::Space DiskWatch::SpaceOf(const fs::path& folder) {
  struct statvfs status{};
  if (::statvfs(folder.c_str(), &status) != 0) return {};
  const auto unit = static_cast<std::int64_t>(status.f_frsize);
  return {.total = {.bytes = static_cast<std::int64_t>(status.f_blocks) * unit,
                    .files = static_cast<std::int64_t>(status.f_files)},
          .free = {.bytes = static_cast<std::int64_t>(status.f_bavail) * unit,
                   .files = static_cast<std::int64_t>(status.f_favail)}};
}

DiskUse DiskWatch::Limits(const Space& space) const {
  DiskUse limits{.bytes = options_.bytes_max, .files = options_.files_max};
  if (limits.bytes <= 0) limits.bytes = space.total.bytes / 2;
  if (limits.files <= 0) {
    limits.files = space.total.files > 0 ? space.total.files / 2 : kFilesWithoutCount;
  }
  if (!space.low()) return limits;
  limits.bytes = std::min(limits.bytes, space.total.bytes / 10);
  if (space.total.files > 0) limits.files = std::min(limits.files, space.total.files / 10);
  return limits;
}

bool DiskWatch::WorthMeasuring(const Space& space, const DiskUse& limits) const {
  // One that was ended for a full disk takes some time to go: nobody else has to, meanwhile.
  if (space.low()) return last_ended_.empty() || !StillKnown(last_ended_);
  return std::abs(space.free.bytes - measured_free_.bytes) >= limits.bytes / 8 ||
         std::abs(space.free.files - measured_free_.files) >= limits.files / 8;
}

bool DiskWatch::StillKnown(const std::string& handle) const {
  return containers_.Find(handle).has_value();
}

Task<DiskUse> DiskWatch::Measure(std::shared_ptr<Container> container, DiskUse limits) {
  const std::vector<fs::path> folders = WritableFolders(*container);
  const auto own_files = options_.own_files;
  co_return co_await pool_.Run([folders, own_files, limits] {
    DiskUse sum;
    for (const fs::path& folder : folders) {
      const DiskUse use =
          MeasureDisk(own_files(folder), limits.bytes - sum.bytes, limits.files - sum.files);
      sum.bytes += use.bytes;
      sum.files += use.files;
      if (Over(sum, limits)) break;
    }
    return sum;
  });
}

Task<void> DiskWatch::Look() {
  const Space space = co_await pool_.Run([this] { return SpaceOf(options_.folder); });
  if (space.total.bytes == 0) co_return;
  const DiskUse limits = Limits(space);
  if (!WorthMeasuring(space, limits)) co_return;
  measured_free_ = space.free;
  for (const std::shared_ptr<Container>& container : containers_.Running()) {
    const DiskUse use = co_await Measure(container, limits);
    if (!Over(use, limits) || container->status() != Container::Status::kRunning) continue;
    std::string why = "the container was ended: it has written more than ";
    why += use.files > limits.files
               ? std::to_string(limits.files) + " files, its limit (--worker-container-files"
               : BytesText({limits.bytes >> 20 << 20}) + "B, its limit (--worker-container-disk";
    why += space.low() ? ", less while the worker's disk is nearly full)" : ")";
    log_.Warn("container ended for the disk's sake",
              {{"container", container->handle()}, {"reason", why}});
    last_ended_ = container->handle();
    co_await container->End(std::move(why), tasks_.stop_token());
    if (space.low()) co_return;
  }
}

}  // namespace pinion::worker
