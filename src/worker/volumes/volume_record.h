#pragma once

// What the volume store's sources share; not for others.

#include "base/json_fields.h"
#include "worker/id_mapping.h"
#include "worker/volumes/mounts.h"
#include "worker/volumes/volume_store.h"

namespace pinion::worker {

/// volume.json: all that is not in the volume's files themselves.
struct SavedVolume {
  std::map<std::string, std::string> properties;
  bool privileged = false;
  std::string parent;               ///< handle of the volume this one is a copy of
  std::vector<std::string> lowers;  ///< relative to the store's folder, topmost first
  std::vector<std::string> layers;  ///< shared layers it holds itself
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("properties", self.properties);
    visit("privileged", self.privileged);
    visit("parent", self.parent, kOmitEmpty);
    visit("lowers", self.lowers, kOmitEmpty);
    visit("layers", self.layers, kOmitEmpty);
  }
};

struct VolumeStore::Record {
  std::string handle;
  SavedVolume saved;
  std::optional<std::int64_t> uid;  // of the root folder, while it is made
  std::optional<std::int64_t> gid;
  std::size_t children = 0;
  std::size_t streams = 0;
  std::stop_source streams_stop;
  Signal stream_ended;
  bool destroying = false;
  Semaphore changes{1};  // one change of the volume at a time
};

struct VolumeStore::LayerRecord {
  std::size_t users = 0;
  std::uint64_t use = 0;            // counts how often it fell out of use
  std::shared_ptr<Event> changing;  // while it is filled or put away; null when it is there
};

/// A stream's claim on a volume, for as long as the stream lasts.
class VolumeStore::StreamUse {
 public:
  explicit StreamUse(RecordPointer record) : record_(std::move(record)) { ++record_->streams; }
  StreamUse(const StreamUse&) = delete;
  ~StreamUse() {
    --record_->streams;
    record_->stream_ended.Set();
  }
  Record& record() const { return *record_; }

 private:
  RecordPointer record_;
};

/// Where a volume's files are reached for reading and writing, and how ids show there.
struct ContentPlace {
  std::filesystem::path root;
  std::uint32_t id_offset = 0;
  std::uint32_t id_count = 0;
};

// The layout (README.md).
inline std::filesystem::path LiveFolder(const std::filesystem::path& folder,
                                        const std::string& handle) {
  return folder / "live" / handle;
}
inline std::string UpperOf(const std::string& handle) {
  return "live/" + handle + "/layer/upper";
}

ContentPlace PlaceOf(const VolumeStoreOptions& options, const std::string& handle,
                     const SavedVolume& saved);
/// A name under dead/ or init/ that was never used.
std::string FreshName(std::string_view prefix);
Result<void> CheckHandle(std::string_view handle);
/// Mounts the volume's view at its path. Blocks.
Result<void> MountVolume(const VolumeStoreOptions& options, const std::string& handle,
                         const SavedVolume& saved);
/// volume.json, replaced by rename. Blocks.
Result<void> SaveVolume(const std::filesystem::path& live_folder, const SavedVolume& saved);
/// Copies all of `from` into the folder `to`, whose ids show as on disk. Blocks; uses a thread
/// more.
void CopyContent(const ContentPlace& from, bool follow_links, int to, std::stop_token stop);
/// Adds how much is left when the disk is full.
Error WithSpace(Error error, const std::filesystem::path& folder);

}  // namespace pinion::worker
