#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "async/task.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "base/ids.h"
#include "base/log.h"
#include "protocol/events.h"

namespace pinion::events {

/// Which bytes of a process's output a log event stands for: up to `end` of that stream of that
/// step's process. It is stored with the event, so that after a crash the follower asks the worker
/// for what comes after it: each byte once.
struct Coverage {
  std::string plan_id;
  int attempt = 1;
  int stream = 1;  ///< 1 stdout, 2 stderr
  std::uint64_t end = 0;
};

/// The log of one running build: one writer, any number of readers, all on the loop that opened it.
class BuildLogWriter {
 public:
  virtual ~BuildLogWriter() = default;

  /// Appends and returns the event's id (0, 1, 2, … without gaps). Readers see it at once; it is on
  /// disk within the flush interval (100 ms) or after Flush(). Never blocks and never fails: when
  /// the disk does, Flush() throws and appending goes on in memory up to a limit, after which
  /// Ready() waits.
  virtual std::uint64_t Append(const protocol::Event& event,
                               const std::optional<Coverage>& coverage = {}) = 0;
  /// As Append(LogEvent(…)), for what processes print: no JSON tree is built. `payload` ends
  /// between characters, not within one.
  virtual std::uint64_t AppendLog(const protocol::Origin& origin, std::int64_t time,
                                  std::string_view payload,
                                  const std::optional<Coverage>& coverage = {}) {
    return Append(protocol::LogEvent(origin, time, payload), coverage);
  }
  /// As Append(), for the event that says how the build ended: readers see it when Finish() is
  /// called, for whoever sees it finds the build ended wherever else he looks.
  virtual std::uint64_t AppendLast(const protocol::Event& event,
                                   const std::optional<Coverage>& coverage = {}) {
    return Append(event, coverage);
  }
  /// Up to where that stream is covered by events that were appended or recovered.
  virtual std::uint64_t Covered(const std::string& plan_id, int attempt, int stream) const = 0;
  /// Bytes of all output (streams 1 and up) that are covered so far.
  virtual std::uint64_t CoveredOutput() const { return 0; }
  /// Returns when there is room to append more: producers of output call it between chunks.
  virtual Task<void> Ready(std::stop_token stop) = 0;
  /// Returns when everything appended so far survives a crash of this process and of the machine.
  virtual Task<void> Flush() = 0;
  /// Flushes, seals the last segment; readers get the end after the last event. Idempotent.
  virtual Task<void> Finish() = 0;
};

/// Events ready to be sent: the data text of server-sent events with their ids.
struct EventBatch {
  struct Item {
    std::uint64_t id;
    std::string name;      ///< event name, for filters
    std::string envelope;  ///< protocol::EnvelopeText
  };
  std::vector<Item> items;
  bool end = false;  ///< nothing follows
};

/// The same as text that goes to a client as it is: whole server-sent events ("id", "event: event",
/// "data", blank line). All readers of a log share one text: it is valid as long as `owner` is
/// held.
struct EventText {
  std::string_view text;
  std::shared_ptr<const void> owner;
  std::uint64_t next_event = 0;  ///< id of the event after these
  bool end = false;              ///< nothing follows; `text` is empty
};

class BuildLogReader {
 public:
  virtual ~BuildLogReader() = default;
  /// The next events, at most about 256 kB of them; waits for more if the build still runs. After
  /// `end` it is not called again. A slow reader reads from disk and holds nobody up.
  virtual Task<EventBatch> Next(std::stop_token stop) = 0;
  /// The same without copies, for what only passes the events on. Either is called, in any order.
  virtual Task<EventText> NextText(std::stop_token stop);
};

/// Where the logs of builds live: append-only zstd segments, apart from the core database. Kinds:
/// local files (this issue), object store, SQL. On one loop; file work is done on a pool.
class LogStore {
 public:
  virtual ~LogStore() = default;

  /// Opens the log of a running build, recovering what a former process wrote: a torn tail is cut
  /// off, ids go on. One writer per build at a time. `epoch` is that of the lease under which it is
  /// written: in a store that several processes share, what a writer of a lower epoch still writes
  /// is lost to the log, and opening one is refused (kConflict) once a higher one has.
  virtual Task<std::unique_ptr<BuildLogWriter>> OpenWriter(BuildId build,
                                                           std::int64_t epoch = 0) = 0;
  /// Reads from event `from` on. `running` false: the build has ended, so the end follows what
  /// there is (an empty stream for a log that was removed).
  virtual Task<std::unique_ptr<BuildLogReader>> OpenReader(BuildId build, std::uint64_t from,
                                                           bool running) = 0;
  virtual Task<void> Remove(BuildId build) = 0;
  /// Builds that have something stored, ascending from `first` on, at most `limit`.
  virtual Task<std::vector<BuildId>> ListStored(BuildId first, std::size_t limit) {
    static_cast<void>(first);
    static_cast<void>(limit);
    co_return std::vector<BuildId>();
  }
  /// Tells readers that wait for more of this build that it has ended, though no writer finished
  /// its log here: a build that was aborted before it started.
  virtual void MarkEnded(BuildId build) { static_cast<void>(build); }
  /// Writes what is still in memory and ends the store's tasks; await it before the store goes.
  virtual Task<void> Close() { co_return; }
};

struct FileLogStoreOptions {
  Duration write_interval = std::chrono::milliseconds(100);  ///< appended to written
  Duration sync_interval = std::chrono::seconds(1);          ///< written to synced
  Duration retry_interval = std::chrono::seconds(1);         ///< after an error of the disk
  /// Event text of one build that is appended but not written; beyond it Ready() waits.
  std::size_t memory_bytes_max = 8 << 20;
  /// Other processes write logs to the folder, too: each epoch has files of its own, and readers
  /// look again for what others have written.
  bool shared = false;
  Duration look_interval = std::chrono::seconds(1);  ///< while somebody reads what another writes
};

class LogFiles;

/// Logs as files in `folder` (docs/decisions/0004-log-segments.md). `timers` and `pool` outlive the
/// store; a null `files` is the system's. Close() it before it goes.
std::unique_ptr<LogStore> MakeFileLogStore(std::filesystem::path folder, Executor executor,
                                           Timers& timers, ThreadPool& pool, Logger log,
                                           FileLogStoreOptions options = {},
                                           std::shared_ptr<LogFiles> files = nullptr);

}  // namespace pinion::events
