#include "worker/volumes/volume_store.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "archive/tree.h"
#include "base/encoding.h"
#include "worker/volumes/volume_record.h"

namespace pinion::worker {

namespace fs = std::filesystem;
using protocol::baggageclaim::Volume;
using protocol::baggageclaim::VolumeRequest;

LayerHold& LayerHold::operator=(LayerHold&& other) noexcept {
  if (this != &other) {
    if (store_) store_->Release(name_);
    store_ = std::exchange(other.store_, nullptr);
    name_ = std::move(other.name_);
  }
  return *this;
}

LayerHold::~LayerHold() {
  if (store_) store_->Release(name_);
}

void VolumeStore::AddStrategy(std::string type, VolumeStrategy strategy) {
  strategies_[std::move(type)] = std::move(strategy);
}

bool VolumeStore::HasStrategy(std::string_view type) const {
  return type == "empty" || type == "cow" || type == "import" || strategies_.contains(type);
}

Result<void> VolumeStore::CheckRequest(const VolumeRequest& request) const {
  if (!request.handle.empty()) {
    if (auto checked = CheckHandle(request.handle); !checked) return checked;
  }
  const std::string_view type = request.strategy.StringAt("type");
  if (type.empty()) return Fail(ErrorKind::kInvalid, "the volume's strategy has no type");
  if (!HasStrategy(type)) {
    return Fail(ErrorKind::kInvalid,
                "unknown volume strategy '" + std::string(type.substr(0, 64)) + "'");
  }
  if (type == "cow") {
    const std::string parent(request.strategy.StringAt("volume"));
    if (parent.empty()) return Fail(ErrorKind::kInvalid, "no parent volume is given");
    if (!Find(parent)) {
      return Fail(ErrorKind::kNotFound, "parent volume '" + parent + "' does not exist");
    }
  }
  for (const auto& id : {request.uid, request.gid}) {
    if (id && (*id < 0 || *id >= kIdCount)) {
      return Fail(ErrorKind::kInvalid,
                  "the owner's id must be from 0 to " + std::to_string(kIdCount - 1));
    }
  }
  if (type == "import" && !request.strategy.StringAt("path").starts_with('/')) {
    return Fail(ErrorKind::kInvalid, "the path to import must be absolute");
  }
  return {};
}

Volume VolumeStore::Describe(const Record& record) const {
  return {record.handle, (LiveFolder(options_.folder, record.handle) / "volume").string(),
          record.saved.properties, record.saved.privileged};
}

VolumeStore::RecordPointer VolumeStore::Get(const std::string& handle) const {
  const auto at = volumes_.find(handle);
  if (at == volumes_.end() || at->second->destroying) {
    throw Failure(ErrorKind::kNotFound, "volume '" + handle.substr(0, 200) + "' does not exist");
  }
  return at->second;
}

std::optional<Volume> VolumeStore::Find(const std::string& handle) const {
  const auto at = volumes_.find(handle);
  if (at == volumes_.end() || at->second->destroying) return std::nullopt;
  return Describe(*at->second);
}

std::vector<Volume> VolumeStore::List(const std::map<std::string, std::string>& properties) const {
  std::vector<Volume> list;
  for (const auto& [handle, record] : volumes_) {
    if (record->destroying) continue;
    const auto& own = record->saved.properties;
    const bool all = std::all_of(properties.begin(), properties.end(), [&](const auto& wanted) {
      const auto at = own.find(wanted.first);
      return at != own.end() && at->second == wanted.second;
    });
    if (all) list.push_back(Describe(*record));
  }
  return list;
}

Task<Volume> VolumeStore::Create(VolumeRequest request, ProgressReport progress,
                                 std::stop_token stop) {
  if (request.handle.empty()) request.handle = RandomUuid();
  const std::string handle = request.handle;
  for (;;) {
    if (auto existing = Find(handle)) co_return *existing;
    const auto other = creating_.find(handle);
    if (other == creating_.end()) break;
    const std::shared_ptr<Event> done = other->second;
    co_await done->Wait(stop);
  }
  if (volumes_.contains(handle)) {
    throw Failure(ErrorKind::kConflict, "volume '" + handle + "' is being destroyed");
  }
  ValueOrThrow(CheckRequest(request));
  const auto done = std::make_shared<Event>();
  creating_[handle] = done;
  std::exception_ptr error;
  try {
    co_await CreateNew(std::move(request), std::move(progress), stop);
  } catch (...) {
    error = std::current_exception();
  }
  creating_.erase(handle);
  done->Set();
  if (error) {
    try {
      std::rethrow_exception(error);
    } catch (const Failure& failure) {
      throw Failure(WithSpace(failure.error(), options_.folder));
    }
  }
  co_return Describe(*Get(handle));
}

Task<void> VolumeStore::CreateNew(VolumeRequest request, ProgressReport progress,
                                  std::stop_token stop) {
  auto record = std::make_shared<Record>();
  record->handle = request.handle;
  record->saved.properties = request.properties;
  record->saved.privileged = request.privileged;
  record->uid = request.uid;
  record->gid = request.gid;
  const std::string type(request.strategy.StringAt("type"));
  if (type == "cow") {
    const RecordPointer parent = Get(std::string(request.strategy.StringAt("volume")));
    record->saved.parent = parent->handle;
    record->saved.lowers.push_back(UpperOf(parent->handle));
    for (const std::string& lower : parent->saved.lowers)
      record->saved.lowers.push_back(lower);
    const bool flat = record->saved.lowers.size() > options_.lowers_max;
    ++parent->children;  // it must not go away meanwhile
    std::exception_ptr error;
    try {
      co_await Place(record, {}, flat, stop);
    } catch (...) {
      error = std::current_exception();
    }
    if (error || flat) --parent->children;
    if (error) std::rethrow_exception(error);
    co_return;
  }
  VolumeContent content;
  if (type == "import") {
    content = co_await PrepareImport(request.strategy, stop);
  } else if (type != "empty") {
    content = co_await strategies_.find(type)->second(request.strategy, std::move(progress), stop);
  }
  co_await Place(record, std::move(content), false, stop);
}

namespace {

// The root of an overlay shows its upper folder: it must be as open as the root below is.
void TakeOverRoot(const fs::path& lower, int upper) {
  struct stat info{};
  if (::stat(lower.c_str(), &info) != 0) throw Failure(SystemError("look at a layer", errno));
  if (::fchmod(upper, info.st_mode & 07777) != 0) {
    throw Failure(SystemError("set the mode of the volume's root", errno));
  }
}

/// Gives all that a mounted volume shows to one owner. What is his already is not copied up.
void GiveTo(const fs::path& folder, uid_t uid, gid_t gid, std::stop_token stop) {
  for (const fs::directory_entry& entry : fs::recursive_directory_iterator(folder)) {
    ThrowIfStopped(stop);
    struct stat info{};
    if (::lstat(entry.path().c_str(), &info) != 0) {
      throw Failure(SystemError("look at " + entry.path().string(), errno));
    }
    if (info.st_uid == uid && info.st_gid == gid) continue;
    if (::lchown(entry.path().c_str(), uid, gid) != 0) {
      throw Failure(SystemError("set the owner of " + entry.path().string(), errno));
    }
  }
}

void MakeInitFolder(const VolumeStoreOptions& options, const fs::path& init,
                    const SavedVolume& saved, const std::map<std::string, std::string>& files) {
  const auto make = [](const fs::path& path, mode_t mode) {
    if (::mkdir(path.c_str(), mode) != 0 || ::chmod(path.c_str(), mode) != 0) {
      throw Failure(SystemError("make " + path.string(), errno));
    }
  };
  make(init, 0711);
  make(init / "layer", 0700);
  make(init / "layer/upper", 0755);
  make(init / "volume", 0755);
  const linux::UniqueFd upper = archive::OpenFolder(init / "layer/upper");
  if (!saved.lowers.empty()) TakeOverRoot(options.folder / saved.lowers.front(), upper.get());
  for (const auto& [name, text] : files) {
    const linux::UniqueFd file(
        ::openat(upper.get(), name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
    if (!file ||
        ::write(file.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size()) ||
        ::fchmod(file.get(), 0644) != 0) {
      throw Failure(SystemError("write the volume's file " + name, errno));
    }
  }
}

}  // namespace

Task<void> VolumeStore::Place(RecordPointer record, VolumeContent content, bool flat,
                              std::stop_token stop) {
  for (const LayerHold& layer : content.layers) {
    record->saved.layers.push_back(layer.name());
    record->saved.lowers.push_back("shared/" + layer.name());
  }
  if (record->saved.lowers.size() > options_.lowers_max && !flat) {
    throw Failure(ErrorKind::kTooLarge,
                  "the volume has " + std::to_string(record->saved.lowers.size()) +
                      " layers, more than " + std::to_string(options_.lowers_max));
  }
  std::optional<ContentPlace> copied;
  if (flat) {
    const RecordPointer parent = Get(record->saved.parent);
    copied = PlaceOf(options_, parent->handle, parent->saved);
    record->saved.parent.clear();
    record->saved.lowers.clear();
  }
  const std::string name = FreshName(record->handle);
  const fs::path init = options_.folder / "init" / name;
  const fs::path live = LiveFolder(options_.folder, record->handle);
  const fs::path dead = options_.folder / "dead" / name;
  auto work = [&]() -> Result<void> {
    fs::path at = init;
    try {
      MakeInitFolder(options_, init, record->saved, content.files);
      const linux::UniqueFd upper = archive::OpenFolder(init / "layer/upper");
      if (copied) CopyContent(*copied, false, upper.get(), stop);
      const uid_t keep = -1;
      if (::fchown(upper.get(), record->uid ? static_cast<uid_t>(*record->uid) : keep,
                   record->gid ? static_cast<gid_t>(*record->gid) : keep) != 0) {
        throw Failure(SystemError("set the owner of the volume's root", errno));
      }
      ValueOrThrow(SaveVolume(init, record->saved));
      ThrowIfStopped(stop);
      if (::rename(init.c_str(), live.c_str()) != 0) {
        throw Failure(SystemError("make " + live.string(), errno));
      }
      at = live;
      ValueOrThrow(MountVolume(options_, record->handle, record->saved));
      if (record->uid && record->gid && (copied || !record->saved.lowers.empty())) {
        const std::uint32_t base = options_.map_ids && !record->saved.privileged ? kHostIdBase : 0;
        GiveTo(live / "volume", base + static_cast<uid_t>(*record->uid),
               base + static_cast<gid_t>(*record->gid), stop);
      }
      return {};
    } catch (...) {
      ::rename(at.c_str(), dead.c_str());
      throw;
    }
  };
  std::exception_ptr error;
  try {
    if (copied) {
      const Semaphore::Permit slot = co_await stream_slots_.Acquire(stop);
      ValueOrThrow(co_await streams_.Run(work));
    } else {
      ValueOrThrow(co_await disk_.Run(work));
    }
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    RemoveLater(name);
    std::rethrow_exception(error);
  }
  // The record takes over what held the layers so far.
  for (const std::string& layer : record->saved.layers)
    ++layers_.at(layer)->users;
  volumes_.emplace(record->handle, record);
}

Task<void> VolumeStore::Destroy(std::string handle) {
  RecordPointer record = Get(handle);
  const Semaphore::Permit change = co_await record->changes.Acquire({});
  record = Get(handle);  // another destroy may have come first
  if (record->children > 0) {
    throw Failure(ErrorKind::kConflict, "volume '" + handle +
                                            "' is in use: " + std::to_string(record->children) +
                                            " volumes are copies of it");
  }
  record->destroying = true;
  record->streams_stop.request_stop();
  while (record->streams > 0)
    co_await record->stream_ended.Wait({});
  const std::string dead = FreshName(handle);
  auto work = [this, handle, dead]() -> Result<void> {
    const fs::path live = LiveFolder(options_.folder, handle);
    if (auto unmounted = Unmount(live / "volume"); !unmounted) return unmounted;
    if (::rename(live.c_str(), (options_.folder / "dead" / dead).c_str()) != 0) {
      return std::unexpected(SystemError("put away " + live.string(), errno));
    }
    return {};
  };
  Result<void> gone = co_await disk_.Run(std::move(work));
  if (!gone) {
    record->destroying = false;
    record->streams_stop = {};
    throw Failure(std::move(gone).error().Context("destroy volume '" + handle + "'"));
  }
  volumes_.erase(handle);
  if (const auto parent = volumes_.find(record->saved.parent); parent != volumes_.end()) {
    --parent->second->children;
  }
  for (const std::string& layer : record->saved.layers)
    Release(layer);
  RemoveLater(dead);
}

Task<void> VolumeStore::SetProperty(std::string handle, std::string name, std::string value) {
  RecordPointer record = Get(handle);
  const Semaphore::Permit change = co_await record->changes.Acquire({});
  record = Get(handle);
  SavedVolume saved = record->saved;
  saved.properties[name] = value;
  auto work = [this, handle, saved] {
    return SaveVolume(LiveFolder(options_.folder, handle), saved);
  };
  ValueOrThrow(co_await disk_.Run(std::move(work)));
  record->saved = std::move(saved);
}

Task<void> VolumeStore::SetPrivileged(std::string handle, bool privileged) {
  RecordPointer record = Get(handle);
  const Semaphore::Permit change = co_await record->changes.Acquire({});
  record = Get(handle);
  if (record->saved.privileged == privileged) co_return;
  SavedVolume saved = record->saved;
  saved.privileged = privileged;
  auto work = [this, handle, saved]() -> Result<void> {
    const fs::path live = LiveFolder(options_.folder, handle);
    // In this order a crash leaves a volume without a mount, which the next start mounts as saved.
    if (auto unmounted = Unmount(live / "volume"); !unmounted) return unmounted;
    if (auto kept = SaveVolume(live, saved); !kept) return kept;
    return MountVolume(options_, handle, saved);
  };
  ValueOrThrow(co_await disk_.Run(std::move(work)));
  record->saved = std::move(saved);
}

Task<LayerHold> VolumeStore::Layer(std::string name, Fill fill, std::stop_token stop) {
  for (;;) {
    const auto at = layers_.find(name);
    if (at == layers_.end()) break;
    if (!at->second->changing) {
      ++at->second->users;
      co_return LayerHold(this, name);
    }
    const std::shared_ptr<Event> changing = at->second->changing;
    co_await changing->Wait(stop);
  }
  auto& layer = *layers_.emplace(name, std::make_unique<LayerRecord>()).first->second;
  const auto changing = std::make_shared<Event>();
  layer.changing = changing;
  std::exception_ptr error;
  try {
    co_await FillLayer(name, std::move(fill), stop);
  } catch (...) {
    error = std::current_exception();
  }
  if (error) {
    layers_.erase(name);
    changing->Set();
    std::rethrow_exception(error);
  }
  layer.changing = nullptr;
  ++layer.users;
  changing->Set();
  co_return LayerHold(this, name);
}

Task<void> VolumeStore::FillLayer(std::string name, Fill fill, std::stop_token stop) {
  const std::string fresh = FreshName(name);
  const fs::path init = options_.folder / "init" / fresh;
  auto work = [&] {
    if (::mkdir(init.c_str(), 0755) != 0 || ::chmod(init.c_str(), 0755) != 0) {
      throw Failure(SystemError("make " + init.string(), errno));
    }
    try {
      fill(archive::OpenFolder(init).get(), stop);
      if (::rename(init.c_str(), (options_.folder / "shared" / name).c_str()) != 0) {
        throw Failure(SystemError("keep the layer " + name, errno));
      }
    } catch (...) {
      ::rename(init.c_str(), (options_.folder / "dead" / fresh).c_str());
      throw;
    }
  };
  std::exception_ptr error;
  {
    const Semaphore::Permit slot = co_await stream_slots_.Acquire(stop);
    try {
      co_await streams_.Run(work);
    } catch (...) {
      error = std::current_exception();
    }
  }
  if (error) {
    RemoveLater(fresh);
    std::rethrow_exception(error);
  }
}

void VolumeStore::Release(const std::string& name) {
  const auto at = layers_.find(name);
  if (at == layers_.end() || at->second->users == 0) return;
  if (--at->second->users > 0) return;
  ++at->second->use;
  tasks_.Spawn(CollectLayer(name, at->second->use));
}

Task<void> VolumeStore::CollectLayer(std::string name, std::uint64_t use) {
  co_await timers_.Sleep(options_.unused_layer_grace, tasks_.stop_token());
  const auto at = layers_.find(name);
  if (at == layers_.end()) co_return;
  LayerRecord& layer = *at->second;
  if (layer.users > 0 || layer.use != use || layer.changing) co_return;
  const auto changing = std::make_shared<Event>();
  layer.changing = changing;
  const std::string dead = FreshName(name);
  auto work = [this, name, dead]() -> bool {
    return ::rename((options_.folder / "shared" / name).c_str(),
                    (options_.folder / "dead" / dead).c_str()) == 0;
  };
  const bool moved = co_await disk_.Run(std::move(work));
  if (moved) {
    layers_.erase(name);
    RemoveLater(dead);
  } else {
    layer.changing = nullptr;
    log_.Warn("a layer cannot be removed", {{"layer", name}});
  }
  changing->Set();
}

void VolumeStore::RemoveLater(std::string dead_name) {
  if (removing_++ == 0) removed_ = std::make_shared<Event>();
  if (!tasks_.Spawn(RemoveDead(std::move(dead_name)))) --removing_;  // the next start removes it
}

Task<void> VolumeStore::RemoveDead(std::string dead_name) {
  std::exception_ptr error;
  try {
    const Semaphore::Permit slot = co_await removal_slots_.Acquire(tasks_.stop_token());
    auto work = [this, dead_name] {
      archive::RemoveTree(options_.folder / "dead" / dead_name, tasks_.stop_token());
    };
    co_await disk_.Run(std::move(work));
  } catch (const Cancelled&) {
    // The next start goes on.
  } catch (...) {
    error = std::current_exception();
  }
  if (--removing_ == 0) removed_->Set();
  if (error) std::rethrow_exception(error);  // logged by the group
}

Task<void> VolumeStore::WaitForRemovals() {
  while (removing_ > 0) {
    const std::shared_ptr<Event> removed = removed_;
    co_await removed->Wait({});
  }
}

}  // namespace pinion::worker
