#include "store/containers.h"

#include <charconv>

#include "base/text.h"
#include "store/residents.h"

namespace pinion::store {
namespace {

constexpr std::string_view kSelect =
    "select handle, worker_name, team_id, build_id, scope_id, plan_id, step_name, type, attempt, "
    "state, created_at, missing_since, hijacked_at, metadata from containers";

ContainerRow ReadContainer(const Row& row) {
  ContainerRow container;
  container.handle = row.Text(0);
  container.worker_name = row.Text(1);
  container.team = row.IdAt<TeamId>(2);
  container.build = row.IdAt<BuildId>(3);
  container.scope = row.IdAt<ScopeId>(4);
  container.plan_id = row.Text(5);
  container.step_name = row.Text(6);
  container.type = row.Text(7);
  container.attempt = row.Text(8);
  container.state = ParseResidentState(row.Text(9));
  container.created_at = row.Integer(10);
  container.missing_since = row.OptionalInteger(11);
  container.hijacked_at = row.OptionalInteger(12);
  container.metadata = ValueOrThrow(FromText<ContainerMetadata>(row.Text(13)));
  return container;
}

std::vector<ContainerRow> ReadContainers(const Rows& rows) {
  std::vector<ContainerRow> containers;
  containers.reserve(rows.size());
  for (const Row& row : rows)
    containers.push_back(ReadContainer(row));
  return containers;
}

}  // namespace

ContainerRow CreateContainer(Transaction& transaction, const ContainerRow& container) {
  transaction.Execute(
      "insert into containers (handle, worker_name, team_id, build_id, scope_id, plan_id, "
      "step_name, type, attempt, state, created_at, metadata) "
      "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'creating', $10, $11) "
      "on conflict (handle) do nothing",
      {container.handle, container.worker_name, container.team, container.build, container.scope,
       container.plan_id, container.step_name, container.type, container.attempt, transaction.now(),
       ToText(ToJson(container.metadata))});
  auto row = FindContainer(transaction, container.handle);
  if (!row) throw Failure(ErrorKind::kUnavailable, "container " + container.handle + " vanished");
  return std::move(*row);
}

bool SetContainerCreated(Transaction& transaction, std::string_view handle) {
  return transaction.Execute(
             "update containers set state = 'created', missing_since = null where handle = $1 and "
             "state in ('creating', 'created')",
             {handle}) > 0;
}

bool SetContainerDestroying(Transaction& transaction, std::string_view handle) {
  return transaction.Execute("update containers set state = 'destroying' where handle = $1",
                             {handle}) > 0;
}

bool SetContainerHijacked(Transaction& transaction, std::string_view handle) {
  return transaction.Execute(
             "update containers set hijacked_at = $2 where handle = $1 and state = 'created'",
             {handle, transaction.now()}) > 0;
}

void DeleteContainer(Transaction& transaction, std::string_view handle) {
  transaction.Execute("delete from containers where handle = $1", {handle});
}

std::optional<ContainerRow> FindContainer(Transaction& transaction, std::string_view handle) {
  const auto row = transaction.QueryOne(std::string(kSelect) + " where handle = $1", {handle});
  if (!row) return std::nullopt;
  return ReadContainer(*row);
}

std::optional<ContainerRow> FindStepContainer(Transaction& transaction, BuildId build,
                                              std::string_view plan_id, std::string_view attempt) {
  const auto row = transaction.QueryOne(
      std::string(kSelect) +
          " where build_id = $1 and plan_id = $2 and attempt = $3 and state <> 'destroying' "
          "order by created_at desc, handle limit 1",
      {build, plan_id, attempt});
  if (!row) return std::nullopt;
  return ReadContainer(*row);
}

std::vector<ContainerRow> ListBuildContainers(Transaction& transaction, BuildId build) {
  return ReadContainers(transaction.Query(
      std::string(kSelect) + " where build_id = $1 order by created_at, handle", {build}));
}

std::vector<ContainerRow> ListContainers(Transaction& transaction, TeamId team) {
  if (!team) return ReadContainers(transaction.Query(std::string(kSelect) + " order by handle"));
  return ReadContainers(
      transaction.Query(std::string(kSelect) + " where team_id = $1 order by handle", {team}));
}

int ReportContainers(Transaction& transaction, std::string_view worker,
                     const std::vector<std::string>& handles, std::int64_t asked_at,
                     const std::vector<std::string>& ignored) {
  return ReportResidents(transaction, "containers", worker, handles, asked_at, ignored);
}

std::string CheckHandlePrefix(ScopeId scope, std::int64_t epoch, std::uint64_t number) {
  return "check-" + std::to_string(scope.value) + "-" + std::to_string(epoch) + "-" +
         std::to_string(number) + "-";
}

namespace {

/// Of the handle of a check's container; 0 if it is none.
std::int64_t EpochOf(std::string_view handle) {
  const auto parts = Split(handle, '-');
  std::int64_t epoch = 0;
  if (parts.size() < 4) return 0;
  std::from_chars(parts[2].data(), parts[2].data() + parts[2].size(), epoch);
  return epoch;
}

/// Checks are no builds that somebody takes up: what a process that died was checking is left.
std::int64_t MarkAbandonedChecks(Transaction& transaction) {
  std::int64_t changed = 0;
  for (const Row& row : transaction.Query("select handle from containers where scope_id is not "
                                          "null and state <> 'destroying'")) {
    const bool held = !transaction
                           .Query("select 1 from leases where epoch <= $1 and last_epoch >= $1",
                                  {EpochOf(row.Text(0))})
                           .empty();
    if (!held && SetContainerDestroying(transaction, row.Text(0))) ++changed;
  }
  return changed;
}

}  // namespace

int MarkUnneededContainers(Transaction& transaction, const ContainerRetention& retention) {
  const std::int64_t now = transaction.now();
  // Containers are few beside builds: the way goes from them to their builds.
  std::int64_t changed = transaction.Execute(
      "update containers set state = 'destroying' where state <> 'destroying' and "
      "(hijacked_at is null or hijacked_at < $1) and ("
      "(build_id is null and scope_id is null) or exists ("
      "select 1 from builds b where b.id = containers.build_id and "
      "b.status not in ('pending', 'started') and case "
      // Builds of jobs: their last one is for looking into, if it went wrong.
      "when b.job_id is not null then b.status = 'succeeded' or b.end_time < $2 "
      "or not exists (select 1 from jobs j where j.id = b.job_id and "
      "j.latest_completed_build_id = b.id) "
      // Checks.
      "when b.resource_id is not null or b.resource_type_id is not null then "
      "b.status = 'succeeded' or b.end_time < $3 "
      "else b.end_time < $3 end))",
      {now - retention.hijacked_seconds,
       retention.failed_seconds > 0 ? now - retention.failed_seconds : std::int64_t{0},
       now - retention.one_off_seconds});
  changed += MarkAbandonedChecks(transaction);
  changed += DeleteMissing(transaction, "containers", retention.missing_seconds);
  return static_cast<int>(changed);
}

std::vector<Doomed> ListDoomedContainers(Transaction& transaction, int limit) {
  return ListDoomed(transaction, "containers", "", limit);
}

std::vector<std::string> ListDestroyingContainers(Transaction& transaction,
                                                  std::string_view worker) {
  return ListDestroying(transaction, "containers", worker);
}

}  // namespace pinion::store
