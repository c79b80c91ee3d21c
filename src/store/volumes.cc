#include "store/volumes.h"

#include <algorithm>
#include <charconv>

#include "base/encoding.h"
#include "store/residents.h"

namespace pinion::store {
namespace {

constexpr std::string_view kColumns =
    "v.handle, v.worker_name, v.team_id, v.container_handle, v.path, v.type, v.resource_cache_id, "
    "v.task_cache_key, v.parent_handle, v.state, v.created_at, v.missing_since";
constexpr std::size_t kColumnCount = 12;
constexpr std::string_view kReachable = "w.state in ('running', 'landing', 'retiring')";

std::string Select(std::string_view rest) {
  return "select " + std::string(kColumns) + " from volumes v " + std::string(rest);
}

VolumeRow ReadVolume(const Row& row) {
  VolumeRow volume;
  volume.handle = row.Text(0);
  volume.worker_name = row.Text(1);
  volume.team = row.IdAt<TeamId>(2);
  volume.container_handle = row.Text(3);
  volume.path = row.Text(4);
  volume.type = row.Text(5);
  volume.resource_cache = row.IdAt<ResourceCacheId>(6);
  volume.task_cache_key = row.Text(7);
  volume.parent_handle = row.Text(8);
  volume.state = ParseResidentState(row.Text(9));
  volume.created_at = row.Integer(10);
  volume.missing_since = row.OptionalInteger(11);
  return volume;
}

std::vector<VolumeRow> ReadVolumes(const Rows& rows) {
  std::vector<VolumeRow> volumes;
  for (const Row& row : rows)
    volumes.push_back(ReadVolume(row));
  return volumes;
}

/// The job that a task cache belongs to.
JobId JobOf(std::string_view task_cache_key) {
  JobId job;
  std::from_chars(task_cache_key.data(), task_cache_key.data() + task_cache_key.size(), job.value);
  return job;
}

std::optional<std::string> OrNull(const std::string& text) {
  if (text.empty()) return std::nullopt;
  return text;
}

}  // namespace

VolumeRow CreateVolume(Transaction& transaction, const VolumeRow& volume) {
  if (auto known = FindVolume(transaction, volume.handle)) return std::move(*known);
  // Not only the handle may be taken: another build may have filled the same cache meanwhile.
  transaction.Execute(
      "insert into volumes (handle, worker_name, team_id, container_handle, path, type, "
      "resource_cache_id, task_cache_key, parent_handle, state, created_at) "
      "values ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'creating', $10) on conflict do nothing",
      {volume.handle, volume.worker_name, volume.team, OrNull(volume.container_handle), volume.path,
       volume.type, volume.resource_cache, OrNull(volume.task_cache_key),
       OrNull(volume.parent_handle), transaction.now()});
  auto row = FindVolume(transaction, volume.handle);
  if (!row) {
    throw Failure(ErrorKind::kConflict, "worker " + volume.worker_name +
                                            " has a volume of that cache already: volume " +
                                            volume.handle + " is not made");
  }
  return std::move(*row);
}

bool SetVolumeCreated(Transaction& transaction, std::string_view handle) {
  return transaction.Execute(
             "update volumes set state = 'created', missing_since = null where handle = $1 and "
             "state in ('creating', 'created')",
             {handle}) > 0;
}

bool SetVolumeDestroying(Transaction& transaction, std::string_view handle) {
  // A cache that is going no longer takes the place of the next one.
  return transaction.Execute(
             "update volumes set state = 'destroying', resource_cache_id = null, "
             "task_cache_key = null where handle = $1",
             {handle}) > 0;
}

void KeepMaking(Transaction& transaction, std::string_view handle) {
  transaction.Execute("update volumes set created_at = $2 where handle = $1 and state = 'creating'",
                      {handle, transaction.now()});
}

void DeleteVolume(Transaction& transaction, std::string_view handle) {
  transaction.Execute("delete from volumes where handle = $1", {handle});
}

std::optional<VolumeRow> FindVolume(Transaction& transaction, std::string_view handle) {
  const auto row = transaction.QueryOne(Select("where v.handle = $1"), {handle});
  if (!row) return std::nullopt;
  return ReadVolume(*row);
}

std::vector<VolumeRow> ListContainerVolumes(Transaction& transaction, std::string_view container) {
  return ReadVolumes(transaction.Query(
      Select("where v.container_handle = $1 order by v.path, v.handle"), {container}));
}

std::vector<ListedVolume> ListVolumes(Transaction& transaction, TeamId team) {
  const std::string select = "select " + std::string(kColumns) +
                             ", c.step_name, c.metadata, rc.version from volumes v "
                             "left join containers c on c.handle = v.container_handle "
                             "left join resource_caches rc on rc.id = v.resource_cache_id "
                             "where v.state <> 'destroying'";
  // What no team owns (base types, caches) is seen by all.
  const Rows rows =
      team ? transaction.Query(
                 select + " and (v.team_id is null or v.team_id = $1) order by v.handle", {team})
           : transaction.Query(select + " order by v.handle");
  std::vector<ListedVolume> volumes;
  for (const Row& row : rows) {
    ListedVolume listed;
    listed.volume = ReadVolume(row);
    listed.step_name = row.Text(kColumnCount);
    if (!row.IsNull(kColumnCount + 1)) {
      listed.metadata = ValueOrThrow(FromText<ContainerMetadata>(row.Text(kColumnCount + 1)));
    }
    listed.resource_version = row.Text(kColumnCount + 2);
    volumes.push_back(std::move(listed));
  }
  return volumes;
}

// --- Resource caches
// ---------------------------------------------------------------------------------

ResourceCacheRow UseResourceCache(Transaction& transaction, std::string_view key,
                                  std::string_view version, BuildId build) {
  const auto row = transaction.QueryOne(
      "insert into resource_caches (key, version, last_used) values ($1, $2, $3) "
      "on conflict (key) do update set last_used = excluded.last_used "
      "returning id, key, version, metadata",
      {key, version, transaction.now()});
  ResourceCacheRow cache{row->IdAt<ResourceCacheId>(0), row->Text(1), row->Text(2), row->Text(3)};
  if (build) {
    transaction.Execute(
        "insert into resource_cache_uses (resource_cache_id, build_id) values ($1, $2) "
        "on conflict do nothing",
        {cache.id, build});
  }
  return cache;
}

void SetResourceCacheMetadata(Transaction& transaction, ResourceCacheId cache,
                              std::string_view metadata) {
  transaction.Execute("update resource_caches set metadata = $2 where id = $1", {cache, metadata});
}

bool SetVolumeResourceCache(Transaction& transaction, std::string_view handle,
                            ResourceCacheId cache) {
  // Of two builds that fetched the same at once, the second keeps its volume to itself.
  return transaction.Execute(
             "update volumes set type = 'resource', resource_cache_id = $2, team_id = null, "
             "container_handle = null where handle = $1 and state = 'created' and not exists ("
             "select 1 from volumes o where o.resource_cache_id = $2 and "
             "o.worker_name = volumes.worker_name)",
             {handle, cache}) > 0;
}

std::vector<VolumeRow> FindResourceCacheVolumes(Transaction& transaction, ResourceCacheId cache) {
  return ReadVolumes(transaction.Query(
      Select("join workers w on w.name = v.worker_name where v.resource_cache_id = $1 "
             "and v.state = 'created' and v.missing_since is null and ") +
          std::string(kReachable) + " order by v.worker_name",
      {cache}));
}

// --- Task caches
// ---------------------------------------------------------------------------------------

std::string TaskCacheKey(JobId job, std::string_view step, std::string_view path) {
  std::string key = std::to_string(job.value) + "/" + PercentEncode(step) + "/";
  key += path;
  return key;
}

std::vector<VolumeRow> FindTaskCacheVolumes(Transaction& transaction, std::string_view key) {
  return ReadVolumes(transaction.Query(
      Select("join workers w on w.name = v.worker_name where v.task_cache_key = $1 "
             "and v.state = 'created' and v.missing_since is null and ") +
          std::string(kReachable) + " order by v.worker_name",
      {key}));
}

bool SetVolumeTaskCache(Transaction& transaction, std::string_view handle, std::string_view key) {
  const auto volume = FindVolume(transaction, handle);
  if (!volume || volume->state != ResidentState::kCreated) return false;
  transaction.Execute(
      "update volumes set task_cache_key = null where worker_name = $1 and task_cache_key = $2 "
      "and handle <> $3",
      {volume->worker_name, key, handle});
  // The job may have gone meanwhile: then the cache is nobody's from the start.
  return transaction.Execute(
             "update volumes set type = 'task-cache', task_cache_key = $2, task_cache_job_id = "
             "(select id from jobs where id = $3), container_handle = null where handle = $1",
             {handle, key, JobOf(key)}) > 0;
}

int ClearTaskCaches(Transaction& transaction, JobId job, std::string_view step,
                    const std::optional<std::string>& path) {
  const std::string key = TaskCacheKey(job, step, path.value_or(""));
  return static_cast<int>(
      path ? transaction.Execute(
                 "update volumes set task_cache_key = null where task_cache_key = $1", {key})
           : transaction.Execute("update volumes set task_cache_key = null where "
                                 "substr(task_cache_key, 1, length($1)) = $1",
                                 {key}));
}

// --- Collection
// ----------------------------------------------------------------------------------------

int ReportVolumes(Transaction& transaction, std::string_view worker,
                  const std::vector<std::string>& handles, std::int64_t asked_at,
                  const std::vector<std::string>& ignored) {
  return ReportResidents(transaction, "volumes", worker, handles, asked_at, ignored);
}

int MarkUnneededVolumes(Transaction& transaction, const VolumeRetention& retention) {
  const std::int64_t now = transaction.now();
  transaction.Execute(
      "delete from resource_cache_uses where build_id in "
      "(select b.id from resource_cache_uses u join builds b on b.id = u.build_id "
      "where b.status not in ('pending', 'started'))");
  transaction.Execute(
      "delete from resource_caches where last_used < $1 and not exists ("
      "select 1 from resource_cache_uses u where u.resource_cache_id = resource_caches.id)",
      {now - retention.unused_cache_seconds});
  transaction.Execute(
      "delete from artifacts where created_at < $1 and not exists (select 1 from builds b where "
      "b.id = artifacts.build_id and b.status in ('pending', 'started'))",
      {now - retention.artifact_seconds});
  // Rows that are in the middle of being made belong to somebody for the first ten minutes; an
  // upload's for a while since it was last heard of. A made one has its artifact, or had it.
  std::int64_t changed = transaction.Execute(
      "update volumes set state = 'destroying' where state <> 'destroying' and "
      "(state = 'created' or created_at < $1 or (type = 'artifact' and created_at < $2)) and "
      "case type "
      "when 'container' then container_handle is null "
      "when 'resource' then resource_cache_id is null "
      "when 'task-cache' then task_cache_key is null or not exists (select 1 from jobs j "
      "join pipelines p on p.id = j.pipeline_id where j.id = volumes.task_cache_job_id "
      "and j.active = 1 and p.archived = 0) "
      "when 'artifact' then container_handle is null and not exists ("
      "select 1 from artifacts a where a.volume_handle = volumes.handle) "
      "else 1 = 0 end and not exists ("
      "select 1 from volumes child where child.parent_handle = volumes.handle)",
      {now - 600, now - 90});
  changed += DeleteMissing(transaction, "volumes", retention.missing_seconds);
  return static_cast<int>(changed);
}

std::vector<std::string> EvictLeastUsedCaches(Transaction& transaction, std::string_view worker) {
  constexpr std::size_t kLeast = 8;
  constexpr std::size_t kShare = 5;
  std::vector<std::string> unused;
  for (const Row& row : transaction.Query(
           "select v.handle from volumes v left join resource_caches c on c.id = "
           "v.resource_cache_id where v.worker_name = $1 and v.state = 'created' and v.type in "
           "('resource', 'task-cache') and not exists (select 1 from resource_cache_uses u join "
           "builds b on b.id = u.build_id where u.resource_cache_id = v.resource_cache_id and "
           "b.status in ('pending', 'started')) order by coalesce(c.last_used, v.created_at), "
           "v.handle",
           {worker})) {
    unused.push_back(row.Text(0));
  }
  unused.resize(std::min(unused.size(), std::max(kLeast, unused.size() / kShare)));
  for (const std::string& handle : unused)
    SetVolumeDestroying(transaction, handle);
  return unused;
}

std::vector<Doomed> ListDoomedVolumes(Transaction& transaction, int limit) {
  return ListDoomed(transaction, "volumes",
                    " and not exists (select 1 from containers c where c.handle = "
                    "x.container_handle) and not exists (select 1 from volumes child where "
                    "child.parent_handle = x.handle)",
                    limit);
}

std::vector<std::string> ListDestroyingVolumes(Transaction& transaction, std::string_view worker) {
  return ListDestroying(transaction, "volumes", worker);
}

}  // namespace pinion::store
