#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "async/run_listener.h"
#include "async/task_group.h"
#include "async/timers.h"
#include "base/log.h"
#include "checking/check_requester.h"
#include "checking/interfaces.h"
#include "pipeline/planner.h"
#include "store/change_follower.h"
#include "store/database.h"
#include "store/resources.h"

namespace pinion::checking {

/// Runs the checks of all running pipelines at their intervals: one for each scope, however many
/// resources share it. What is due lies in a heap in memory, fed by the change feed; nothing is
/// read from the database to find out that nothing is due. As upstream: resources that trigger jobs
/// are checked for ever; others until a check succeeds, and inputs until they have a version;
/// `check_every: never` and paused pipelines not at all. Several nodes may check: each check is
/// claimed. On one loop.
class Checker final : public CheckRequester {
 public:
  struct Options {
    Duration interval = std::chrono::minutes(1);          ///< where check_every says nothing
    Duration webhook_interval = std::chrono::minutes(1);  ///< the same with a webhook_token
    Duration timeout = std::chrono::hours(1);             ///< where check_timeout says nothing
    std::size_t concurrency = 32;
    double per_second =
        0;  ///< at most so many checks begin; 0: as many as are due. Requests count too
    /// After a start, checks that are overdue are spread over so long.
    Duration spread = std::chrono::seconds(20);
    Duration retry = std::chrono::seconds(5);  ///< after the database did not answer
    pipeline::BaseDefaults base_defaults;
    /// Resources of equal type and source share a scope; otherwise each has its own.
    bool global_resources = true;
  };
  struct Services {
    Executor executor;
    store::Database& database;
    Timers& timers;
    store::ChangeFollower& feed;
    SourceFiller& sources;
    CheckRunner& runner;
    Logger log;
    /// This process among the nodes: a former one's claims end at the start.
    std::string node;
    RunListener ran = {};  ///< may be none
  };

  Checker(Services services, Options options);
  Checker(const Checker&) = delete;
  Checker& operator=(const Checker&) = delete;
  ~Checker() override;  // after Stop()

  /// Loads every running pipeline. Call it after the feed's Start().
  Task<void> Start();
  /// Ends running checks and gives up their claims.
  Task<void> Stop();

  /// While it is paused no check begins; what is asked for waits. Before Start() too.
  void SetPaused(bool paused);

  void RequestChecks(const std::vector<ResourceId>& resources) override;

  /// Scopes with a check to come; running checks; checks begun since the start.
  std::size_t scheduled() const { return due_.size(); }
  std::size_t running() const { return running_; }
  std::int64_t begun() const { return begun_; }
  /// How late the check begun last was.
  Duration lateness() const { return lateness_; }

  /// Returns when nothing runs and nothing that is due waits. For tests.
  Task<void> WaitUntilIdle(std::stop_token stop);

 private:
  struct Watched {
    CheckRequest request;
    bool has_vars = false;
    std::string key;                   ///< of its scope
    std::optional<Duration> interval;  ///< nothing: never by itself
    Duration timeout{};
    bool for_ever = false;  ///< it triggers a job: checked by itself as long as it does
    bool periodic = false;  ///< checked by itself now
  };
  struct ScopeState {
    std::set<ResourceId> members;
    std::optional<SteadyTime> due;
    bool requested = false;
    bool running = false;
  };
  /// A resource as loading found it.
  struct Loaded {
    Watched watched;
    ScopeId kept;  ///< where it stays because its source could not be filled in
    bool is_input = false;
    std::optional<std::int64_t> due_in;  ///< seconds; nothing: at once
  };
  struct Work {
    std::set<PipelineId> pipelines;
    std::set<ResourceId> resources;
    bool empty() const { return pipelines.empty() && resources.empty(); }
  };

  void OnChanges(const std::vector<store::Change>& changes, bool trimmed);
  void Load();
  Task<void> LoadWaiting();
  Task<void> LoadAll();
  Task<void> LoadPipeline(PipelineId pipeline);
  Task<void> LoadResource(ResourceId resource);
  struct Found {
    std::vector<store::CheckableRow> rows;
    std::vector<protocol::ResourceType> types;
  };
  Task<void> Place(Found found);
  std::optional<Loaded> Parse(const store::CheckableRow& row,
                              const std::vector<protocol::ResourceType>& types) const;
  Task<Result<std::string>> KeyOf(Watched watched);
  Task<bool> KeyChanged(Watched watched);
  static void Attach(store::Transaction& transaction, Loaded& loaded);
  void Watch(Loaded loaded);
  void Forget(ResourceId resource);
  void ForgetPipeline(PipelineId pipeline);

  void Schedule(ScopeId scope, std::optional<SteadyTime> when);
  std::optional<Duration> IntervalOf(const ScopeState& scope) const;
  const Watched* Representative(const ScopeState& scope) const;
  void Arm();
  void StartDue();
  Task<void> Check(ScopeId scope, Watched watched, bool requested);
  Task<bool> Begin(ScopeId scope, Watched& watched, bool requested);
  Task<void> Finish(ScopeId scope, std::optional<CheckResult> result, std::string error);
  void ArmRenewal();
  Task<void> RenewClaims();
  void NotifyIdle();
  bool IsIdle() const;

  Services services_;
  Options options_;
  std::map<ResourceId, Watched> watched_;
  std::map<ScopeId, ScopeState> scopes_;
  std::map<PipelineId, std::set<ResourceId>> of_pipeline_;
  std::set<std::pair<SteadyTime, ScopeId>> due_;
  Work to_load_;
  std::set<ResourceId> requested_unloaded_;
  bool load_everything_ = false;
  bool loading_ = false;
  bool started_ = false;
  bool paused_ = false;
  std::size_t running_ = 0;
  std::int64_t begun_ = 0;
  Duration lateness_{};
  SteadyTime next_slot_{};  // of the rate limit
  std::vector<Waker<bool>> idle_;
  Timers::Handle timer_;
  Timers::Handle retry_timer_;
  Timers::Handle renewal_;
  bool renewal_armed_ = false;
  TaskGroup tasks_;
};

}  // namespace pinion::checking
