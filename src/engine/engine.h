#pragma once

#include <map>
#include <memory>

#include "async/run_listener.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "engine/build_run.h"

namespace pinion::engine {

/// Runs the started builds that this process owns, each as one coroutine, from its plan to its end.
/// Builds outlive it: after a crash or a release the next owner takes them up where they were.
/// Everything on one loop.
class Engine {
 public:
  /// `ran`: told of each build's end here; may be none.
  explicit Engine(EngineServices services, RunListener ran = {});
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  ~Engine();

  /// Claims and runs every started build that nobody runs; at start, and when a lease was taken
  /// over. From the first time on it does so again by itself every few minutes, for what a failure
  /// or a node that died between two commits has left.
  Task<void> TakeUp();
  /// While it is paused no build begins; those that run go on. Before TakeUp() too.
  void SetPaused(bool paused);
  /// Runs this build unless it runs already.
  void Start(BuildId build);
  /// The build never ran, because no plan could be made: says why in its log, which then ends.
  void ReportError(BuildId build, std::string message);
  /// Interrupts the build's steps, if it runs here; its hooks run, then it ends as aborted.
  void Abort(BuildId build);
  /// Lets go of the builds whose rows are gone, as with their pipeline: no hook runs, their logs
  /// are removed, their containers are for the collector. Returns when none of them runs any more.
  Task<void> DropDeleted(std::stop_token stop);
  bool IsRunning(BuildId build) const { return running_.contains(build); }
  std::size_t running() const { return running_.size(); }

  /// Lets go of every build without ending any, and waits for their coroutines. Containers go on.
  Task<void> Release();
  /// The same, because the lease was lost, but not for good: nothing begins before the next
  /// TakeUp(), under another lease.
  Task<void> LetGo();

 private:
  Task<void> Run(BuildId build);
  Task<bool> RunClaimed(BuildId build);
  Task<Outcome> RunPlan(BuildRun& run, const std::string& text);
  Task<bool> End(BuildRun& run, store::BuildStatus status);
  Task<void> RemoveLogIfDeleted(BuildId build);
  Task<void> WriteError(BuildId build, std::string message);
  Task<void> FenceContainers(store::BuildRow build);
  void ReleaseRuns();

  EngineServices services_;
  struct Running {
    BuildRun* run = nullptr;  ///< null while it is being claimed
    bool aborted = false;     ///< meanwhile
  };
  void ArmSweep();
  Task<void> Sweep();

  std::map<BuildId, Running> running_;
  std::map<BuildId, std::shared_ptr<Event>> dropped_;  // each is set when its run has ended
  Timers::Handle sweep_timer_;
  RunListener ran_;
  bool paused_ = false;
  bool releasing_ = false;
  bool letting_go_ = false;
  std::shared_ptr<Event> idle_;  ///< while somebody waits until nothing runs
  TaskGroup tasks_;
};

}  // namespace pinion::engine
