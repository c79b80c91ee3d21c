#pragma once

#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/signal.h"
#include "async/task_group.h"
#include "fleet/worker_client.h"
#include "store/workers.h"

namespace pinion::fleet {

/// What a step needs of a worker.
struct PlacementRequest {
  std::string platform;  ///< "" any
  std::vector<std::string>
      tags;  ///< the worker has all of them; without tags only untagged ones do
  TeamId team;
  std::string resource_type;  ///< a base type that the worker brings, "" none
  /// How many of the step's inputs lie on which worker already: more is better.
  std::map<std::string, int> local_volumes;
  /// Where the step's container is already, from a former process: this worker or none.
  std::string worker_name;
};

class WorkerRegistry;

/// A place for one container. As long as it is held, the worker's load counts it.
class Placement {
 public:
  Placement(std::shared_ptr<WorkerClient> worker, std::weak_ptr<int> load,
            std::function<void()> released);
  Placement(Placement&&) = default;
  Placement& operator=(Placement&&) = delete;
  ~Placement();
  WorkerClient& worker() const { return *worker_; }
  const std::shared_ptr<WorkerClient>& client() const { return worker_; }

 private:
  std::shared_ptr<WorkerClient> worker_;
  std::weak_ptr<int> load_;
  std::function<void()> released_;
};

struct WorkerRegistryOptions {
  /// Workers whose version is missing, of another major number or older are not used; "" takes all.
  std::string worker_version;
  /// Containers at once that are placed on one worker by this process; more wait. Upstream's
  /// workers refuse more than 250.
  int containers_max = 250;
  Duration sweep_interval =
      std::chrono::seconds(30);  ///< while some worker can expire, land or retire
  Duration unreachable_limit = std::chrono::minutes(5);
  /// Makes a client of a worker; the default speaks HTTP. For tests.
  std::function<std::unique_ptr<WorkerClient>(const store::WorkerRow&)> make_client;
};

/// This process's view of the workers: kept from the `workers` table, with one client for each
/// worker that can be reached, and the queue of steps that wait for one. On one loop's thread.
class WorkerRegistry {
 public:
  WorkerRegistry(Executor executor, Timers& timers, store::Database& database, Logger log,
                 WorkerRegistryOptions options = {});
  WorkerRegistry(const WorkerRegistry&) = delete;
  WorkerRegistry& operator=(const WorkerRegistry&) = delete;
  ~WorkerRegistry();

  /// Loads the workers and starts sweeping. Once, before anything else.
  Task<void> Start();
  /// Ends sweeping, fails what waits with Cancelled and closes the clients.
  Task<void> Close();
  /// Reads the table again: call it when the feed tells of store::kWorkerChanged. Concurrent calls
  /// share one reading.
  Task<void> Refresh();

  // What workers and operators do; each is in the table when it returns, and seen here.
  Task<void> Register(store::WorkerRow worker, Duration ttl);
  /// Nothing: it is not registered, and must do so.
  Task<std::optional<store::WorkerRow>> Heartbeat(std::string name, Duration ttl,
                                                  std::int64_t active_containers,
                                                  std::int64_t active_volumes);
  Task<bool> Land(std::string name);
  Task<bool> Retire(std::string name);
  Task<bool> Prune(std::string name);
  Task<bool> Delete(std::string name);

  /// All known workers by name.
  const std::map<std::string, store::WorkerRow>& workers() const { return rows_; }
  /// The client of a worker in any state but landed; null if there is none. It stays good while it
  /// is held, even if the worker registers anew at another address.
  std::shared_ptr<WorkerClient> Client(const std::string& name) const;
  /// The base type as this worker brings it.
  const store::WorkerResourceType* BaseType(const std::string& worker,
                                            const std::string& type) const;

  /// The best worker that fits: most local volumes, then least load. If none fits or has room,
  /// waits for one, after calling `on_wait` once: teams take turns, within a team the first is
  /// served first. kNotFound if `worker_name` is given and that worker is gone for good.
  Task<Placement> Choose(PlacementRequest request, std::function<void()> on_wait,
                         std::stop_token stop);

  struct Waiting {
    TeamId team;
    std::string
        reason;  ///< "no worker has platform 'linux', tags 'gpu'" or "all that fit are full"
    SteadyTime since;
  };
  /// Who waits for a worker, in the order of their coming.
  std::vector<Waiting> waiting() const;

  /// Called after each change of the workers.
  void OnChange(std::function<void()> listener) { listeners_.push_back(std::move(listener)); }

 private:
  struct Entry {
    std::shared_ptr<WorkerClient> client;
    std::string garden_addr;
    std::string baggageclaim_url;
    std::shared_ptr<int> load = std::make_shared<int>(0);
  };
  struct Waiter {
    PlacementRequest request;
    SteadyTime since;
    Waker<bool> waker;
    std::optional<Placement> placement;
    bool gone = false;  ///< the worker that it asks for is
  };

  Task<void> Sweep();
  Task<void> Load();
  void TakeRows(std::vector<store::WorkerRow> rows);
  bool NeedsSweeps() const;
  bool VersionFits(const store::WorkerRow& row) const;
  bool Fits(const store::WorkerRow& row, const PlacementRequest& request) const;
  /// Names of workers that fit, best first; full ones are left out.
  std::optional<std::string> Best(const PlacementRequest& request) const;
  std::optional<Placement> TryPlace(const PlacementRequest& request);
  std::string Reason(const PlacementRequest& request) const;
  void ServeQueue();
  std::unique_ptr<WorkerClient> MakeClient(const store::WorkerRow& row);
  void RetireClient(std::shared_ptr<WorkerClient> client);
  static Task<void> CloseWhenUnused(std::shared_ptr<WorkerClient> client, Timers& timers,
                                    std::stop_token stop);

  Executor executor_;
  Timers& timers_;
  store::Database& database_;
  Logger log_;
  WorkerRegistryOptions options_;
  std::map<std::string, store::WorkerRow> rows_;
  std::map<std::string, Entry> entries_;
  std::list<std::shared_ptr<Waiter>> queue_;
  TeamId last_served_;
  bool serving_ = false;
  std::vector<std::function<void()>> listeners_;
  std::shared_ptr<Event> loading_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  Signal sweep_soon_;
  TaskGroup tasks_;
};

}  // namespace pinion::fleet
