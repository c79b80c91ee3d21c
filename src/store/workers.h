#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fields.h"
#include "store/database.h"

/// Workers as rows: who is registered, until when, in which state. Every function works inside the
/// caller's transaction. Changes of state go to the change feed, heartbeats do not.
namespace pinion::store {

/// A kind of change: a worker was registered, deleted, or is in another state. The id is 0; data:
/// {"worker": name, "state": text, "" when it is gone}.
inline constexpr std::string_view kWorkerChanged = "worker.changed";

enum class WorkerState { kRunning, kStalled, kLanding, kLanded, kRetiring };
std::string_view Name(WorkerState state);
std::optional<WorkerState> ParseWorkerState(std::string_view text);

/// A base resource type that a worker brings along.
struct WorkerResourceType {
  std::string type;
  std::string image;  ///< path on the worker
  std::string version;
  bool privileged = false;
  bool unique_version_history = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("type", self.type);
    visit("image", self.image);
    visit("version", self.version);
    visit("privileged", self.privileged);
    visit("unique_version_history", self.unique_version_history);
  }
  friend bool operator==(const WorkerResourceType&, const WorkerResourceType&) = default;
};

struct WorkerRow {
  std::string name;
  WorkerState state = WorkerState::kRunning;
  std::string platform;
  std::vector<std::string> tags;
  TeamId team;  ///< 0: every team's
  std::string team_name;
  std::string garden_addr;  ///< "host:port" or "unix:/path"; "" once landed
  std::string baggageclaim_url;
  std::vector<WorkerResourceType> resource_types;
  std::string version;
  std::int64_t start_time = 0;
  std::optional<std::int64_t> expires;  ///< unix seconds; nothing: never
  bool ephemeral = false;
  std::string http_proxy_url;
  std::string https_proxy_url;
  std::string no_proxy;
  std::int64_t active_containers = 0;
  std::int64_t active_volumes = 0;
  friend bool operator==(const WorkerRow&, const WorkerRow&) = default;
};

/// Registers the worker, or takes its new registration; it is running then. `ttl` in seconds, 0: it
/// never expires. kConflict if the name belongs to another team's worker.
void RegisterWorker(Transaction& transaction, const WorkerRow& worker, std::int64_t ttl);
/// A stalled worker runs again; landing, landed and retiring ones stay what they are. Nothing if
/// the worker is not registered.
std::optional<WorkerRow> HeartbeatWorker(Transaction& transaction, std::string_view name,
                                         std::int64_t ttl, std::int64_t active_containers,
                                         std::int64_t active_volumes);
/// No new work; landed once what must not be interrupted has ended. False: no such worker.
bool LandWorker(Transaction& transaction, std::string_view name);
/// As landing, but it is forgotten in the end.
bool RetireWorker(Transaction& transaction, std::string_view name);
/// Forgets a worker with its containers and volumes. False: no such worker.
bool DeleteWorker(Transaction& transaction, std::string_view name);
/// As DeleteWorker for workers that are not running; kConflict for a running one.
bool PruneWorker(Transaction& transaction, std::string_view name);

/// Moves every worker on whose time has come: expired ones stall (ephemeral ones are forgotten),
/// landing ones land, retiring ones are forgotten. How many it moved.
int SweepWorkers(Transaction& transaction);

std::vector<WorkerRow> ListWorkers(Transaction& transaction);
std::optional<WorkerRow> FindWorker(Transaction& transaction, std::string_view name);

}  // namespace pinion::store
