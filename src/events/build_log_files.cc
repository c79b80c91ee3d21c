// The part of BuildLog that reads and writes files: loading, and the one piece of file work at a
// time.
#include <algorithm>

#include "events/build_log.h"
#include "events/shared_files.h"

namespace pinion::events {
namespace {

constexpr std::size_t kJournalBytesMax = 1
                                         << 20;  ///< beyond it everything is sealed, it starts anew

}  // namespace

// --- Loading
// ------------------------------------------------------------------------------------------

struct BuildLog::Disk {
  std::shared_ptr<LogFile> segments_file;
  std::shared_ptr<LogFile> journal_file;
  std::vector<SegmentInfo> segments;
  std::uint64_t segments_bytes = 0;
  std::uint64_t segments_file_bytes = 0;
  LogTotals totals;
  CoverageMap coverage;
  bool has_footer = false;
  Journal journal;
  std::uint64_t journal_file_bytes = 0;
  std::int64_t epoch = 0;

  /// The index at the end of a finished log. False if there is none that holds.
  bool LoadFooter();
  /// Header by header, each with its checksum, up to the first that is torn.
  void ScanSegments();
};

bool BuildLog::Disk::LoadFooter() {
  if (segments_file_bytes < kFooterTailBytes) return false;
  const std::size_t length =
      FooterBytes(segments_file->ReadAt(segments_file_bytes - kFooterTailBytes, kFooterTailBytes));
  if (length == 0 || length > segments_file_bytes) return false;
  const std::uint64_t offset = segments_file_bytes - length;
  auto footer = ReadFooter(segments_file->ReadAt(offset, length), offset);
  if (!footer) return false;
  if (!footer->segments.empty()) {
    const SegmentInfo& last = footer->segments.back();
    const std::string bytes = segments_file->ReadAt(last.file_offset, last.file_bytes);
    const auto header = ReadSegmentHeader(bytes);
    if (!header) return false;
    auto found = ReadSegmentCoverage(*header, std::string_view(bytes).substr(kSegmentHeaderBytes));
    if (!found) return false;
    coverage = std::move(*found);
  }
  segments = std::move(footer->segments);
  totals = footer->totals;
  segments_bytes = offset;
  has_footer = true;
  return true;
}

void BuildLog::Disk::ScanSegments() {
  for (;;) {
    const auto header =
        ReadSegmentHeader(segments_file->ReadAt(segments_bytes, kSegmentHeaderBytes));
    if (!header || header->info.first_event != totals.events) return;
    const std::string body = segments_file->ReadAt(segments_bytes + kSegmentHeaderBytes,
                                                   header->coverage_bytes + header->data_bytes);
    if (!BodyMatches(*header, body)) return;
    auto found = ReadSegmentCoverage(*header, body);
    if (!found) return;
    coverage = std::move(*found);
    SegmentInfo info = header->info;
    info.file_offset = segments_bytes;
    segments.push_back(info);
    segments_bytes += header->file_bytes;
    totals.events += header->events;
    totals.lines += header->lines;
    totals.bytes += header->output_bytes;
  }
}

std::shared_ptr<BuildLog::Disk> BuildLog::LoadFromDisk(LogFiles& files,
                                                       const std::filesystem::path& stem,
                                                       bool shared) {
  auto disk = std::make_shared<Disk>();
  if (shared) disk->epoch = NewestEpoch(files, stem);
  disk->segments_file = files.Open(FileOf(stem, disk->epoch, ".segments"), false);
  if (disk->segments_file) {
    disk->segments_file_bytes = disk->segments_file->Size();
    if (!disk->LoadFooter()) disk->ScanSegments();
  }
  disk->journal_file = files.Open(FileOf(stem, disk->epoch, ".journal"), false);
  if (disk->journal_file) {
    disk->journal_file_bytes = disk->journal_file->Size();
    disk->journal =
        ReadJournal(disk->journal_file->ReadAt(0, kPayloadBytesMax), disk->totals.events);
  }
  return disk;
}

Task<void> BuildLog::Load() {
  while (!loaded_) {
    if (loading_) {
      const std::shared_ptr<Event> loading = loading_;
      co_await loading->Wait({});
      continue;
    }
    loading_ = std::make_shared<Event>();
    std::shared_ptr<Disk> disk;
    std::exception_ptr error;
    try {
      disk = co_await context_->pool.Run(
          [files = context_->files, stem = context_->PathOf(build_),
           shared = context_->options.shared] { return LoadFromDisk(*files, stem, shared); });
    } catch (...) {
      error = std::make_exception_ptr(Failure(CurrentError().Context("opening " + Name())));
    }
    if (disk) TakeOver(*disk);
    std::exchange(loading_, nullptr)->Set();
    if (error) std::rethrow_exception(error);
  }
}

void BuildLog::TakeOver(Disk& disk) {
  loaded_ = true;
  epoch_ = disk.epoch;
  seen_bytes_ = disk.segments_file_bytes + disk.journal_file_bytes;
  segments_file_ = std::move(disk.segments_file);
  journal_file_ = std::move(disk.journal_file);
  segments_ = std::move(disk.segments);
  segments_bytes_ = disk.segments_bytes;
  sealed_ = disk.totals;
  sealed_coverage_ = std::move(disk.coverage);
  coverage_ = sealed_coverage_;
  has_footer_ = disk.has_footer;
  finished_ = has_footer_;
  cut_segments_ = !has_footer_ && disk.segments_file_bytes > segments_bytes_;
  next_event_ = sealed_.events;
  for (const ChunkPointer& chunk : disk.journal.chunks) {
    chunk->AddCoverage(coverage_);
    next_event_ = chunk->next_event();
    chunks_.push_back(chunk);
  }
  // The chunks of the journal that are wanted are those at its end.
  journal_bytes_ = disk.journal.valid_bytes;
  cut_journal_ = disk.journal_file_bytes > journal_bytes_;
  written_ = synced_ = next_event_;
  // What another process is writing just now is not torn.
  if ((cut_segments_ || cut_journal_) && !context_->options.shared) {
    const auto number = [](std::uint64_t value) { return Json(static_cast<std::int64_t>(value)); };
    context_->log.Warn("the torn end of a build's log is left out",
                       {{"build", build_.value},
                        {"segment_bytes", number(disk.segments_file_bytes - segments_bytes_)},
                        {"journal_bytes", number(disk.journal_file_bytes - journal_bytes_)},
                        {"next_event", number(next_event_)}});
  }
}

Task<void> BuildLog::Seize(std::int64_t epoch) {
  co_await Load();
  if (epoch_ == epoch) co_return;
  if (synced_ < next_event_) {
    try {
      co_await Flush();
    } catch (const Failure& failure) {
      context_->log.Warn("what was not written of a build's log is given up",
                         {{"build", build_.value}, {"error", failure.error().message}});
    }
  }
  co_await WaitUntilIdle();
  try {
    co_await context_->pool.Run([files = context_->files, stem = context_->PathOf(build_), epoch] {
      SeizeFiles(*files, stem, epoch);
    });
  } catch (...) {
    throw Failure(CurrentError().Context("taking over " + Name()));
  }
  while (loading_) {
    const std::shared_ptr<Event> loading = loading_;
    co_await loading->Wait({});
  }
  Forget();
  co_await Load();
  WakeReaders();
}

Task<void> BuildLog::Reload() {
  co_await Load();
  if (!WrittenElsewhere() || has_footer_ || removed_) co_return;
  if (synced_ < next_event_ || dirty_ || working_) co_return;
  const std::uint64_t bytes =
      co_await context_->pool.Run([files = context_->files, stem = context_->PathOf(build_),
                                   epoch = epoch_]() -> std::uint64_t {
        if (NewestEpoch(*files, stem) != epoch) return 0;
        std::uint64_t sum = 0;
        for (const std::string_view kind : {".segments", ".journal"}) {
          if (const auto file = files->Open(FileOf(stem, epoch, kind), false)) sum += file->Size();
        }
        return sum;
      });
  if (bytes == seen_bytes_ && bytes > 0) co_return;
  // A writer, or another reader's look, may have come meanwhile.
  if (!WrittenElsewhere() || !loaded_ || loading_ || working_) co_return;
  Forget();
  co_await Load();
  WakeReaders();
}

void BuildLog::LookAgainLater() {
  if (std::exchange(look_armed_, true)) return;
  look_timer_ = context_->timers.After(context_->options.look_interval, [this] {
    look_armed_ = false;
    look_again_ = true;
    WakeReaders();
  });
}

// --- Writing
// ------------------------------------------------------------------------------------------

/// What one piece of file work is to do. The pool's thread has it alone meanwhile.
struct BuildLog::Work {
  std::shared_ptr<LogFiles> files;
  std::filesystem::path segments_path;
  std::filesystem::path journal_path;
  std::shared_ptr<LogFile> segments_file;
  std::shared_ptr<LogFile> journal_file;
  std::uint64_t segments_bytes = 0;
  std::uint64_t journal_bytes = 0;
  LogTotals totals;
  CoverageMap coverage;
  std::vector<SegmentInfo> segments;  ///< those there are, for the footer

  std::vector<std::vector<ChunkPointer>> seals;
  std::vector<ChunkPointer> journal;
  bool cut_segments = false;
  bool cut_journal = false;
  bool sync = false;
  bool sync_folder = false;
  bool empty_journal = false;  ///< all that is in it is sealed by this work
  bool finish = false;
};

/// How far it came; `error` is why not to the end.
struct BuildLog::Outcome {
  bool sealed = false;
  bool journaled = false;
  bool synced = false;
  bool journal_emptied = false;
  bool finished = false;
  std::vector<SegmentInfo> new_segments;
  std::optional<Error> error;
};

void BuildLog::DoWork(Work& work, Outcome& outcome) {
  try {
    if (!work.segments_file && (!work.seals.empty() || work.finish)) {
      work.segments_file = work.files->Open(work.segments_path, true);
    }
    if (work.cut_segments && work.segments_file) work.segments_file->Truncate(work.segments_bytes);
    if (!work.seals.empty()) {
      std::string out;
      LogTotals totals = work.totals;
      CoverageMap coverage = work.coverage;
      for (const std::vector<ChunkPointer>& group : work.seals) {
        outcome.new_segments.push_back(
            AppendSegment(out, work.segments_bytes + out.size(), group, totals, coverage));
      }
      work.segments_file->WriteAt(work.segments_bytes, out);
      work.segments_bytes += out.size();
      work.totals = totals;
      work.coverage = std::move(coverage);
      outcome.sealed = true;
    }
    if (!work.journal.empty()) {
      if (!work.journal_file) work.journal_file = work.files->Open(work.journal_path, true);
      if (work.cut_journal) work.journal_file->Truncate(work.journal_bytes);
      std::string out;
      for (const ChunkPointer& chunk : work.journal)
        AppendJournalChunk(out, *chunk);
      work.journal_file->WriteAt(work.journal_bytes, out);
      work.journal_bytes += out.size();
      outcome.journaled = true;
    }
    if (work.finish) {
      std::vector<SegmentInfo> all = work.segments;
      all.insert(all.end(), outcome.new_segments.begin(), outcome.new_segments.end());
      std::string footer;
      AppendFooter(footer, all, work.totals);
      work.segments_file->WriteAt(work.segments_bytes, footer);
    }
    if (work.sync) {
      if (work.segments_file) work.segments_file->Sync();
      if (work.journal_file && !work.empty_journal) work.journal_file->Sync();
      if (work.sync_folder) work.files->SyncFolder(work.segments_path.parent_path());
      outcome.synced = true;
    }
    if (work.finish) {
      outcome.finished = true;
      work.journal_file.reset();
      work.files->Remove(work.journal_path);
      outcome.journal_emptied = true;
    } else if (work.empty_journal && work.journal_file) {
      // Only now: until the segments are synced the journal is what a power loss leaves.
      work.journal_file->Truncate(0);
      work.journal_bytes = 0;
      outcome.journal_emptied = true;
    }
  } catch (...) {
    Error error = CurrentError();
    error.kind = ErrorKind::kUnavailable;
    outcome.error = std::move(error);
  }
}

bool BuildLog::FlushWanted() const {
  return !flush_waiters_.empty();
}

bool BuildLog::PlanWork(Work& work) {
  if (removed_) return false;
  CloseOpenChunk();
  const bool finish = finish_wanted_ && !has_footer_;
  const bool seal_all = finish || journal_bytes_ > kJournalBytesMax;
  std::vector<ChunkPointer> group;
  std::size_t group_bytes = 0;
  for (const ChunkPointer& chunk : chunks_) {
    if (chunk->next_event() <= sealed_.events) continue;
    group.push_back(chunk);
    group_bytes += chunk->bytes();
    if (group_bytes < kChunkBytes) continue;
    work.seals.push_back(std::exchange(group, {}));
    group_bytes = 0;
  }
  if (seal_all) {
    if (!group.empty()) work.seals.push_back(std::move(group));
  } else {
    for (const ChunkPointer& chunk : group) {
      if (chunk->next_event() > written_) work.journal.push_back(chunk);
    }
  }
  const bool writes = !work.seals.empty() || !work.journal.empty() || finish;
  const bool sync_due =
      context_->timers.clock().Steady() - last_sync_ >= context_->options.sync_interval;
  work.sync = finish || seal_all || FlushWanted() || sync_due || shutting_down_;
  if (!writes && !(work.sync && dirty_)) return false;

  work.files = context_->files;
  work.segments_path = FileOf(context_->PathOf(build_), epoch_, ".segments");
  work.journal_path = FileOf(context_->PathOf(build_), epoch_, ".journal");
  work.segments_file = segments_file_;
  work.journal_file = journal_file_;
  work.segments_bytes = segments_bytes_;
  work.journal_bytes = journal_bytes_;
  work.totals = sealed_;
  work.coverage = sealed_coverage_;
  if (finish) work.segments = segments_;
  work.cut_segments = cut_segments_;
  work.cut_journal = cut_journal_;
  work.sync_folder = !folder_synced_;
  work.empty_journal = seal_all;
  work.finish = finish;
  return true;
}

void BuildLog::Apply(const Work& work, Outcome& outcome) {
  segments_file_ = work.segments_file;
  journal_file_ = work.journal_file;
  if (outcome.sealed) {
    segments_bytes_ = work.segments_bytes;
    sealed_ = work.totals;
    sealed_coverage_ = work.coverage;
    segments_.insert(segments_.end(), outcome.new_segments.begin(), outcome.new_segments.end());
    written_ = std::max(written_, sealed_.events);
  }
  if (outcome.sealed || (!outcome.error && work.cut_segments)) cut_segments_ = false;
  if (outcome.journaled) {
    written_ = std::max(written_, work.journal.back()->next_event());
    cut_journal_ = false;
  }
  journal_bytes_ =
      outcome.journaled || outcome.journal_emptied ? work.journal_bytes : journal_bytes_;
  if (outcome.journal_emptied) cut_journal_ = false;
  if (outcome.sealed || outcome.journaled) dirty_ = true;
  if (outcome.synced) {
    synced_ = written_;
    dirty_ = false;
    folder_synced_ = true;
    last_sync_ = context_->timers.clock().Steady();
  }
  if (outcome.finished) {
    has_footer_ = true;
    journal_bytes_ = 0;
  }
  if (outcome.error) {
    // Parts may have been written: the next try begins by cutting them off.
    cut_segments_ = cut_segments_ || segments_file_ != nullptr;
    cut_journal_ = cut_journal_ || journal_file_ != nullptr;
  }
  CountUnwritten();
  DropWritten();
  if (unwritten_bytes_ < context_->options.memory_bytes_max) WakeRoom();
}

void BuildLog::Failed(const Error& error) {
  Error told = error;
  told.Context("writing " + Name());
  if (!failing_) {
    context_->log.LogError("a build's log cannot be written, it is tried again",
                           {{"build", build_.value}, {"error", error.message}});
  }
  failing_ = true;
  SettleFlushes(&told);
}

void BuildLog::Kick() {
  if (working_ || !loaded_) return;
  timer_.Cancel();
  timer_at_.reset();
  working_ = true;
  if (context_->tasks.Spawn(RunFileWork(shared_from_this()))) return;
  working_ = false;
  const Error closed{ErrorKind::kUnavailable, "writing " + Name() + ": the log store is closed"};
  SettleFlushes(&closed);
}

Task<void> BuildLog::RunFileWork(std::shared_ptr<BuildLog> self) {
  for (;;) {
    auto work = std::make_shared<Work>();
    if (!self->PlanWork(*work)) break;
    auto outcome = std::make_shared<Outcome>();
    try {
      co_await self->context_->pool.Run([work, outcome] { DoWork(*work, *outcome); });
    } catch (...) {
      outcome->error = Error{ErrorKind::kUnavailable, CurrentError().message};
    }
    self->Apply(*work, *outcome);
    if (outcome->error) {
      self->Failed(*outcome->error);
      break;
    }
    if (std::exchange(self->failing_, false)) {
      self->context_->log.Info("a build's log is written again", {{"build", self->build_.value}});
    }
    self->SettleFlushes(nullptr);
    if (!self->FlushWanted() && self->unwritten_bytes_ < kChunkBytes) break;
  }
  self->SettleFlushes(nullptr);
  self->working_ = false;
  self->Rest();
}

void BuildLog::Rest() {
  for (const Waker<bool>& waker : std::exchange(idle_waiters_, {}))
    waker(true);
  if (shutting_down_ || removed_) return;
  const FileLogStoreOptions& options = context_->options;
  if (failing_) {
    ArmTimer(options.retry_interval);
  } else if (unwritten_bytes_ > 0 || (finish_wanted_ && !has_footer_)) {
    ArmTimer(options.write_interval);
  } else if (dirty_) {
    const Duration since = context_->timers.clock().Steady() - last_sync_;
    ArmTimer(std::max(Duration::zero(), options.sync_interval - since));
  } else {
    const std::shared_ptr<BuildLog> last = std::move(keep_alive_);
  }
}

void BuildLog::ArmTimer(Duration delay) {
  if (shutting_down_) return;
  const SteadyTime when = context_->timers.clock().Steady() + delay;
  if (timer_at_ && *timer_at_ <= when) return;
  timer_at_ = when;
  keep_alive_ = shared_from_this();
  timer_ = context_->timers.At(when, [this] {
    timer_at_.reset();
    Kick();
  });
}

}  // namespace pinion::events
