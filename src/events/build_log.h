#pragma once

#include <deque>
#include <list>
#include <unordered_map>

#include "async/signal.h"
#include "async/task_group.h"
#include "events/log_files.h"
#include "events/log_format.h"

namespace pinion::events {

class BuildLog;

/// What all logs of a store share. On the store's loop.
struct LogContext {
  std::filesystem::path folder;
  Timers& timers;
  ThreadPool& pool;
  Logger log;
  FileLogStoreOptions options;
  std::shared_ptr<LogFiles> files;
  std::unordered_map<BuildId, std::weak_ptr<BuildLog>> logs;

  /// Segments that readers decoded lately, the newest first: readers that follow each other share
  /// them.
  struct Decoded {
    BuildId build;
    std::uint64_t first_event;
    ChunkPointer chunk;
  };
  std::list<Decoded> decoded;
  TaskGroup tasks;

  LogContext(std::filesystem::path root, const Executor& executor, Timers& timers_in,
             ThreadPool& pool_in, Logger log_in, FileLogStoreOptions options_in,
             std::shared_ptr<LogFiles> files_in)
      : folder(std::move(root)),
        timers(timers_in),
        pool(pool_in),
        log(std::move(log_in)),
        options(options_in),
        files(std::move(files_in)),
        tasks(executor, log, "log files") {}
  /// Of its files, without what tells them apart.
  std::filesystem::path PathOf(BuildId build) const;
  ChunkPointer FindDecoded(BuildId build, std::uint64_t first_event);
  void KeepDecoded(BuildId build, ChunkPointer chunk);
  void ForgetDecoded(BuildId build);
};

/// The log of one build as this process knows it: its writer's state, what is not on disk yet and
/// where the rest is. Shared by the writer, the readers and the file work under way. On the loop's
/// thread; one piece of file work at a time, on the pool.
class BuildLog : public std::enable_shared_from_this<BuildLog> {
 public:
  BuildLog(std::shared_ptr<LogContext> context, BuildId build);
  ~BuildLog();

  /// Reads what is on disk, once; concurrent callers wait for the first.
  Task<void> Load();

  /// Reads again what another process may have written, unless there is a writer here.
  Task<void> Reload();

  // The writer.
  /// In a store that is shared: takes the files over for this epoch. Before OpenForWriting().
  Task<void> Seize(std::int64_t epoch);
  void OpenForWriting();
  bool writer_open() const { return writer_open_; }
  void CloseWriter();
  std::uint64_t Append(const protocol::Event& event, const std::optional<Coverage>& coverage);
  std::uint64_t AppendLast(const protocol::Event& event, const std::optional<Coverage>& coverage);
  std::uint64_t AppendLog(const protocol::Origin& origin, std::int64_t time,
                          std::string_view payload, const std::optional<Coverage>& coverage);
  std::uint64_t Covered(const CoverageKey& key) const;
  std::uint64_t CoveredOutput() const;
  Task<void> WaitForRoom(std::stop_token stop);
  Task<void> Flush();
  Task<void> Finish();

  // Readers.
  struct Slice {
    ChunkPointer chunk;  ///< null at the end
    std::uint64_t from = 0;
  };
  /// The events from `position` on; waits for them. `running`: without a writer more may come.
  Task<Slice> Read(std::uint64_t position, bool running, std::stop_token stop);
  void AddReader() { ++readers_; }
  void RemoveReader();
  /// No writer will come for it any more.
  void MarkEnded();

  Task<void> Remove();
  /// For the store's end: writes once more what there is, without trying again.
  Task<void> Shutdown();
  /// Gives up what is not written.
  void Abandon();

 private:
  struct Disk;
  struct Work;
  struct Outcome;

  static std::shared_ptr<Disk> LoadFromDisk(LogFiles& files, const std::filesystem::path& stem,
                                            bool shared);
  /// Whatever Load() will find anew.
  void Forget();
  /// Whether the files are written by another process, if by any.
  bool WrittenElsewhere() const { return context_->options.shared && !writer_open_; }
  void LookAgainLater();
  static void DoWork(Work& work, Outcome& outcome);

  Chunk& OpenChunk();
  void CloseOpenChunk();
  std::uint64_t Appended(std::size_t bytes_before, const std::optional<Coverage>& coverage);
  void TakeOver(Disk& disk);
  void Kick();
  static Task<void> RunFileWork(std::shared_ptr<BuildLog> self);
  bool PlanWork(Work& work);
  void Apply(const Work& work, Outcome& outcome);
  void Failed(const Error& error);
  bool FlushWanted() const;
  void Rest();
  void WakeReaders();
  void WakeRoom();
  void SettleFlushes(const Error* error);
  void DropWritten();
  void ArmTimer(Duration delay);
  void CountUnwritten();
  Task<void> WaitUntilIdle();
  Task<ChunkPointer> ReadSegment(std::size_t index, std::stop_token stop);
  std::string Name() const { return "the log of build " + std::to_string(build_.value); }

  std::shared_ptr<LogContext> context_;
  BuildId build_;

  // Loading.
  bool loaded_ = false;
  std::shared_ptr<Event> loading_;
  std::int64_t epoch_ = 0;        ///< whose files these are
  std::uint64_t seen_bytes_ = 0;  ///< in both files when they were read
  bool look_again_ = false;       ///< before readers wait or end
  bool look_armed_ = false;
  Timers::Handle look_timer_;

  // On disk.
  std::shared_ptr<LogFile> segments_file_;
  std::shared_ptr<LogFile> journal_file_;
  std::vector<SegmentInfo> segments_;
  std::uint64_t segments_bytes_ = 0;  ///< where the next segment goes
  std::uint64_t journal_bytes_ = 0;
  LogTotals sealed_;  ///< of all segments
  CoverageMap sealed_coverage_;
  bool cut_segments_ = false;  ///< something torn or stale follows segments_bytes_
  bool cut_journal_ = false;   ///< likewise
  bool folder_synced_ = false;
  bool has_footer_ = false;

  // In memory: chunks in order up to next_event_; the open one last.
  std::deque<ChunkPointer> chunks_;
  std::unique_ptr<Chunk> open_;
  std::uint64_t next_event_ = 0;
  std::uint64_t written_ = 0;  ///< events below are in a file
  std::uint64_t synced_ = 0;   ///< events below survive a power loss
  std::size_t unwritten_bytes_ = 0;
  CoverageMap coverage_;

  bool writer_open_ = false;
  bool finish_wanted_ = false;
  bool finished_ = false;
  std::optional<std::uint64_t> last_event_;  ///< not shown before it is finished
  bool ended_ = false;
  bool removed_ = false;
  bool shutting_down_ = false;

  bool working_ = false;
  bool failing_ = false;
  std::vector<Waker<bool>> idle_waiters_;
  SteadyTime last_sync_{};
  bool dirty_ = false;  ///< written but not synced
  Timers::Handle timer_;
  std::optional<SteadyTime> timer_at_;
  std::shared_ptr<BuildLog> keep_alive_;  ///< itself, while something is not synced

  struct FlushWaiter {
    std::uint64_t target;  ///< synced_ to reach
    bool finish;           ///< and the footer
    Waker<bool> waker;
  };
  std::vector<FlushWaiter> flush_waiters_;
  std::vector<Waker<bool>> readers_waiting_;
  std::vector<Waker<bool>> room_waiters_;
  std::size_t readers_ = 0;

  struct PendingRead {
    Event done;
    ChunkPointer chunk;
    std::exception_ptr error;
  };
  std::unordered_map<std::size_t, std::shared_ptr<PendingRead>> reading_;
};

}  // namespace pinion::events
