#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/timers.h"
#include "await_sites.h"
#include "memory_log_files.h"
#include "node.h"
#include "random.h"
#include "store/builds.h"
#include "store/database.h"
#include "store/workers.h"
#include "worker.h"

namespace pinion::simulation {

struct RunOptions {
  std::uint64_t seed = 1;
  /// Where nodes are killed on purpose, once each, beside the kills by chance.
  std::vector<AwaitSite> aims;
  std::string trace_file;  ///< "" none: every step as a line
  bool log = false;        ///< the nodes' own logs on standard error
};

struct RunReport {
  std::vector<std::string> violations;  ///< empty: all invariants hold
  std::uint64_t trace_hash = 0;
  std::set<AwaitSite> hit;  ///< suspended at when a kill came
  std::int64_t kills = 0;
  std::int64_t builds = 0;
  std::int64_t steps = 0;  ///< handlers that ran
  std::string pipeline;    ///< its YAML
};

/// One run: a database, workers, external resources and several web nodes in one thread under a
/// virtual clock; everything that happens follows from the seed.
class World final : public WorkerWorld {
 public:
  explicit World(RunOptions options);
  ~World() override;
  RunReport Run();

  // For nodes and workers.
  const Clock& clock() const { return clock_; }
  bool alone() const { return alone_; }
  MemoryDisk& disk() { return disk_; }
  Worker& WorkerNamed(const std::string& name) { return *workers_.at(name); }
  Logger LoggerOf(const std::string& node);
  void RunTransaction(Node& node, store::Pool pool, bool write,
                      const store::Database::Closure& work, std::stop_token stop);
  SteadyTime Now() const override { return clock_.Steady(); }
  void At(SteadyTime when, std::function<void()> action) override;
  Random& random() override { return random_; }
  bool faults() const override { return faults_; }
  std::vector<std::string>& VersionsOf(const std::string& resource) override {
    return versions_[resource];
  }
  void Note(const std::string& what) override;
  void Violation(const std::string& what) override;
  void ProcessStarts(const std::string& handle, const std::string& process) override;

  // For the invariants.
  store::Database& database() { return *database_; }
  const std::map<std::string, std::unique_ptr<Worker>>& workers() const { return workers_; }
  /// Everything that a log holds, read through a node that is alive.
  std::vector<Json> ReadLog(BuildId build);
  template <class Work>
  void Read(Work work) {
    database_->Run(store::Pool::kApi, false, work);
  }

 private:
  struct Slot {  ///< a machine on which one node at a time lives
    std::string name;
    std::unique_ptr<Node> node;  ///< null while it is down
    bool frozen = false;
    bool stopping = false;
  };

  void SetUp();
  void PlanFaults(Duration length);
  void PlanUsers(Duration length);
  /// Runs until that time, or a violation.
  void RunUntil(SteadyTime end);
  bool StepSomething();
  void AdvanceTo(SteadyTime time);
  void Kill(Slot& slot, std::string_view why);
  void StartNode(Slot& slot);
  void CheckAims();
  void TakeAims();
  void WatchSlots();
  void Register(const store::WorkerRow& worker);
  void EndFaults();
  void PauseEverything();
  void Committed();
  Node* AnyNode();
  void UserAction();
  Task<void> ReadLogTask(Node& node, BuildId build, std::vector<Json>& out, bool& done);

  RunOptions options_;
  RunReport report_;
  Random random_;
  VirtualClock clock_;
  bool alone_ = false;
  bool faults_ = true;
  bool quiet_ = false;  ///< no user acts any more
  std::unique_ptr<store::Database> database_;
  MemoryDisk disk_;
  std::map<std::string, std::unique_ptr<Worker>> workers_;
  std::map<std::string, std::vector<std::string>> versions_;
  std::vector<Slot> slots_;
  std::vector<std::unique_ptr<Node>> dead_;
  std::map<std::pair<SteadyTime, std::uint64_t>, std::function<void()>> events_;
  std::uint64_t next_event_ = 0;
  int next_node_ = 0;
  std::vector<store::WorkerRow> registrations_;
  bool stepped_ = false;  ///< the time of day was set
  PipelineId pipeline_;
  std::vector<JobId> jobs_;
  std::vector<ResourceId> resources_;
  std::FILE* trace_ = nullptr;
  bool database_away_ = false;
  std::int64_t feed_seen_ = 0;
  std::map<std::int64_t, std::string> feed_status_;  ///< builds by the change feed
  bool in_hook_ = false;
};

}  // namespace pinion::simulation
