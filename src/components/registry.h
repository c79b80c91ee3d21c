#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "async/run_listener.h"
#include "async/task_group.h"
#include "async/timers.h"
#include "store/components_table.h"

namespace pinion::components {

/// A named part of the server.
struct Component {
  std::string name;
  std::string role;
  /// The longest between two runs: the sweep for what no event told of. 0: only triggered runs.
  Duration interval{};
  /// One bounded pass over what is to be done. A Failure is logged, shown and tried again, sooner
  /// than the interval. None: a part with a loop of its own, which tells its runs (RunsOf).
  std::function<Task<void>(std::stop_token)> run;
  /// Instead of `run`: called before the end of Start() and at each change.
  std::function<void(bool paused)> set_paused;
  /// The longest that one run may take; then it is stopped and counts as failed. 0: no limit.
  Duration time_limit = std::chrono::minutes(5);
  /// On several nodes, one of them does the sweep of each interval; triggered runs are not shared.
  bool shared = false;

  /// Without either, nobody may pause it.
  bool pausable() const { return run || set_paused; }
};

/// What a component does now and did last, on this node.
struct ComponentStatus {
  std::string name;
  std::string role;
  Duration interval{};
  bool paused = false;
  bool running = false;
  std::int64_t runs = 0;
  std::int64_t failures = 0;
  std::optional<std::int64_t> last_ran;  ///< unix seconds
  Duration last_duration{};
  std::optional<std::string> last_error;
};

/// Registers components in their table and runs them: at the start, by interval with jitter, and
/// when triggered; never one twice at a time, none that is paused. Everything on one loop. The
/// owner awaits Stop() before the end of its life.
class Registry {
 public:
  /// `database` and `timers` outlive it. `seed` decides the jitter.
  Registry(Executor executor, store::Database& database, Timers& timers, Logger log,
           std::uint64_t seed);
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;
  ~Registry();

  /// Before Start(). The name is unique.
  void Add(Component component);
  /// Writes the rows, reads who is paused, and lets them run.
  Task<void> Start(std::stop_token stop);
  /// Cancels what runs, waits for it, and notes the last runs.
  Task<void> Stop();

  /// Runs it at once, or right after the run that is under way; any number of calls until then
  /// count once. While it is paused, the call waits for the end of the pause. Unknown names are a
  /// bug.
  void Trigger(std::string_view name);

  /// Notes the runs of a part that has a loop of its own. For as long as this lives.
  RunListener RunsOf(std::string_view name);

  /// Reads again who is paused: when the change feed tells a change that Concerns() this.
  Task<void> Reload(std::stop_token stop);
  static bool Concerns(std::string_view change_kind) {
    return change_kind == "component.paused" || change_kind == "component.unpaused";
  }
  bool IsPaused(std::string_view name) const;

  std::vector<ComponentStatus> List() const;

 private:
  struct Entry;

  Entry& Find(std::string_view name) const;
  Task<void> Follow(Entry& entry, std::stop_token stop);
  Task<void> RunOnce(Entry& entry, bool triggered, std::stop_token stop);
  Task<std::optional<std::string>> Attempt(Entry& entry, std::stop_token stop);
  Task<bool> Claim(const Entry& entry, std::stop_token stop);
  Task<void> RecordRuns(std::stop_token stop);
  Task<void> Record(std::stop_token stop);
  void Schedule(Entry& entry, Duration delay);
  Duration Jittered(Duration interval);
  void SetPaused(const std::vector<store::ComponentRow>& rows);

  Executor executor_;
  store::Database& database_;
  Timers& timers_;
  Logger log_;
  std::mt19937_64 random_;
  std::vector<std::unique_ptr<Entry>> entries_;  // coroutines hold references
  TaskGroup tasks_;                              // last: they use all of the above
};

}  // namespace pinion::components
