#include "fleet/registry.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"

namespace pinion::fleet {

using store::Pool;
using store::Transaction;
using store::WorkerRow;
using store::WorkerState;

namespace {

std::int64_t Seconds(Duration ttl) {
  return std::chrono::ceil<std::chrono::seconds>(ttl).count();
}

/// "3.0" as numbers; nothing if it is no version.
std::optional<std::vector<int>> Version(std::string_view text) {
  std::vector<int> numbers;
  for (const std::string_view part : Split(text, '.')) {
    int number = 0;
    const auto parsed = std::from_chars(part.data(), part.data() + part.size(), number);
    if (part.empty() || parsed.ec != std::errc() || parsed.ptr != part.data() + part.size()) {
      return std::nullopt;
    }
    numbers.push_back(number);
  }
  return numbers;
}

}  // namespace

Placement::Placement(std::shared_ptr<WorkerClient> worker, std::weak_ptr<int> load,
                     std::function<void()> released)
    : worker_(std::move(worker)), load_(std::move(load)), released_(std::move(released)) {
  if (const auto count = load_.lock()) ++*count;
}

Placement::~Placement() {
  if (!worker_) return;  // moved from
  if (const auto count = load_.lock()) --*count;
  released_();
}

WorkerRegistry::WorkerRegistry(Executor executor, Timers& timers, store::Database& database,
                               Logger log, WorkerRegistryOptions options)
    : executor_(std::move(executor)),
      timers_(timers),
      database_(database),
      log_(std::move(log)),
      options_(std::move(options)),
      tasks_(executor_, log_, "worker registry") {}

WorkerRegistry::~WorkerRegistry() {
  *alive_ = false;
}

Task<void> WorkerRegistry::Start() {
  co_await Load();
  tasks_.Spawn(Sweep());
}

Task<void> WorkerRegistry::Close() {
  tasks_.RequestStop();
  for (const std::shared_ptr<Waiter>& waiter : queue_) {
    waiter->waker.Fail(std::make_exception_ptr(Cancelled()));
  }
  co_await tasks_.Join();
  for (auto& [name, entry] : entries_)
    co_await entry.client->Close();
}

// --- The table
// ------------------------------------------------------------------------------------

Task<void> WorkerRegistry::Load() {
  std::vector<WorkerRow> rows = co_await database_.Read(
      Pool::kEngine, [](Transaction& transaction) { return store::ListWorkers(transaction); });
  TakeRows(std::move(rows));
}

Task<void> WorkerRegistry::Refresh() {
  // Who comes while one reading is under way needs the next one: his change may be newer than it.
  while (loading_) {
    const std::shared_ptr<Event> loading = loading_;
    co_await loading->Wait({});
  }
  loading_ = std::make_shared<Event>();
  std::exception_ptr error;
  try {
    co_await Load();
  } catch (...) {
    error = std::current_exception();
  }
  std::exchange(loading_, nullptr)->Set();
  if (error) std::rethrow_exception(error);
}

std::unique_ptr<WorkerClient> WorkerRegistry::MakeClient(const WorkerRow& row) {
  if (options_.make_client) return options_.make_client(row);
  WorkerClientOptions options;
  options.name = row.name;
  options.garden_url = row.garden_addr.starts_with("unix:") || row.garden_addr.starts_with("http")
                           ? row.garden_addr
                           : "http://" + row.garden_addr;
  options.baggageclaim_url = row.baggageclaim_url;
  options.unreachable_limit = options_.unreachable_limit;
  return MakeWorkerClient(executor_, timers_, log_.With({{"worker", row.name}}),
                          std::move(options));
}

void WorkerRegistry::TakeRows(std::vector<WorkerRow> rows) {
  std::map<std::string, WorkerRow> taken;
  for (WorkerRow& row : rows) {
    std::string name = row.name;
    taken.emplace(std::move(name), std::move(row));
  }
  const bool changed = taken != rows_;
  rows_ = std::move(taken);
  for (const auto& [name, row] : rows_) {
    if (row.garden_addr.empty()) continue;
    const auto known = entries_.find(name);
    if (known != entries_.end() && known->second.garden_addr == row.garden_addr &&
        known->second.baggageclaim_url == row.baggageclaim_url) {
      continue;
    }
    // Another address is another worker of that name; who holds the old client keeps it.
    Entry entry;
    try {
      entry.client = MakeClient(row);
    } catch (const Failure& failure) {
      log_.LogError("a worker's address cannot be used",
                    {{"worker", name}, {"error", failure.error().message}});
      continue;
    }
    entry.garden_addr = row.garden_addr;
    entry.baggageclaim_url = row.baggageclaim_url;
    if (known != entries_.end()) {
      RetireClient(std::move(known->second.client));
      known->second = std::move(entry);
    } else {
      entries_.emplace(name, std::move(entry));
    }
  }
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    const auto row = rows_.find(entry->first);
    if (row != rows_.end() && !row->second.garden_addr.empty()) {
      ++entry;
      continue;
    }
    RetireClient(std::move(entry->second.client));
    entry = entries_.erase(entry);
  }
  sweep_soon_.Set();
  ServeQueue();
  if (!changed) return;
  for (const auto& listener : listeners_)
    listener();
}

void WorkerRegistry::RetireClient(std::shared_ptr<WorkerClient> client) {
  tasks_.Spawn(CloseWhenUnused(std::move(client), timers_, tasks_.stop_token()));
}

Task<void> WorkerRegistry::CloseWhenUnused(std::shared_ptr<WorkerClient> client, Timers& timers,
                                           std::stop_token stop) {
  while (client.use_count() > 1 && !stop.stop_requested()) {
    try {
      co_await timers.Sleep(std::chrono::seconds(10), stop);
    } catch (const Cancelled&) {
      break;
    }
  }
  co_await client->Close();
}

bool WorkerRegistry::NeedsSweeps() const {
  return std::ranges::any_of(rows_, [](const auto& item) {
    const WorkerRow& row = item.second;
    return row.state == WorkerState::kLanding || row.state == WorkerState::kRetiring ||
           (row.expires && (row.state == WorkerState::kRunning || row.ephemeral));
  });
}

Task<void> WorkerRegistry::Sweep() {
  const std::stop_token stop = tasks_.stop_token();
  for (;;) {
    // Workers that never expire cost no statement.
    if (!NeedsSweeps()) {
      co_await sweep_soon_.Wait(stop);
      continue;
    }
    co_await timers_.Sleep(options_.sweep_interval, stop);
    try {
      const int moved = co_await database_.Write(
          Pool::kLease, [](Transaction& transaction) { return store::SweepWorkers(transaction); });
      // Heartbeats that came to other nodes are not on the feed; they matter only here.
      if (moved > 0) co_await Refresh();
    } catch (const Failure& failure) {
      log_.Warn("sweeping the workers failed, it is tried again",
                {{"error", failure.error().message}});
    }
  }
}

Task<void> WorkerRegistry::Register(WorkerRow worker, Duration ttl) {
  co_await database_.Write(Pool::kLease, [worker, ttl](Transaction& transaction) {
    store::RegisterWorker(transaction, worker, Seconds(ttl));
  });
  co_await Refresh();
}

Task<std::optional<WorkerRow>> WorkerRegistry::Heartbeat(std::string name, Duration ttl,
                                                         std::int64_t active_containers,
                                                         std::int64_t active_volumes) {
  auto row = co_await database_.Write(
      Pool::kLease, [name, ttl, active_containers, active_volumes](Transaction& transaction) {
        return store::HeartbeatWorker(transaction, name, Seconds(ttl), active_containers,
                                      active_volumes);
      });
  const auto known = rows_.find(name);
  const bool same = row && known != rows_.end() && known->second.state == row->state;
  if (same) {
    known->second = *row;
  } else {
    co_await Refresh();
  }
  co_return row;
}

Task<bool> WorkerRegistry::Land(std::string name) {
  const bool found = co_await database_.Write(Pool::kApi, [name](Transaction& transaction) {
    return store::LandWorker(transaction, name);
  });
  co_await Refresh();
  co_return found;
}

Task<bool> WorkerRegistry::Retire(std::string name) {
  const bool found = co_await database_.Write(Pool::kApi, [name](Transaction& transaction) {
    return store::RetireWorker(transaction, name);
  });
  co_await Refresh();
  co_return found;
}

Task<bool> WorkerRegistry::Prune(std::string name) {
  const bool found = co_await database_.Write(Pool::kApi, [name](Transaction& transaction) {
    return store::PruneWorker(transaction, name);
  });
  co_await Refresh();
  co_return found;
}

Task<bool> WorkerRegistry::Delete(std::string name) {
  const bool found = co_await database_.Write(Pool::kApi, [name](Transaction& transaction) {
    return store::DeleteWorker(transaction, name);
  });
  co_await Refresh();
  co_return found;
}

std::shared_ptr<WorkerClient> WorkerRegistry::Client(const std::string& name) const {
  const auto entry = entries_.find(name);
  return entry == entries_.end() ? nullptr : entry->second.client;
}

const store::WorkerResourceType* WorkerRegistry::BaseType(const std::string& worker,
                                                          const std::string& type) const {
  const auto row = rows_.find(worker);
  if (row == rows_.end()) return nullptr;
  const auto& types = row->second.resource_types;
  const auto found = std::ranges::find(types, type, &store::WorkerResourceType::type);
  return found == types.end() ? nullptr : &*found;
}

// --- Placement
// ------------------------------------------------------------------------------------

bool WorkerRegistry::VersionFits(const WorkerRow& row) const {
  if (options_.worker_version.empty()) return true;
  const auto wanted = Version(options_.worker_version);
  const auto has = Version(row.version);
  return wanted && has && has->front() == wanted->front() && *has >= *wanted;
}

bool WorkerRegistry::Fits(const WorkerRow& row, const PlacementRequest& request) const {
  if (row.state != WorkerState::kRunning || !entries_.contains(row.name)) return false;
  if (row.team && row.team != request.team) return false;
  if (!request.platform.empty() && row.platform != request.platform) return false;
  if (request.tags.empty() != row.tags.empty()) return false;
  for (const std::string& tag : request.tags) {
    if (std::ranges::find(row.tags, tag) == row.tags.end()) return false;
  }
  if (!request.resource_type.empty() && !BaseType(row.name, request.resource_type)) return false;
  return VersionFits(row);
}

std::optional<std::string> WorkerRegistry::Best(const PlacementRequest& request) const {
  bool team_owns_one = false;
  for (const auto& [name, row] : rows_) {
    team_owns_one = team_owns_one || (row.team && Fits(row, request));
  }
  std::optional<std::string> best;
  std::tuple<int, int> best_rank;
  for (const auto& [name, row] : rows_) {
    // As upstream: a team that has fitting workers of its own keeps to them.
    if (!Fits(row, request) || (team_owns_one && !row.team)) continue;
    const int load = *entries_.at(name).load;
    if (load >= options_.containers_max) continue;
    const auto local = request.local_volumes.find(name);
    const std::tuple<int, int> rank(local == request.local_volumes.end() ? 0 : -local->second,
                                    load);
    if (best && rank >= best_rank) continue;
    best = name;
    best_rank = rank;
  }
  return best;
}

std::optional<Placement> WorkerRegistry::TryPlace(const PlacementRequest& request) {
  std::string name = request.worker_name;
  if (name.empty()) {
    const auto best = Best(request);
    if (!best) return std::nullopt;
    name = *best;
  }
  const auto entry = entries_.find(name);
  if (entry == entries_.end()) return std::nullopt;
  // A stalled worker may come back with the container in it; landing ones finish what they have.
  if (rows_.at(name).state == WorkerState::kStalled) return std::nullopt;
  return std::optional<Placement>(std::in_place, entry->second.client, entry->second.load,
                                  [this, alive = alive_] {
                                    if (*alive) ServeQueue();
                                  });
}

Task<Placement> WorkerRegistry::Choose(PlacementRequest request, std::function<void()> on_wait,
                                       std::stop_token stop) {
  const auto gone = [this](const PlacementRequest& wanted) {
    const auto row = rows_.find(wanted.worker_name);
    return !wanted.worker_name.empty() &&
           (row == rows_.end() || row->second.state == WorkerState::kLanded);
  };
  auto waiter = std::make_shared<Waiter>();
  waiter->request = std::move(request);
  waiter->since = timers_.clock().Steady();
  waiter->gone = gone(waiter->request);
  if (!waiter->gone) {
    if (auto placement = TryPlace(waiter->request)) {
      waiter->placement.emplace(std::move(*placement));
    }
  }
  if (!waiter->placement && !waiter->gone) {
    if (on_wait) {
      on_wait();
      if (auto placement = TryPlace(waiter->request)) {
        waiter->placement.emplace(std::move(*placement));
      }  // what the call itself may have freed
    }
  }
  if (!waiter->placement && !waiter->gone) {
    queue_.push_back(waiter);
    std::exception_ptr error;
    try {
      co_await SuspendUntilStop<bool>(stop,
                                      [&](Waker<bool> waker) { waiter->waker = std::move(waker); });
    } catch (...) {
      error = std::current_exception();
    }
    queue_.remove(waiter);
    if (error) std::rethrow_exception(error);
  }
  if (waiter->gone) {
    throw Failure(ErrorKind::kNotFound, "worker '" + waiter->request.worker_name +
                                            "', which had the step's container, is gone");
  }
  co_return std::move(*waiter->placement);
}

void WorkerRegistry::ServeQueue() {
  // A placement that is given back while serving ends here again.
  if (serving_ || tasks_.stop_token().stop_requested()) return;
  serving_ = true;
  for (bool served = true; served;) {
    served = false;
    // Teams take turns: the first team after the one served last that can be served.
    std::set<TeamId> teams;
    for (const auto& waiter : queue_)
      teams.insert(waiter->request.team);
    std::vector<TeamId> turns(teams.upper_bound(last_served_), teams.end());
    turns.insert(turns.end(), teams.begin(), teams.upper_bound(last_served_));
    for (const TeamId team : turns) {
      for (const auto& waiter : queue_) {
        if (served || waiter->request.team != team || waiter->placement || waiter->gone ||
            !waiter->waker) {
          continue;
        }
        const std::string& wanted = waiter->request.worker_name;
        const auto row = rows_.find(wanted);
        waiter->gone =
            !wanted.empty() && (row == rows_.end() || row->second.state == WorkerState::kLanded);
        if (!waiter->gone) {
          if (auto placement = TryPlace(waiter->request)) {
            waiter->placement.emplace(std::move(*placement));
          }
        }
        if (!waiter->gone && !waiter->placement) continue;
        served = true;
        last_served_ = team;
        waiter->waker(true);
      }
      if (served) break;
    }
  }
  serving_ = false;
}

std::string WorkerRegistry::Reason(const PlacementRequest& request) const {
  if (!request.worker_name.empty()) {
    return "worker '" + request.worker_name + "', which has the container, is stalled";
  }
  const bool fits =
      std::ranges::any_of(rows_, [&](const auto& item) { return Fits(item.second, request); });
  if (fits) return "all workers that fit are full";
  std::string reason = "no running worker has";
  if (!request.platform.empty()) reason += " platform '" + request.platform + "',";
  reason += request.tags.empty() ? " no tags" : " tags '" + Join(request.tags, ", ") + "'";
  if (!request.resource_type.empty()) reason += ", resource type '" + request.resource_type + "'";
  return reason;
}

std::vector<WorkerRegistry::Waiting> WorkerRegistry::waiting() const {
  std::vector<Waiting> waiting;
  for (const auto& waiter : queue_) {
    if (waiter->placement || waiter->gone) continue;
    waiting.push_back({waiter->request.team, Reason(waiter->request), waiter->since});
  }
  return waiting;
}

}  // namespace pinion::fleet
