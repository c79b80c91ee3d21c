#pragma once

#include <array>
#include <functional>
#include <memory>
#include <string>

#include "async/loop.h"
#include "async/task_group.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "checking/checker.h"
#include "engine/check_runner.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "fleet/collector.h"
#include "memory_log_files.h"
#include "scheduling/pipeline_planner.h"
#include "scheduling/scheduler.h"
#include "store/change_follower.h"
#include "store/leases_keeper.h"
#include "worker.h"

namespace pinion::simulation {

class World;

/// One life of a web node: the parts of app/server.cc, on a loop, pools and a disk that the world
/// drives handler by handler. It is never destroyed in the middle: a killed one is put aside as it
/// is, so that no destructor tidies what kill -9 would leave.
class Node {
 public:
  struct Parts {
    std::unique_ptr<events::LogStore> logs;
    std::unique_ptr<store::LeaseKeeper> lease;
    std::unique_ptr<store::ChangeFollower> feed;
    std::unique_ptr<fleet::WorkerRegistry> fleet;
    engine::ImageMetadataCache image_metadata;
    engine::BaseTypes base_types;
    engine::SingleFlight gets;
    engine::SingleFlight checks_in_flight;
    std::unique_ptr<engine::Engine> engine;
    std::unique_ptr<scheduling::BuildStarter> starter;
    std::unique_ptr<engine::CheckRunner> check_runner;
    std::unique_ptr<checking::SourceFiller> sources;
    std::unique_ptr<checking::Checker> checker;
    std::unique_ptr<scheduling::BuildPlanner> planner;
    std::unique_ptr<scheduling::Scheduler> scheduler;
    std::unique_ptr<fleet::Collector> collector;
    std::unique_ptr<TaskGroup> tasks;
  };

  Node(World& world, int index, std::string name);
  ~Node();

  void Start();
  /// Asks for a graceful end; ended() tells.
  void BeginShutdown();
  bool ended() const { return ended_; }

  /// Runs one handler or one piece of blocking work, chosen by chance; false if nothing is ready.
  bool Step();
  std::optional<SteadyTime> NextTimer() const { return timers_.Next(); }
  void FireTimers();

  /// The next commit-sized write of its log is torn; what comes after it is lost.
  void TearNextWrite(std::size_t keep) { mount_->torn_at = keep + 1; }
  bool torn() const { return mount_->torn; }
  MountState& mount() { return *mount_; }

  /// A commit with changes was made by some node: look.
  void Look();
  /// Runs a task of the API's on the node.
  void Spawn(Task<void> task);

  int index() const { return index_; }
  const std::string& name() const { return name_; }
  const store::Lease& lease() const;
  bool started() const { return started_; }
  bool lease_lost() const { return lease_lost_; }
  /// It could not start: a supervisor starts the next.
  bool failed() const { return failed_; }
  engine::Engine& engine() { return *parts_->engine; }
  store::Database& database() { return *database_; }
  events::LogStore& logs() { return *parts_->logs; }
  Timers& timers() { return timers_; }
  Parts& parts() { return *parts_; }

 private:
  friend class NodeDatabase;
  Task<void> StartUp();
  Task<void> TryToStart();
  Task<void> Shutdown();
  void OnChanges(const std::vector<store::Change>& changes);

  World& world_;
  int index_;
  std::string name_;
  Loop loop_;
  Timers timers_;
  std::array<std::unique_ptr<ThreadPool>, 3> sql_;
  std::unique_ptr<ThreadPool> log_pool_;
  std::shared_ptr<MountState> mount_ = std::make_shared<MountState>();
  std::unique_ptr<store::Database> database_;
  std::vector<std::function<void()>> looks_;
  bool started_ = false;
  bool lease_lost_ = false;
  bool ended_ = false;
  bool failed_ = false;
  Logger log_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pinion::simulation
