#include "components/registry.h"

#include <algorithm>

#include "async/signal.h"

namespace pinion::components {

namespace {

using std::chrono::seconds;

// The table is for people: it lags by this much at most, so that frequent runs cost no statements.
constexpr Duration kRecordInterval = std::chrono::minutes(1);
constexpr Duration kFirstRetry = seconds(1);
constexpr Duration kLastRetry = std::chrono::minutes(1);
// Components do not all start in the same moment.
constexpr Duration kStartSpread = std::chrono::milliseconds(200);

}  // namespace

struct Registry::Entry {
  Component component;
  ComponentStatus status;
  Signal wake;
  bool due = false;        // its time has come
  bool triggered = false;  // somebody asked
  bool to_record = false;
  int failures_in_a_row = 0;
  Timers::Handle timer;
};

Registry::Registry(Executor executor, store::Database& database, Timers& timers, Logger log,
                   std::uint64_t seed)
    : executor_(executor),
      database_(database),
      timers_(timers),
      log_(std::move(log)),
      random_(seed),
      tasks_(executor, log_, "components") {}

Registry::~Registry() = default;

void Registry::Add(Component component) {
  auto entry = std::make_unique<Entry>();
  entry->status.name = component.name;
  entry->status.role = component.role;
  entry->status.interval = component.interval;
  entry->component = std::move(component);
  entries_.push_back(std::move(entry));
}

Registry::Entry& Registry::Find(std::string_view name) const {
  for (const auto& entry : entries_) {
    if (entry->component.name == name) return *entry;
  }
  throw Failure(ErrorKind::kInternal, "no component is called '" + std::string(name) + "'");
}

Task<void> Registry::Start(std::stop_token stop) {
  std::vector<store::ComponentRow> wanted;
  for (const auto& entry : entries_) {
    wanted.push_back({.name = entry->component.name,
                      .role = entry->component.role,
                      .interval = entry->component.interval,
                      .pausable = entry->component.pausable()});
  }
  const auto rows = co_await database_.Write(
      store::Pool::kEngine,
      [wanted](store::Transaction& transaction) {
        for (const auto& row : wanted)
          store::RegisterComponent(transaction, row);
        return store::ListComponents(transaction);
      },
      stop);
  SetPaused(rows);
  for (const auto& entry : entries_) {
    if (!entry->component.run) continue;
    if (entry->component.interval > Duration::zero()) {
      std::uniform_int_distribution<std::int64_t> spread(0, kStartSpread.count());
      Schedule(*entry, Duration(spread(random_)));
    }
    tasks_.Spawn(Follow(*entry, tasks_.stop_token()));
  }
  tasks_.Spawn(RecordRuns(tasks_.stop_token()));
}

Task<void> Registry::Stop() {
  tasks_.RequestStop();
  co_await tasks_.Join();
  for (const auto& entry : entries_)
    entry->timer.Cancel();
  try {
    co_await Record({});
  } catch (const Failure& failure) {
    log_.Warn("the last runs of components were not noted", {{"error", failure.what()}});
  }
}

void Registry::Trigger(std::string_view name) {
  Entry& entry = Find(name);
  entry.triggered = true;
  entry.wake.Set();
}

RunListener Registry::RunsOf(std::string_view name) {
  return [this, entry = &Find(name)](SteadyTime begun, const std::string& error) {
    const Clock& clock = timers_.clock();
    ComponentStatus& status = entry->status;
    ++status.runs;
    status.last_duration = clock.Steady() - begun;
    status.last_ran =
        clock.UnixSeconds() -
        std::chrono::duration_cast<std::chrono::seconds>(status.last_duration).count();
    status.last_error = error.empty() ? std::nullopt : std::optional(error);
    if (!error.empty()) ++status.failures;
    entry->to_record = true;
  };
}

void Registry::Schedule(Entry& entry, Duration delay) {
  entry.timer = timers_.After(delay, [&entry] {
    entry.due = true;
    entry.wake.Set();
  });
}

Duration Registry::Jittered(Duration interval) {
  // Up to a tenth sooner: never later than the interval says.
  std::uniform_int_distribution<std::int64_t> sooner(0, interval.count() / 10);
  return interval - Duration(sooner(random_));
}

Task<void> Registry::Follow(Entry& entry, std::stop_token stop) {
  for (;;) {
    if (entry.status.paused || (!entry.due && !entry.triggered)) {
      co_await entry.wake.Wait(stop);
      continue;
    }
    const bool triggered = entry.triggered;
    entry.due = false;
    entry.triggered = false;
    entry.timer.Cancel();
    co_await RunOnce(entry, triggered, stop);
  }
}

Task<bool> Registry::Claim(const Entry& entry, std::stop_token stop) {
  // SQLite has one node.
  if (!entry.component.shared || database_.dialect() == store::Dialect::kSqlite) co_return true;
  // Jitter brings the next turn up to a tenth earlier.
  const Duration least = entry.component.interval - entry.component.interval / 8;
  co_return co_await database_.Write(
      store::Pool::kEngine,
      [name = entry.component.name, least](store::Transaction& transaction) {
        return store::ClaimComponentRun(transaction, name, least);
      },
      stop);
}

Task<std::optional<std::string>> Registry::Attempt(Entry& entry, std::stop_token stop) {
  const Deadline deadline(timers_, entry.component.time_limit, stop);
  try {
    co_await entry.component.run(deadline.token());
  } catch (const Cancelled&) {
    if (stop.stop_requested()) throw;
    co_return deadline.expired() ? "it took too long and was stopped" : "it was cancelled";
  } catch (const std::exception& error) {
    co_return error.what();
  }
  co_return std::nullopt;
}

Task<void> Registry::RunOnce(Entry& entry, bool triggered, std::stop_token stop) {
  const Clock& clock = timers_.clock();
  ComponentStatus& status = entry.status;
  bool claimed = triggered;
  std::optional<std::string> error;
  const std::int64_t started = clock.UnixSeconds();
  const SteadyTime begun = clock.Steady();
  status.running = true;
  try {
    if (!triggered) claimed = co_await Claim(entry, stop);
    if (claimed) error = co_await Attempt(entry, stop);
  } catch (const Failure& failure) {
    error = failure.what();
  } catch (...) {
    status.running = false;
    throw;
  }
  status.running = false;
  if (claimed || error) {
    ++status.runs;
    status.last_ran = started;
    status.last_duration = clock.Steady() - begun;
    status.last_error = error;
    entry.to_record = true;
  }
  if (error) {
    ++status.failures;
    const int doubled = std::min(entry.failures_in_a_row++, 6);
    log_.Warn("a component failed and is tried again",
              {{"component", status.name}, {"error", *error}});
    Duration retry = std::min<Duration>(kFirstRetry * (1 << doubled), kLastRetry);
    if (status.interval > Duration::zero()) retry = std::min(retry, status.interval);
    Schedule(entry, retry);
    co_return;
  }
  entry.failures_in_a_row = 0;
  if (status.interval > Duration::zero()) Schedule(entry, Jittered(status.interval));
}

Task<void> Registry::RecordRuns(std::stop_token stop) {
  for (;;) {
    co_await timers_.Sleep(kRecordInterval, stop);
    try {
      co_await Record(stop);
    } catch (const Failure& failure) {
      log_.Warn("runs of components could not be noted", {{"error", failure.what()}});
    }
  }
}

Task<void> Registry::Record(std::stop_token stop) {
  std::vector<store::ComponentRun> runs;
  for (const auto& entry : entries_) {
    if (!entry->to_record) continue;
    const ComponentStatus& status = entry->status;
    runs.push_back({.name = status.name,
                    .started = status.last_ran.value_or(0),
                    .duration = status.last_duration,
                    .error = status.last_error});
  }
  if (runs.empty()) co_return;
  co_await database_.Write(
      store::Pool::kEngine,
      [runs](store::Transaction& transaction) { store::RecordComponentRuns(transaction, runs); },
      stop);
  for (const auto& run : runs) {
    Entry& entry = Find(run.name);
    // It may have run again while this was written.
    if (entry.status.last_ran == run.started) entry.to_record = false;
  }
}

void Registry::SetPaused(const std::vector<store::ComponentRow>& rows) {
  for (const auto& entry : entries_) {
    const auto row = std::ranges::find(rows, entry->component.name, &store::ComponentRow::name);
    if (row == rows.end()) continue;
    entry->status.paused = row->paused;
    if (entry->component.set_paused) entry->component.set_paused(row->paused);
    entry->wake.Set();
  }
}

Task<void> Registry::Reload(std::stop_token stop) {
  const auto rows = co_await database_.Read(
      store::Pool::kEngine,
      [](store::Transaction& transaction) { return store::ListComponents(transaction); }, stop);
  SetPaused(rows);
}

bool Registry::IsPaused(std::string_view name) const {
  return Find(name).status.paused;
}

std::vector<ComponentStatus> Registry::List() const {
  std::vector<ComponentStatus> list;
  list.reserve(entries_.size());
  for (const auto& entry : entries_)
    list.push_back(entry->status);
  return list;
}

}  // namespace pinion::components
