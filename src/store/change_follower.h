#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "async/signal.h"
#include "async/task_group.h"
#include "async/timers.h"
#include "store/changes.h"
#include "store/database.h"

namespace pinion::store {

/// Reads the change feed once for a process and hands it on to whoever subscribed, page by page and
/// in order. Woken by commits; looks by itself once a minute, for what a lost notification hid. On
/// one loop.
class ChangeFollower {
 public:
  /// `trimmed`: rows were lost, load anew what you keep. Called on the loop, must not throw or
  /// block.
  using Consumer = std::function<void(const std::vector<Change>& changes, bool trimmed)>;

  ChangeFollower(Database& database, Executor executor, Timers& timers, Logger log);
  ChangeFollower(const ChangeFollower&) = delete;
  ChangeFollower& operator=(const ChangeFollower&) = delete;
  ~ChangeFollower();  // after Stop()

  /// Before Start().
  void Subscribe(Consumer consumer);
  /// Takes its place at the end of the feed and follows from there. State that is loaded after this
  /// has returned misses nothing.
  Task<void> Start();
  /// Reads until nothing is left now.
  Task<void> CatchUp();
  Task<void> Stop();

 private:
  Task<void> Follow();

  Database& database_;
  Executor executor_;
  Timers& timers_;
  Logger log_;
  std::vector<Consumer> consumers_;
  ChangeCursor cursor_;
  std::shared_ptr<Signal> look_ = std::make_shared<Signal>();  // outlives notifications under way
  Semaphore reading_{1};
  Timers::Handle sweep_;
  TaskGroup tasks_;
};

}  // namespace pinion::store
