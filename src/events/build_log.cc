#include "events/build_log.h"

#include <algorithm>

namespace pinion::events {
namespace {

constexpr std::size_t kKeptBytesMax = 1 << 20;  ///< sealed text kept for readers near the tail
constexpr std::size_t kDecodedKept = 16;

}  // namespace

std::filesystem::path LogContext::PathOf(BuildId build) const {
  // At most a thousand builds a folder, a thousand folders in one above it.
  const std::int64_t id = build.value;
  return folder / std::to_string(id / 1'000'000) / std::to_string(id / 1'000 % 1'000) /
         std::to_string(id);
}

ChunkPointer LogContext::FindDecoded(BuildId build, std::uint64_t first_event) {
  const auto found = std::ranges::find_if(decoded, [&](const Decoded& one) {
    return one.build == build && one.first_event == first_event;
  });
  if (found == decoded.end()) return nullptr;
  decoded.splice(decoded.begin(), decoded, found);
  return found->chunk;
}

void LogContext::KeepDecoded(BuildId build, ChunkPointer chunk) {
  const std::uint64_t first_event = chunk->first_event();
  decoded.push_front({build, first_event, std::move(chunk)});
  if (decoded.size() > kDecodedKept) decoded.pop_back();
}

void LogContext::ForgetDecoded(BuildId build) {
  decoded.remove_if([&](const Decoded& one) { return one.build == build; });
}

BuildLog::BuildLog(std::shared_ptr<LogContext> context, BuildId build)
    : context_(std::move(context)), build_(build) {}

BuildLog::~BuildLog() {
  const auto found = context_->logs.find(build_);
  if (found != context_->logs.end() && found->second.expired()) context_->logs.erase(found);
}

// --- Appending
// ----------------------------------------------------------------------------------------

void BuildLog::OpenForWriting() {
  writer_open_ = true;
  finish_wanted_ = false;
  finished_ = false;
  last_event_.reset();
  ended_ = false;
  removed_ = false;
  last_sync_ = context_->timers.clock().Steady();
  // A footer of a former life is cut off with the next write.
  cut_segments_ = cut_segments_ || has_footer_;
  has_footer_ = false;
}

void BuildLog::CloseWriter() {
  writer_open_ = false;
  if (!removed_ && (synced_ < next_event_ || dirty_)) Kick();
  WakeReaders();
}

Chunk& BuildLog::OpenChunk() {
  if (!open_) open_ = std::make_unique<Chunk>(next_event_);
  return *open_;
}

void BuildLog::CloseOpenChunk() {
  if (open_) chunks_.push_back(std::move(open_));
}

std::uint64_t BuildLog::Append(const protocol::Event& event,
                               const std::optional<Coverage>& coverage) {
  if (removed_) return next_event_++;
  Chunk& chunk = OpenChunk();
  const std::size_t before = chunk.bytes();
  chunk.Append(event, coverage);
  return Appended(before, coverage);
}

std::uint64_t BuildLog::AppendLast(const protocol::Event& event,
                                   const std::optional<Coverage>& coverage) {
  // A chunk of its own, as readers take whole ones.
  CloseOpenChunk();
  last_event_ = next_event_;
  return Append(event, coverage);
}

std::uint64_t BuildLog::AppendLog(const protocol::Origin& origin, std::int64_t time,
                                  std::string_view payload,
                                  const std::optional<Coverage>& coverage) {
  if (removed_) return next_event_++;
  Chunk& chunk = OpenChunk();
  const std::size_t before = chunk.bytes();
  chunk.AppendLog(origin, time, payload, coverage);
  return Appended(before, coverage);
}

std::uint64_t BuildLog::Appended(std::size_t bytes_before,
                                 const std::optional<Coverage>& coverage) {
  unwritten_bytes_ += open_->bytes() - bytes_before;
  if (open_->bytes() >= kChunkBytes) CloseOpenChunk();
  if (coverage) {
    std::uint64_t& end =
        coverage_[CoverageKey(coverage->plan_id, coverage->attempt, coverage->stream)];
    end = std::max(end, coverage->end);
  }
  const std::uint64_t id = next_event_++;
  if (!readers_waiting_.empty()) WakeReaders();
  // While the disk fails, the retry timer decides when to try again.
  if (unwritten_bytes_ >= kChunkBytes && !failing_) {
    Kick();
  } else if (!working_ && !failing_) {
    ArmTimer(context_->options.write_interval);
  }
  return id;
}

std::uint64_t BuildLog::Covered(const CoverageKey& key) const {
  const auto found = coverage_.find(key);
  return found == coverage_.end() ? 0 : found->second;
}

std::uint64_t BuildLog::CoveredOutput() const {
  std::uint64_t total = 0;
  for (const auto& [key, end] : coverage_) {
    if (std::get<2>(key) > 0) total += end;
  }
  return total;
}

Task<void> BuildLog::WaitForRoom(std::stop_token stop) {
  while (unwritten_bytes_ >= context_->options.memory_bytes_max && !removed_) {
    co_await SuspendUntilStop<bool>(
        stop, [this](Waker<bool> waker) { room_waiters_.push_back(std::move(waker)); });
  }
}

Task<void> BuildLog::Flush() {
  if (removed_ || (synced_ >= next_event_ && !dirty_)) co_return;
  const std::uint64_t target = next_event_;
  co_await Suspend<bool>([this, target](Waker<bool> waker) {
    flush_waiters_.push_back({target, false, std::move(waker)});
    Kick();
  });
}

Task<void> BuildLog::Finish() {
  if (removed_ || has_footer_) co_return;
  finish_wanted_ = true;
  // The build is over whatever the disk says: watchers are not kept waiting for it.
  finished_ = true;
  WakeReaders();
  const std::uint64_t target = next_event_;
  co_await Suspend<bool>([this, target](Waker<bool> waker) {
    flush_waiters_.push_back({target, true, std::move(waker)});
    Kick();
  });
}

// --- Reading
// ------------------------------------------------------------------------------------------

Task<BuildLog::Slice> BuildLog::Read(std::uint64_t position, bool running, std::stop_token stop) {
  for (;;) {
    ThrowIfStopped(stop);
    if (removed_) co_return Slice{};
    if (!loaded_) co_await Load();
    if (std::exchange(look_again_, false)) co_await Reload();
    if (!loaded_) continue;
    const bool all_shown = !last_event_ || position < *last_event_ || finished_ || !writer_open_;
    std::uint64_t memory_start = open_ ? open_->first_event() : next_event_;
    if (!chunks_.empty()) memory_start = chunks_.front()->first_event();
    if (all_shown && position < memory_start) {
      const auto after =
          std::ranges::upper_bound(segments_, position, {}, &SegmentInfo::first_event);
      if (after == segments_.begin()) {
        throw Failure(ErrorKind::kInternal, Name() + " has no event " + std::to_string(position));
      }
      const auto index = static_cast<std::size_t>(after - segments_.begin() - 1);
      ChunkPointer chunk = co_await ReadSegment(index, stop);
      if (!chunk) continue;  // it was removed meanwhile
      if (position >= chunk->next_event()) {
        throw Failure(ErrorKind::kInternal, Name() + " lacks event " + std::to_string(position));
      }
      co_return Slice{std::move(chunk), position};
    }
    if (all_shown && position < next_event_) {
      if (open_ && position >= open_->first_event()) CloseOpenChunk();
      const auto after = std::ranges::upper_bound(
          chunks_, position, {}, [](const ChunkPointer& chunk) { return chunk->first_event(); });
      co_return Slice{*(after - 1), position};
    }
    if (finished_ || (!writer_open_ && (!running || ended_))) co_return Slice{};
    if (WrittenElsewhere()) LookAgainLater();
    co_await SuspendUntilStop<bool>(
        stop, [this](Waker<bool> waker) { readers_waiting_.push_back(std::move(waker)); });
  }
}

void BuildLog::RemoveReader() {
  if (--readers_ > 0) return;
  look_timer_.Cancel();
  look_armed_ = false;
  DropWritten();
}

void BuildLog::MarkEnded() {
  ended_ = true;
  look_again_ = WrittenElsewhere();  // its writer wrote all of it before it said so
  WakeReaders();
}

Task<ChunkPointer> BuildLog::ReadSegment(std::size_t index, std::stop_token stop) {
  const SegmentInfo info = segments_[index];
  if (ChunkPointer chunk = context_->FindDecoded(build_, info.first_event)) co_return chunk;
  if (const auto found = reading_.find(index); found != reading_.end()) {
    const std::shared_ptr<PendingRead> pending = found->second;
    co_await pending->done.Wait(stop);
    if (pending->error && !removed_) std::rethrow_exception(pending->error);
    co_return pending->chunk;
  }
  auto pending = std::make_shared<PendingRead>();
  reading_[index] = pending;
  try {
    pending->chunk = co_await context_->pool.Run([file = segments_file_, info]() -> ChunkPointer {
      const std::string bytes = file->ReadAt(info.file_offset, info.file_bytes);
      const auto header = ReadSegmentHeader(bytes);
      if (!header) throw Failure(ErrorKind::kInternal, "damaged: no segment where one should be");
      auto chunk = ReadSegmentChunk(*header, std::string_view(bytes).substr(kSegmentHeaderBytes));
      return std::make_shared<const Chunk>(ValueOrThrow(std::move(chunk)));
    });
    if (!removed_) context_->KeepDecoded(build_, pending->chunk);
  } catch (...) {
    pending->error = std::make_exception_ptr(Failure(CurrentError().Context("reading " + Name())));
  }
  reading_.erase(index);
  pending->done.Set();
  if (pending->error && !removed_) std::rethrow_exception(pending->error);
  co_return pending->chunk;
}

// --- The end
// ------------------------------------------------------------------------------------------

Task<void> BuildLog::WaitUntilIdle() {
  while (working_) {
    co_await Suspend<bool>(
        [this](Waker<bool> waker) { idle_waiters_.push_back(std::move(waker)); });
  }
}

Task<void> BuildLog::Remove() {
  removed_ = true;
  Abandon();
  WakeReaders();
  WakeRoom();
  SettleFlushes(nullptr);
  co_await WaitUntilIdle();
  // What a writer of another life will append begins at 0 again.
  const bool loaded = loaded_;
  Forget();
  loaded_ = loaded;
}

void BuildLog::Forget() {
  loaded_ = finished_ = false;
  context_->ForgetDecoded(build_);
  segments_file_.reset();
  journal_file_.reset();
  segments_.clear();
  chunks_.clear();
  open_.reset();
  coverage_.clear();
  sealed_coverage_.clear();
  sealed_ = {};
  segments_bytes_ = journal_bytes_ = 0;
  next_event_ = written_ = synced_ = 0;
  unwritten_bytes_ = 0;
  has_footer_ = dirty_ = cut_segments_ = cut_journal_ = folder_synced_ = false;
}

Task<void> BuildLog::Shutdown() {
  shutting_down_ = true;
  timer_.Cancel();
  timer_at_.reset();
  if (!removed_ && (synced_ < next_event_ || dirty_)) {
    try {
      co_await Flush();
    } catch (const Failure& failure) {
      context_->log.Warn("a build's log could not be written at shutdown",
                         {{"build", build_.value}, {"error", failure.error().message}});
    }
  }
  co_await WaitUntilIdle();
  Abandon();
}

void BuildLog::Abandon() {
  timer_.Cancel();
  timer_at_.reset();
  const std::shared_ptr<BuildLog> last = std::move(keep_alive_);
}

void BuildLog::WakeReaders() {
  for (const Waker<bool>& waker : std::exchange(readers_waiting_, {}))
    waker(true);
}

void BuildLog::WakeRoom() {
  for (const Waker<bool>& waker : std::exchange(room_waiters_, {}))
    waker(true);
}

void BuildLog::SettleFlushes(const Error* error) {
  std::vector<FlushWaiter> left;
  for (FlushWaiter& waiter : std::exchange(flush_waiters_, {})) {
    if (error) {
      waiter.waker.Fail(std::make_exception_ptr(Failure(*error)));
    } else if (removed_ || (synced_ >= waiter.target && (!waiter.finish || has_footer_))) {
      waiter.waker(true);
    } else {
      left.push_back(std::move(waiter));
    }
  }
  flush_waiters_ = std::move(left);
}

void BuildLog::DropWritten() {
  std::size_t kept = 0;
  if (readers_ > 0) {
    for (const ChunkPointer& chunk : chunks_) {
      if (chunk->next_event() <= sealed_.events) kept += chunk->bytes();
    }
  }
  while (!chunks_.empty() && chunks_.front()->next_event() <= sealed_.events &&
         (readers_ == 0 || kept > kKeptBytesMax)) {
    kept -= std::min(kept, chunks_.front()->bytes());
    chunks_.pop_front();
  }
}

void BuildLog::CountUnwritten() {
  unwritten_bytes_ = open_ ? open_->bytes() : 0;
  for (auto chunk = chunks_.rbegin(); chunk != chunks_.rend(); ++chunk) {
    if ((*chunk)->next_event() <= written_) break;
    unwritten_bytes_ += (*chunk)->bytes();
  }
}

}  // namespace pinion::events
