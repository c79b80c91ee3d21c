#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "archive/byte_pipe.h"
#include "archive/codec.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "base/log.h"
#include "linux/fd.h"
#include "protocol/baggageclaim.h"

namespace pinion::worker {

struct VolumeStoreOptions {
  std::filesystem::path folder;  ///< `<work-dir>/volumes`, made if missing; one store at a time
  /// False: unprivileged volumes show the ids on disk too (no user namespaces).
  bool map_ids = true;
  /// Layers under one overlay; a chain of copies that grows longer is copied flat.
  std::size_t lowers_max = 128;
  /// How long a layer that no volume uses stays for the next one that wants it.
  Duration unused_layer_grace = std::chrono::seconds(60);
  /// Streams and unpackings that run at once; more wait.
  std::size_t streams_max = 16;
  /// How old the kernel's run is; empty reads /proc/sys/kernel/random/boot_id. For tests.
  std::string boot_id;
};

/// Work done so far, such as bytes; total 0 while unknown. Called on the loop.
using ProgressReport = std::function<void(std::uint64_t done, std::uint64_t total)>;

class VolumeStore;

/// Keeps a shared layer from being collected. On the store's loop; must not outlive the store.
class LayerHold {
 public:
  LayerHold() = default;
  LayerHold(VolumeStore* store, std::string name) : store_(store), name_(std::move(name)) {}
  LayerHold(LayerHold&& other) noexcept
      : store_(std::exchange(other.store_, nullptr)), name_(std::move(other.name_)) {}
  LayerHold& operator=(LayerHold&& other) noexcept;
  ~LayerHold();
  const std::string& name() const { return name_; }

 private:
  VolumeStore* store_ = nullptr;
  std::string name_;
};

/// What a strategy puts into a new volume: layers, topmost first, and small files of its own above.
struct VolumeContent {
  std::vector<LayerHold> layers;
  std::map<std::string, std::string> files;  ///< path in the volume -> content
};

/// Makes the content of volumes for one strategy type. The strategy object is the request's.
using VolumeStrategy = std::function<Task<VolumeContent>(Json strategy, ProgressReport progress,
                                                         std::stop_token stop)>;

/// All volumes of a worker. On disk ids are the containers' own (root is 0); an unprivileged volume
/// shows at its path with host ids from kHostIdBase on. Mounts are the host's, so that containers
/// and volumes outlive the process; see README.md for the layout and how it survives crashes.
///
/// On one loop's thread; what blocks runs on threads of its own. Failures: kNotFound (no such
/// volume), kInvalid, kConflict (in use), kTooLarge, kUnavailable (no space left).
class VolumeStore {
 public:
  /// Opens the folder and takes up what is there: half-made volumes go, missing mounts come back.
  /// Needs root and a file system that overlayfs and id-mapped mounts work on; the error says what
  /// is missing.
  static Task<std::unique_ptr<VolumeStore>> Open(Executor executor, Timers& timers, Logger log,
                                                 VolumeStoreOptions options);
  /// Close() must have been awaited.
  ~VolumeStore();

  /// Adds a strategy beside "empty", "cow" and "import".
  void AddStrategy(std::string type, VolumeStrategy strategy);
  const std::filesystem::path& folder() const { return options_.folder; }
  bool HasStrategy(std::string_view type) const;
  /// kInvalid if the strategy is unknown or not well formed, kNotFound if a parent is missing.
  Result<void> CheckRequest(const protocol::baggageclaim::VolumeRequest& request) const;

  /// Idempotent by handle: a volume of that name that exists is the answer.
  Task<protocol::baggageclaim::Volume> Create(protocol::baggageclaim::VolumeRequest request,
                                              ProgressReport progress, std::stop_token stop);
  std::optional<protocol::baggageclaim::Volume> Find(const std::string& handle) const;
  /// Those that have all of these properties, by handle.
  std::vector<protocol::baggageclaim::Volume> List(
      const std::map<std::string, std::string>& properties) const;
  /// The volume is gone when this returns; its files are removed behind. kConflict while copies of
  /// it exist. Streams into and out of it are ended.
  Task<void> Destroy(std::string handle);
  Task<void> SetProperty(std::string handle, std::string name, std::string value);
  Task<void> SetPrivileged(std::string handle, bool privileged);

  /// Unpacks the tar stream that `pipe` brings into the folder `path`, made if missing. At most
  /// `limit_bytes` as they come (0: any), kTooLarge past it. kInvalid for broken streams.
  Task<void> StreamIn(std::string handle, std::string path, archive::Encoding encoding,
                      std::uint64_t limit_bytes, archive::BytePipe& pipe, std::stop_token stop);
  /// Packs the folder or file `path` into `pipe`. The reader of the pipe gets the failure too.
  Task<void> StreamOut(std::string handle, std::string path, archive::Encoding encoding,
                       archive::BytePipe& pipe, std::stop_token stop);

  /// The shared layer of that name (letters, digits, '-'), filled by `fill` on a thread when it is
  /// not there yet: it gets the descriptor of a new folder, and what it leaves there is the layer
  /// once it returns. When it throws, nothing is left. Two callers of one name share the work.
  using Fill = std::function<void(int folder, std::stop_token stop)>;
  Task<LayerHold> Layer(std::string name, Fill fill, std::stop_token stop);

  /// Ends streams, waits for removals in progress, and notes that everything is on disk. Volumes
  /// and their mounts stay.
  Task<void> Close();
  /// Returns when nothing waits to be removed. For tests and accounting.
  Task<void> WaitForRemovals();
  /// Where the files lie that were written through a volume mounted at this path; the path itself
  /// if it is no volume's. Blocks.
  static std::filesystem::path OwnFiles(const std::filesystem::path& mounted);
  /// Unmounts everything below the folder; blocks. For taking a worker off a machine, and for
  /// tests.
  static void UnmountAll(const std::filesystem::path& folder);

 private:
  friend class LayerHold;
  struct Record;
  struct LayerRecord;
  class StreamUse;

  VolumeStore(Executor executor, Timers& timers, Logger log, VolumeStoreOptions options);

  using RecordPointer = std::shared_ptr<Record>;

  Task<void> Recover();
  void TakeUp(const std::string& handle, RecordPointer record);
  RecordPointer Get(const std::string& handle) const;  // kNotFound
  Task<void> CreateNew(protocol::baggageclaim::VolumeRequest request, ProgressReport progress,
                       std::stop_token stop);
  Task<void> Place(RecordPointer record, VolumeContent content, bool flat, std::stop_token stop);
  Task<VolumeContent> PrepareImport(Json strategy, std::stop_token stop);
  Task<void> FillLayer(std::string name, Fill fill, std::stop_token stop);
  void Release(const std::string& layer);
  Task<void> CollectLayer(std::string name, std::uint64_t use);
  void RemoveLater(std::string dead_name);
  Task<void> RemoveDead(std::string dead_name);
  protocol::baggageclaim::Volume Describe(const Record& record) const;

  Executor executor_;
  Timers& timers_;
  Logger log_;
  VolumeStoreOptions options_;
  linux::UniqueFd lock_;
  std::map<std::string, RecordPointer> volumes_;
  std::map<std::string, std::unique_ptr<LayerRecord>> layers_;
  std::map<std::string, std::shared_ptr<Event>> creating_;
  std::map<std::string, VolumeStrategy, std::less<>> strategies_;
  std::size_t removing_ = 0;
  std::shared_ptr<Event> removed_;  // set when nothing waits to be removed
  Semaphore stream_slots_;
  Semaphore removal_slots_;
  ThreadPool disk_;     // short work
  ThreadPool streams_;  // work that lasts as long as its stream; slots keep its queue empty
  TaskGroup tasks_;
};

}  // namespace pinion::worker
