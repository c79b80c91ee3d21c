#include <set>

#include "base/text.h"
#include "events/build_log.h"
#include "events/shared_files.h"

namespace pinion::events {

Task<EventText> BuildLogReader::NextText(std::stop_token stop) {
  EventBatch batch = co_await Next(std::move(stop));
  auto text = std::make_shared<std::string>();
  EventText result;
  for (const EventBatch::Item& item : batch.items) {
    *text += "id: " + std::to_string(item.id) + "\nevent: event\ndata: " + item.envelope + "\n\n";
    result.next_event = item.id + 1;
  }
  result.text = *text;
  result.owner = std::move(text);
  result.end = batch.end;
  co_return result;
}

namespace {

class FileLogWriter final : public BuildLogWriter {
 public:
  explicit FileLogWriter(std::shared_ptr<BuildLog> log) : log_(std::move(log)) {}
  FileLogWriter(const FileLogWriter&) = delete;
  FileLogWriter& operator=(const FileLogWriter&) = delete;
  ~FileLogWriter() override { log_->CloseWriter(); }

  std::uint64_t Append(const protocol::Event& event,
                       const std::optional<Coverage>& coverage) override {
    return log_->Append(event, coverage);
  }
  std::uint64_t AppendLast(const protocol::Event& event,
                           const std::optional<Coverage>& coverage) override {
    return log_->AppendLast(event, coverage);
  }
  std::uint64_t AppendLog(const protocol::Origin& origin, std::int64_t time,
                          std::string_view payload,
                          const std::optional<Coverage>& coverage) override {
    return log_->AppendLog(origin, time, payload, coverage);
  }
  std::uint64_t Covered(const std::string& plan_id, int attempt, int stream) const override {
    return log_->Covered(CoverageKey(plan_id, attempt, stream));
  }
  std::uint64_t CoveredOutput() const override { return log_->CoveredOutput(); }
  Task<void> Ready(std::stop_token stop) override { return log_->WaitForRoom(std::move(stop)); }
  Task<void> Flush() override { return log_->Flush(); }
  Task<void> Finish() override { return log_->Finish(); }

 private:
  std::shared_ptr<BuildLog> log_;
};

class FileLogReader final : public BuildLogReader {
 public:
  FileLogReader(std::shared_ptr<BuildLog> log, std::uint64_t from, bool running)
      : log_(std::move(log)), position_(from), running_(running) {
    log_->AddReader();
  }
  FileLogReader(const FileLogReader&) = delete;
  FileLogReader& operator=(const FileLogReader&) = delete;
  ~FileLogReader() override { log_->RemoveReader(); }

  Task<EventBatch> Next(std::stop_token stop) override {
    const BuildLog::Slice slice = co_await log_->Read(position_, running_, stop);
    EventBatch batch;
    batch.end = !slice.chunk;
    if (batch.end) co_return batch;
    batch.items.reserve(slice.chunk->next_event() - slice.from);
    for (std::uint64_t id = slice.from; id < slice.chunk->next_event(); ++id) {
      batch.items.push_back(slice.chunk->ItemAt(id));
    }
    position_ = slice.chunk->next_event();
    co_return batch;
  }

  Task<EventText> NextText(std::stop_token stop) override {
    BuildLog::Slice slice = co_await log_->Read(position_, running_, stop);
    EventText result;
    result.end = !slice.chunk;
    if (slice.chunk) {
      result.text = slice.chunk->TextFrom(slice.from);
      position_ = slice.chunk->next_event();
      result.owner = std::move(slice.chunk);
    }
    result.next_event = position_;
    co_return result;
  }

 private:
  std::shared_ptr<BuildLog> log_;
  std::uint64_t position_;
  bool running_;
};

/// Numbers in the names of what is in a folder, ascending from `least` on.
std::set<std::int64_t> NumbersIn(const std::filesystem::path& folder, std::int64_t least) {
  std::set<std::int64_t> numbers;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(folder, error)) {
    const std::string name = entry.path().filename();
    const auto number = ParseNumber(std::string_view(name).substr(0, name.find('.')));
    if (number && *number >= least) numbers.insert(*number);
  }
  return numbers;
}

/// Blocks. The folders are those of LogContext::PathOf.
std::vector<BuildId> ListFiles(const std::filesystem::path& folder, BuildId first,
                               std::size_t limit) {
  std::vector<BuildId> builds;
  const std::int64_t thousands = first.value / 1000;
  for (const std::int64_t million : NumbersIn(folder, thousands / 1000)) {
    const std::filesystem::path outer = folder / std::to_string(million);
    for (const std::int64_t thousand : NumbersIn(outer, 0)) {
      if (million * 1000 + thousand < thousands) continue;
      for (const std::int64_t build : NumbersIn(outer / std::to_string(thousand), first.value)) {
        if (builds.size() == limit) return builds;
        builds.push_back(BuildId{build});
      }
    }
  }
  return builds;
}

class FileLogStore final : public LogStore {
 public:
  explicit FileLogStore(std::shared_ptr<LogContext> context) : context_(std::move(context)) {}
  FileLogStore(const FileLogStore&) = delete;
  FileLogStore& operator=(const FileLogStore&) = delete;
  ~FileLogStore() override {
    for (const std::shared_ptr<BuildLog>& log : Logs())
      log->Abandon();
  }

  Task<std::unique_ptr<BuildLogWriter>> OpenWriter(BuildId build, std::int64_t epoch) override {
    const std::shared_ptr<BuildLog> log = Get(build);
    co_await log->Load();
    if (log->writer_open()) {
      throw Failure(ErrorKind::kConflict,
                    "the log of build " + std::to_string(build.value) + " has a writer already");
    }
    if (context_->options.shared && epoch > 0) co_await log->Seize(epoch);
    log->OpenForWriting();
    co_return std::make_unique<FileLogWriter>(log);
  }

  Task<std::unique_ptr<BuildLogReader>> OpenReader(BuildId build, std::uint64_t from,
                                                   bool running) override {
    const std::shared_ptr<BuildLog> log = Get(build);
    co_await log->Reload();
    co_return std::make_unique<FileLogReader>(log, from, running);
  }

  Task<void> Remove(BuildId build) override {
    const auto found = context_->logs.find(build);
    std::shared_ptr<BuildLog> log = found == context_->logs.end() ? nullptr : found->second.lock();
    if (log) co_await log->Remove();
    co_await context_->pool.Run(
        [files = context_->files, stem = context_->PathOf(build)] { RemoveFiles(*files, stem); });
  }

  Task<std::vector<BuildId>> ListStored(BuildId first, std::size_t limit) override {
    co_return co_await context_->pool.Run(
        [folder = context_->folder, first, limit] { return ListFiles(folder, first, limit); });
  }

  void MarkEnded(BuildId build) override {
    const auto found = context_->logs.find(build);
    if (found == context_->logs.end()) return;
    if (const std::shared_ptr<BuildLog> log = found->second.lock()) log->MarkEnded();
  }

  Task<void> Close() override {
    for (const std::shared_ptr<BuildLog>& log : Logs())
      co_await log->Shutdown();
    context_->tasks.RequestStop();
    co_await context_->tasks.Join();
  }

 private:
  std::shared_ptr<BuildLog> Get(BuildId build) {
    std::weak_ptr<BuildLog>& known = context_->logs[build];
    std::shared_ptr<BuildLog> log = known.lock();
    if (!log) {
      log = std::make_shared<BuildLog>(context_, build);
      known = log;
    }
    return log;
  }

  std::vector<std::shared_ptr<BuildLog>> Logs() const {
    std::vector<std::shared_ptr<BuildLog>> logs;
    for (const auto& [build, known] : context_->logs) {
      if (auto log = known.lock()) logs.push_back(std::move(log));
    }
    return logs;
  }

  std::shared_ptr<LogContext> context_;
};

}  // namespace

std::unique_ptr<LogStore> MakeFileLogStore(std::filesystem::path folder, Executor executor,
                                           Timers& timers, ThreadPool& pool, Logger log,
                                           FileLogStoreOptions options,
                                           std::shared_ptr<LogFiles> files) {
  if (!files) files = MakeSystemLogFiles();
  return std::make_unique<FileLogStore>(std::make_shared<LogContext>(
      std::move(folder), executor, timers, pool, std::move(log), options, std::move(files)));
}

}  // namespace pinion::events
