#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/containers.h"

/// Volumes as rows, in the same life as containers: written before they are made on the worker,
/// deleted after they are gone there. Also what fills them: resource caches. Every function works
/// inside the caller's transaction and may be run again.
namespace pinion::store {

using ResourceCacheId = Id<struct ResourceCacheTag>;

namespace volume_types {
inline constexpr std::string_view kContainer = "container";         ///< lives with its container
inline constexpr std::string_view kResource = "resource";           ///< what a get fetched, a cache
inline constexpr std::string_view kResourceType = "resource-type";  ///< a worker's base type; stays
inline constexpr std::string_view kTaskCache =
    "task-cache";  ///< stays until its key or job is deleted
inline constexpr std::string_view kArtifact = "artifact";  ///< an upload or a kept output
inline constexpr std::string_view kResourceCerts = "resource-certs";  ///< stays
}  // namespace volume_types

struct VolumeRow {
  std::string handle;
  std::string worker_name;
  TeamId team;  ///< 0: nobody's, as the worker's base types
  std::string container_handle;
  std::string path;  ///< where the container sees it
  std::string type;
  ResourceCacheId resource_cache;
  std::string task_cache_key;
  std::string parent_handle;
  ResidentState state = ResidentState::kCreating;
  std::int64_t created_at = 0;
  std::optional<std::int64_t> missing_since;
};

/// As CreateContainer. A resource cache or task cache that the worker has already is kConflict.
VolumeRow CreateVolume(Transaction& transaction, const VolumeRow& volume);
/// False if it is gone or being destroyed.
bool SetVolumeCreated(Transaction& transaction, std::string_view handle);
bool SetVolumeDestroying(Transaction& transaction, std::string_view handle);
/// One that is being made is taken for abandoned some time after this was called last: after 90 s
/// an upload, after ten minutes others.
void KeepMaking(Transaction& transaction, std::string_view handle);
void DeleteVolume(Transaction& transaction, std::string_view handle);

std::optional<VolumeRow> FindVolume(Transaction& transaction, std::string_view handle);
std::vector<VolumeRow> ListContainerVolumes(Transaction& transaction, std::string_view container);

/// For the API, with the metadata of the container it belongs to. 0: all teams'.
struct ListedVolume {
  VolumeRow volume;
  std::string step_name;
  ContainerMetadata metadata;
  std::string resource_version;  ///< JSON; of resource caches
};
std::vector<ListedVolume> ListVolumes(Transaction& transaction, TeamId team);

// --- Resource caches -----------------------------------------------------------------------------

struct ResourceCacheRow {
  ResourceCacheId id;
  std::string key;
  std::string version;   ///< JSON
  std::string metadata;  ///< JSON
};
/// The cache of this key, made if there is none, used by the build until that ends.
ResourceCacheRow UseResourceCache(Transaction& transaction, std::string_view key,
                                  std::string_view version, BuildId build);
void SetResourceCacheMetadata(Transaction& transaction, ResourceCacheId cache,
                              std::string_view metadata);
/// Makes what a get fetched into its container's volume the worker's cache: from now on it lives as
/// long as the cache. False if the worker has one already or the volume is going: it stays what it
/// is.
bool SetVolumeResourceCache(Transaction& transaction, std::string_view handle,
                            ResourceCacheId cache);
/// Created ones, any worker that can be reached.
std::vector<VolumeRow> FindResourceCacheVolumes(Transaction& transaction, ResourceCacheId cache);

// --- Task caches
// -----------------------------------------------------------------------------------

/// What identifies a cache: the job, its task step and the path as the task's config has it.
std::string TaskCacheKey(JobId job, std::string_view step, std::string_view path);
/// Created ones, any worker that can be reached.
std::vector<VolumeRow> FindTaskCacheVolumes(Transaction& transaction, std::string_view key);
/// Makes this volume the worker's cache of that key; the one it had becomes an orphan.
bool SetVolumeTaskCache(Transaction& transaction, std::string_view handle, std::string_view key);
/// The step's cache of that path, or all of its caches, become orphans (`fly clear-task-cache`).
/// How many.
int ClearTaskCaches(Transaction& transaction, JobId job, std::string_view step,
                    const std::optional<std::string>& path);

// --- Collection
// ------------------------------------------------------------------------------------

int ReportVolumes(Transaction& transaction, std::string_view worker,
                  const std::vector<std::string>& handles, std::int64_t asked_at,
                  const std::vector<std::string>& ignored = {});

/// Marks the least recently used fifth (at least eight) of the worker's caches that no running
/// build uses as being destroyed: of resources, by the cache's last use, and of tasks, by their
/// making.
std::vector<std::string> EvictLeastUsedCaches(Transaction& transaction, std::string_view worker);

struct VolumeRetention {
  std::int64_t unused_cache_seconds = 24 * 3600;  ///< after a resource cache's last use
  std::int64_t artifact_seconds = 12 * 3600;      ///< after it was made
  std::int64_t missing_seconds = 300;
};
/// Marks what nobody needs any more as being destroyed: volumes of containers that are gone, of
/// caches and artifacts that are forgotten. A volume with copies on it waits for them. How many.
int MarkUnneededVolumes(Transaction& transaction, const VolumeRetention& retention);
/// As ListDoomedContainers; a volume that a container still has waits for it.
std::vector<Doomed> ListDoomedVolumes(Transaction& transaction, int limit = 1000);
std::vector<std::string> ListDestroyingVolumes(Transaction& transaction, std::string_view worker);

}  // namespace pinion::store
