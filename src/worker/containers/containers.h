#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "worker/containers/container.h"

namespace pinion::worker {

/// All containers of a worker. On one loop's thread; the pool does what blocks.
class Containers {
 public:
  Containers(Executor executor, Timers& timers, Logger log, ThreadPool& pool, Network& network,
             ContainersOptions options);
  Containers(const Containers&) = delete;
  Containers& operator=(const Containers&) = delete;

  /// Prepares the machine and takes up the containers that are there; what is left of half-made
  /// ones is removed. The error says what is missing and how to get it.
  Task<Result<void>> Start();
  /// Lets go of all containers; they run on, and the next Start() takes them up.
  Task<void> Shutdown();

  /// Makes and starts a container; an empty handle is replaced by a new one. Creating one again
  /// with the same specification finds it. Failures: kInvalid, kConflict (another specification),
  /// kTooLarge (too many containers), kInternal (the runtime's words).
  /// `epoch` is that of the lease under which it is made, as in Container::CheckEpoch.
  Task<std::shared_ptr<Container>> Create(protocol::garden::ContainerSpec spec,
                                          std::stop_token stop,
                                          std::optional<std::int64_t> epoch = {});
  /// kNotFound, when nothing is known by that handle.
  Result<std::shared_ptr<Container>> Find(const std::string& handle) const;
  /// Handles of containers whose properties have all of these values, sorted.
  std::vector<std::string> List(const std::map<std::string, std::string>& properties) const;
  /// Those that run, by handle.
  std::vector<std::shared_ptr<Container>> Running() const;
  Task<void> Destroy(std::string handle, std::stop_token stop);

  std::size_t size() const { return containers_.size(); }
  const Launcher& launcher() const { return launcher_; }

 private:
  Task<void> RecoverAll();
  Task<void> DestroyAndReport(std::shared_ptr<Container> container, std::shared_ptr<Event> done,
                              std::shared_ptr<std::string> error);

  ContainersOptions options_;
  Logger log_;
  ThreadPool& pool_;
  Launcher launcher_;
  Semaphore starts_;
  std::map<std::string, std::shared_ptr<Container>> containers_;
  TaskGroup tasks_;
  ContainerServices services_;
};

}  // namespace pinion::worker
