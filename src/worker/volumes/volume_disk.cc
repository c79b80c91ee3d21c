#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <thread>

#include "archive/pack.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "base/encoding.h"
#include "linux/files.h"
#include "worker/volumes/volume_record.h"

namespace pinion::worker {

namespace fs = std::filesystem;

ContentPlace PlaceOf(const VolumeStoreOptions& options, const std::string& handle,
                     const SavedVolume& saved) {
  ContentPlace place;
  place.id_count = options.map_ids ? kIdCount : 0xffffffffU;
  if (saved.lowers.empty()) {
    place.root = options.folder / UpperOf(handle);
    return place;
  }
  place.root = LiveFolder(options.folder, handle) / "volume";
  if (options.map_ids && !saved.privileged) place.id_offset = kHostIdBase;
  return place;
}

std::string FreshName(std::string_view prefix) {
  return std::string(prefix.substr(0, 100)) + "-" + ToHex(RandomBytes(8));
}

Result<void> CheckHandle(std::string_view handle) {
  const auto bad = [](char c) {
    return c == '/' || static_cast<unsigned char>(c) < 0x20 || c == 0x7f;
  };
  if (handle.empty() || handle.size() > 200 || handle.starts_with('.') ||
      std::any_of(handle.begin(), handle.end(), bad)) {
    return Fail(ErrorKind::kInvalid,
                "a volume's handle is 1 to 200 characters without '/' and control characters, and "
                "does not begin with '.'");
  }
  return {};
}

Result<void> SaveVolume(const fs::path& live_folder, const SavedVolume& saved) {
  return linux::ReplaceFile(live_folder / "volume.json", ToText(ToJson(saved)));
}

namespace {

// A work folder that no mount has used: an overlay refuses one that a "volatile" mount left behind,
// and one that a container's copy of the mount still uses must not be touched.
Result<fs::path> FreshWorkFolder(const fs::path& layer) {
  for (int number = 0;; ++number) {
    fs::path work = layer / ("work" + std::to_string(number));
    if (::mkdir(work.c_str(), 0700) == 0) return work.filename();
    if (errno != EEXIST) return std::unexpected(SystemError("make " + work.string(), errno));
  }
}

}  // namespace

Result<void> MountVolume(const VolumeStoreOptions& options, const std::string& handle,
                         const SavedVolume& saved) {
  const bool mapped = options.map_ids && !saved.privileged;
  const fs::path base = mapped ? options.folder / "mapped" : options.folder;
  const fs::path live = LiveFolder(options.folder, handle);
  const fs::path target = live / "volume";
  // Content of a privileged volume can be set-user-id for the host's real users: only root may
  // pass.
  if (::chmod(live.c_str(), mapped ? 0711 : 0700) != 0) {
    return std::unexpected(SystemError("chmod " + live.string(), errno));
  }
  if (saved.lowers.empty()) return MountFolder(base / UpperOf(handle), target);
  auto work = FreshWorkFolder(live / "layer");
  if (!work) return std::unexpected(std::move(work).error());
  OverlaySpec spec;
  for (const std::string& lower : saved.lowers)
    spec.lowers.push_back(base / lower);
  spec.upper = base / UpperOf(handle);
  spec.work = base / "live" / handle / "layer" / *work;
  const MappedCredentials credentials(mapped);
  return MountOverlay(spec, target);
}

fs::path VolumeStore::OwnFiles(const fs::path& mounted) {
  fs::path upper = mounted.parent_path() / "layer" / "upper";
  std::error_code error;
  return mounted.filename() == "volume" && fs::is_directory(upper, error) ? upper : mounted;
}

void CopyContent(const ContentPlace& from, bool follow_links, int to, std::stop_token stop) {
  archive::BytePipe pipe;
  // Either side's end frees the other: a failure goes through the pipe.
  std::exception_ptr error;
  std::thread packer([&] {
    try {
      const MappedCredentials credentials(from.id_offset != 0);
      archive::PackOptions options;
      options.id_offset = from.id_offset;
      options.follow_links = follow_links;
      archive::Pack(archive::OpenFolder(from.root).get(), "", pipe.sink(), options, stop);
    } catch (...) {
      pipe.Fail(std::current_exception());
    }
  });
  try {
    archive::UnpackOptions options;
    options.devices = archive::UnpackOptions::Devices::kSkip;
    if (from.id_count != 0) options.id_count = from.id_count;
    archive::Unpack(pipe.source(), to, options, stop);
    archive::Drain(pipe.source(), 1 << 20);
  } catch (...) {
    error = std::current_exception();
    pipe.Fail(error);
  }
  packer.join();
  if (error) std::rethrow_exception(error);
}

Error WithSpace(Error error, const fs::path& folder) {
  if (error.kind != ErrorKind::kUnavailable ||
      error.message.find("No space left") == std::string::npos) {
    return error;
  }
  struct statvfs space{};
  if (::statvfs(folder.c_str(), &space) != 0) return error;
  error.message += " (" + folder.string() + ": " +
                   std::to_string(space.f_bavail * space.f_frsize >> 20) + " MB and " +
                   std::to_string(space.f_favail) +
                   " files free; destroy volumes or enlarge the worker's disk)";
  return error;
}

}  // namespace pinion::worker
