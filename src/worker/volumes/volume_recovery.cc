#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <set>

#include "archive/tree.h"
#include "base/files.h"
#include "base/text.h"
#include "linux/files.h"
#include "worker/volumes/volume_record.h"

namespace pinion::worker {

namespace fs = std::filesystem;

namespace {

/// state.json of the folder: what must not change under volumes that are mounted.
struct SavedState {
  std::string boot_id;
  bool map_ids = true;
  bool clean = false;  ///< everything is on disk
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("boot_id", self.boot_id);
    visit("map_ids", self.map_ids);
    visit("clean", self.clean);
  }
};

/// What was found on disk, for the loop to take up.
struct Found {
  std::map<std::string, SavedVolume> volumes;
  std::vector<std::string> layers;
  std::vector<std::string> dead;
  std::vector<std::string> notes;
};

void MakeFolder(const fs::path& path, mode_t mode) {
  if (::mkdir(path.c_str(), mode) != 0 && errno != EEXIST) {
    throw Failure(SystemError("make " + path.string(), errno));
  }
  if (::chmod(path.c_str(), mode) != 0) {
    throw Failure(SystemError("chmod " + path.string(), errno));
  }
}

std::vector<std::string> Names(const fs::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder))
    names.push_back(entry.path().filename());
  return names;
}

void MoveToDead(const fs::path& folder, const std::string& kind, const std::string& name,
                Found& found) {
  const std::string dead = FreshName(name);
  if (kind == "live") {
    ValueOrThrow(Unmount(folder / "live" / name / "volume"));
  }
  if (::rename((folder / kind / name).c_str(), (folder / "dead" / dead).c_str()) != 0) {
    throw Failure(SystemError("put away " + (folder / kind / name).string(), errno));
  }
  found.dead.push_back(dead);
}

void ReadVolumes(const fs::path& folder, Found& found) {
  for (const std::string& name : Names(folder / "live")) {
    auto text = ReadFile(folder / "live" / name / "volume.json", 1 << 20);
    auto saved = text ? FromText<SavedVolume>(*text) : std::unexpected(text.error());
    if (saved) {
      found.volumes.emplace(name, std::move(*saved));
    } else {
      found.notes.push_back("volume " + name + " is removed: " + saved.error().message);
      MoveToDead(folder, "live", name, found);
    }
  }
  // A volume whose layers are gone is of no use, nor are those made from it.
  for (bool again = true; again;) {
    again = false;
    for (auto at = found.volumes.begin(); at != found.volumes.end();) {
      const auto& saved = at->second;
      std::string missing;
      if (!saved.parent.empty() && !found.volumes.contains(saved.parent)) missing = saved.parent;
      for (const std::string& lower : saved.lowers) {
        if (!fs::is_directory(fs::symlink_status(folder / lower))) missing = lower;
      }
      if (missing.empty()) {
        ++at;
        continue;
      }
      found.notes.push_back("volume " + at->first + " is removed: " + missing + " is missing");
      MoveToDead(folder, "live", at->first, found);
      at = found.volumes.erase(at);
      again = true;
    }
  }
}

void MountMissing(const VolumeStoreOptions& options, Found& found) {
  for (auto at = found.volumes.begin(); at != found.volumes.end();) {
    const fs::path live = LiveFolder(options.folder, at->first);
    if (IsMountPoint(live / "volume")) {
      ++at;
      continue;
    }
    for (const std::string& name : Names(live / "layer")) {
      if (name.starts_with("work")) archive::RemoveTree(live / "layer" / name);
    }
    auto mounted = MountVolume(options, at->first, at->second);
    if (mounted) {
      ++at;
      continue;
    }
    found.notes.push_back("volume " + at->first + " is removed: " + mounted.error().message);
    MoveToDead(options.folder, "live", at->first, found);
    at = found.volumes.erase(at);
  }
}

// The whole of what blocks at the start.
Found ReadFolder(const VolumeStoreOptions& options) {
  const fs::path& folder = options.folder;
  if (::geteuid() != 0) {
    throw Failure(ErrorKind::kForbidden, "volumes need root: start the worker as root");
  }
  ValueOrThrow(MakePrivateMount(folder));
  // Runtimes in a user namespace walk to a volume as nobody: they may pass, but not look around.
  MakeFolder(folder, 0711);
  for (const char* name : {"init", "shared", "dead"})
    MakeFolder(folder / name, 0700);
  // While the view is mounted, its mode is that of the whole folder.
  if (!IsMountPoint(folder / "mapped")) MakeFolder(folder / "mapped", 0700);
  MakeFolder(folder / "live", 0711);
  Found found;
  SavedState before;
  bool known = false;
  if (auto text = ReadFile(folder / "state.json")) {
    if (auto state = FromText<SavedState>(*text)) {
      before = *state;
      known = true;
    }
  }
  const bool rebooted = known && before.boot_id != options.boot_id;
  if (known && before.map_ids != options.map_ids) {
    for (const std::string& name : Names(folder / "live")) {
      ValueOrThrow(Unmount(folder / "live" / name / "volume"));
    }
  }
  if (rebooted && !before.clean) {
    found.notes.push_back(
        "the machine went down while volumes were in use: files may be incomplete, all are "
        "removed");
    for (const std::string& name : Names(folder / "live"))
      MoveToDead(folder, "live", name, found);
    for (const std::string& name : Names(folder / "shared")) {
      MoveToDead(folder, "shared", name, found);
    }
  }
  const SavedState now{options.boot_id, options.map_ids, false};
  ValueOrThrow(WriteFile(folder / "state.json", ToText(ToJson(now)), 0600));
  for (const std::string& name : Names(folder / "dead")) {
    if (std::find(found.dead.begin(), found.dead.end(), name) == found.dead.end()) {
      found.dead.push_back(name);
    }
  }
  for (const std::string& name : Names(folder / "init"))
    MoveToDead(folder, "init", name, found);
  if (options.map_ids) ValueOrThrow(MakeMappedView(folder, folder / "mapped"));
  ReadVolumes(folder, found);
  MountMissing(options, found);
  found.layers = Names(folder / "shared");
  return found;
}

}  // namespace

VolumeStore::VolumeStore(Executor executor, Timers& timers, Logger log, VolumeStoreOptions options)
    : executor_(executor),
      timers_(timers),
      log_(log),
      options_(std::move(options)),
      stream_slots_(options_.streams_max),
      removal_slots_(2),
      disk_("volumes", 4, 4096),
      streams_("volume-streams", options_.streams_max, 64),
      tasks_(executor, log, "volumes") {}

VolumeStore::~VolumeStore() = default;

Task<std::unique_ptr<VolumeStore>> VolumeStore::Open(Executor executor, Timers& timers, Logger log,
                                                     VolumeStoreOptions options) {
  std::error_code failed;
  fs::create_directories(options.folder, failed);
  if (failed) {
    throw Failure(SystemError("make " + options.folder.string(), failed.value()));
  }
  options.folder = fs::canonical(options.folder);
  if (options.boot_id.empty()) {
    options.boot_id = Trim(ValueOrThrow(ReadFile("/proc/sys/kernel/random/boot_id")));
  }
  std::unique_ptr<VolumeStore> store(
      new VolumeStore(executor, timers, std::move(log), std::move(options)));
  co_await store->Recover();
  co_return store;
}

Task<void> VolumeStore::Recover() {
  const fs::path& folder = options_.folder;
  auto lock = ValueOrThrow(linux::TryLockFile(folder / "lock"));
  if (!lock) {
    throw Failure(ErrorKind::kConflict, "another process uses the volumes of " + folder.string());
  }
  lock_ = std::move(lock);
  auto read = [this]() -> Result<Found> {
    try {
      return ReadFolder(options_);
    } catch (...) {
      return std::unexpected(CurrentError());
    }
  };
  auto outcome = co_await disk_.Run(std::move(read));
  if (!outcome) {
    throw Failure(std::move(outcome).error().Context("open the volumes of " + folder.string()));
  }
  const Found found = std::move(*outcome);
  for (const std::string& note : found.notes)
    log_.Warn("recovering volumes", {{"note", note}});
  for (const std::string& name : found.layers) {
    layers_.emplace(name, std::make_unique<LayerRecord>());
  }
  for (const auto& [handle, saved] : found.volumes) {
    auto record = std::make_shared<Record>();
    record->handle = handle;
    record->saved = saved;
    TakeUp(handle, std::move(record));
  }
  for (const auto& [name, layer] : layers_) {
    if (layer->users == 0) tasks_.Spawn(CollectLayer(name, layer->use));
  }
  for (const std::string& dead : found.dead)
    RemoveLater(dead);
  log_.Info("volumes are open", {{"volumes", static_cast<long>(volumes_.size())},
                                 {"layers", static_cast<long>(layers_.size())},
                                 {"removing", static_cast<long>(found.dead.size())}});
}

void VolumeStore::TakeUp(const std::string& handle, RecordPointer record) {
  for (const std::string& layer : record->saved.layers) {
    if (const auto at = layers_.find(layer); at != layers_.end()) ++at->second->users;
  }
  volumes_.emplace(handle, record);
  // Order of names is not order of birth: count from the child's side once all are known.
  if (const auto parent = volumes_.find(record->saved.parent); parent != volumes_.end()) {
    ++parent->second->children;
  }
  for (const auto& [other, candidate] : volumes_) {
    if (other != handle && candidate->saved.parent == handle) ++record->children;
  }
}

Task<void> VolumeStore::Close() {
  tasks_.RequestStop();
  for (const auto& [handle, record] : volumes_)
    record->streams_stop.request_stop();
  co_await tasks_.Join();
  auto finish = [this]() -> Result<void> {
    const linux::UniqueFd folder(
        ::open(options_.folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder || ::syncfs(folder.get()) != 0) {
      return std::unexpected(SystemError("sync " + options_.folder.string(), errno));
    }
    const SavedState state{options_.boot_id, options_.map_ids, true};
    return WriteFile(options_.folder / "state.json", ToText(ToJson(state)), 0600);
  };
  if (auto finished = co_await disk_.Run(std::move(finish)); !finished) {
    log_.Warn("closing volumes", {{"error", finished.error().message}});
  }
}

void VolumeStore::UnmountAll(const fs::path& folder) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(folder / "live", ignored)) {
    (void)Unmount(entry.path() / "volume");
  }
  (void)Unmount(folder / "mapped");
  (void)Unmount(folder);
}

}  // namespace pinion::worker
