#include "store/workers.h"

#include <array>

namespace pinion::store {
namespace {

constexpr std::array<std::string_view, 5> kStateNames = {"running", "stalled", "landing", "landed",
                                                         "retiring"};

constexpr std::string_view kSelect =
    "select w.name, w.state, w.platform, w.tags, w.team_id, t.name, w.garden_addr, "
    "w.baggageclaim_url, w.resource_types, w.version, w.start_time, w.expires, w.ephemeral, "
    "w.http_proxy_url, w.https_proxy_url, w.no_proxy, w.active_containers, w.active_volumes "
    "from workers w left join teams t on t.id = w.team_id";

template <class T>
std::vector<T> ReadList(const std::string& text, std::string_view worker) {
  std::vector<T> list;
  auto json = ParseJson(text);
  auto read = json ? json_fields::Read(*json, list, "") : std::unexpected(json.error());
  if (!read) {
    throw Failure(std::move(read.error()).Context("the stored worker " + std::string(worker)));
  }
  return list;
}

WorkerRow ReadWorker(const Row& row) {
  WorkerRow worker;
  worker.name = row.Text(0);
  const auto state = ParseWorkerState(row.Text(1));
  if (!state) throw Failure(ErrorKind::kInternal, "worker state '" + row.Text(1) + "'");
  worker.state = *state;
  worker.platform = row.Text(2);
  worker.tags = ReadList<std::string>(row.Text(3), worker.name);
  worker.team = row.IdAt<TeamId>(4);
  worker.team_name = row.Text(5);
  worker.garden_addr = row.Text(6);
  worker.baggageclaim_url = row.Text(7);
  worker.resource_types = ReadList<WorkerResourceType>(row.Text(8), worker.name);
  worker.version = row.Text(9);
  worker.start_time = row.Integer(10);
  worker.expires = row.OptionalInteger(11);
  worker.ephemeral = row.Bool(12);
  worker.http_proxy_url = row.Text(13);
  worker.https_proxy_url = row.Text(14);
  worker.no_proxy = row.Text(15);
  worker.active_containers = row.Integer(16);
  worker.active_volumes = row.Integer(17);
  return worker;
}

void AppendWorkerChange(Transaction& transaction, std::string_view name, std::string_view state) {
  transaction.AppendChange(kWorkerChanged, 0, {}, JsonObject{{"worker", name}, {"state", state}});
}

std::optional<std::int64_t> Expires(const Transaction& transaction, std::int64_t ttl) {
  if (ttl == 0) return std::nullopt;
  return transaction.now() + ttl;
}

bool SetState(Transaction& transaction, std::string_view name, WorkerState state) {
  const std::int64_t changed = transaction.Execute(
      "update workers set state = $2 where name = $1 and state <> $2", {name, Name(state)});
  if (changed > 0) AppendWorkerChange(transaction, name, Name(state));
  return changed > 0 || FindWorker(transaction, name).has_value();
}

// Workers in this state on which no build runs that must not be interrupted: jobs are such unless
// their configuration says `interruptible`, and so are builds without a job.
std::vector<std::string> Drained(Transaction& transaction, WorkerState state) {
  const std::string interruptible(
      transaction.Pick("coalesce(json_extract(j.config, '$.interruptible'), 0) = 1",
                       "coalesce(j.config::json ->> 'interruptible', 'false') = 'true'"));
  const Rows rows = transaction.Query(
      "select w.name from workers w where w.state = $1 and not exists ("
      "select 1 from containers c join builds b on b.id = c.build_id "
      "left join jobs j on j.id = b.job_id where c.worker_name = w.name "
      "and b.status in ('pending', 'started') and (j.id is null or not (" +
          interruptible + ")))",
      {Name(state)});
  std::vector<std::string> names;
  for (const Row& row : rows)
    names.push_back(row.Text(0));
  return names;
}

}  // namespace

std::string_view Name(WorkerState state) {
  return kStateNames[static_cast<std::size_t>(state)];
}

std::optional<WorkerState> ParseWorkerState(std::string_view text) {
  for (std::size_t i = 0; i < kStateNames.size(); ++i) {
    if (kStateNames[i] == text) return static_cast<WorkerState>(i);
  }
  return std::nullopt;
}

void RegisterWorker(Transaction& transaction, const WorkerRow& worker, std::int64_t ttl) {
  if (const auto known = FindWorker(transaction, worker.name);
      known && known->team != worker.team) {
    throw Failure(ErrorKind::kConflict,
                  "worker " + worker.name + " is registered for " +
                      (known->team ? "team " + known->team_name : std::string("all teams")) +
                      ": choose another name, or prune it first");
  }
  transaction.Execute(
      "insert into workers (name, state, platform, tags, team_id, garden_addr, baggageclaim_url, "
      "resource_types, version, start_time, expires, ephemeral, http_proxy_url, https_proxy_url, "
      "no_proxy, active_containers, active_volumes) "
      "values ($1, 'running', $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) "
      "on conflict (name) do update set state = 'running', platform = excluded.platform, "
      "tags = excluded.tags, garden_addr = excluded.garden_addr, "
      "baggageclaim_url = excluded.baggageclaim_url, resource_types = excluded.resource_types, "
      "version = excluded.version, start_time = excluded.start_time, expires = excluded.expires, "
      "ephemeral = excluded.ephemeral, http_proxy_url = excluded.http_proxy_url, "
      "https_proxy_url = excluded.https_proxy_url, no_proxy = excluded.no_proxy, "
      "active_containers = excluded.active_containers, active_volumes = excluded.active_volumes",
      {worker.name, worker.platform, ToText(ToJson(worker.tags)), worker.team, worker.garden_addr,
       worker.baggageclaim_url, ToText(ToJson(worker.resource_types)), worker.version,
       worker.start_time, Expires(transaction, ttl), worker.ephemeral, worker.http_proxy_url,
       worker.https_proxy_url, worker.no_proxy, worker.active_containers, worker.active_volumes});
  AppendWorkerChange(transaction, worker.name, Name(WorkerState::kRunning));
}

std::optional<WorkerRow> HeartbeatWorker(Transaction& transaction, std::string_view name,
                                         std::int64_t ttl, std::int64_t active_containers,
                                         std::int64_t active_volumes) {
  transaction.Execute(
      "update workers set expires = $2, active_containers = $3, active_volumes = $4 "
      "where name = $1",
      {name, Expires(transaction, ttl), active_containers, active_volumes});
  const std::int64_t woken = transaction.Execute(
      "update workers set state = 'running' where name = $1 and state = 'stalled'", {name});
  if (woken > 0) AppendWorkerChange(transaction, name, Name(WorkerState::kRunning));
  return FindWorker(transaction, name);
}

bool LandWorker(Transaction& transaction, std::string_view name) {
  const auto worker = FindWorker(transaction, name);
  if (!worker) return false;
  return worker->state == WorkerState::kLanded ||
         SetState(transaction, name, WorkerState::kLanding);
}

bool RetireWorker(Transaction& transaction, std::string_view name) {
  return SetState(transaction, name, WorkerState::kRetiring);
}

bool DeleteWorker(Transaction& transaction, std::string_view name) {
  if (transaction.Execute("delete from workers where name = $1", {name}) == 0) return false;
  AppendWorkerChange(transaction, name, "");
  return true;
}

bool PruneWorker(Transaction& transaction, std::string_view name) {
  const auto worker = FindWorker(transaction, name);
  if (worker && worker->state == WorkerState::kRunning) {
    throw Failure(ErrorKind::kConflict, "cannot prune running worker");
  }
  return DeleteWorker(transaction, name);
}

int SweepWorkers(Transaction& transaction) {
  int moved = 0;
  const Rows expired = transaction.Query(
      "select name, ephemeral from workers where expires < $1 and (ephemeral = 1 or state = "
      "'running')",
      {transaction.now()});
  for (const Row& row : expired) {
    ++moved;
    if (row.Bool(1)) {
      DeleteWorker(transaction, row.Text(0));
      continue;
    }
    transaction.Execute("update workers set state = 'stalled', expires = null where name = $1",
                        {row.Text(0)});
    AppendWorkerChange(transaction, row.Text(0), Name(WorkerState::kStalled));
  }
  for (const std::string& name : Drained(transaction, WorkerState::kLanding)) {
    transaction.Execute(
        "update workers set state = 'landed', garden_addr = '', baggageclaim_url = '', "
        "expires = null where name = $1",
        {name});
    AppendWorkerChange(transaction, name, Name(WorkerState::kLanded));
    ++moved;
  }
  for (const std::string& name : Drained(transaction, WorkerState::kRetiring)) {
    DeleteWorker(transaction, name);
    ++moved;
  }
  return moved;
}

std::vector<WorkerRow> ListWorkers(Transaction& transaction) {
  std::vector<WorkerRow> workers;
  for (const Row& row : transaction.Query(std::string(kSelect) + " order by w.name")) {
    workers.push_back(ReadWorker(row));
  }
  return workers;
}

std::optional<WorkerRow> FindWorker(Transaction& transaction, std::string_view name) {
  const auto row = transaction.QueryOne(std::string(kSelect) + " where w.name = $1", {name});
  if (!row) return std::nullopt;
  return ReadWorker(*row);
}

}  // namespace pinion::store
