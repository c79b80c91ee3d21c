#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/log.h"

namespace pinion {

/// Owns coroutines of one loop: cancels and awaits them. Declare it as the last member of its
/// owner, so that what its tasks use outlives them. Every method is for the loop's thread.
class TaskGroup {
 public:
  /// `name` says in the log whose task failed.
  TaskGroup(Executor executor, Logger log, std::string name);
  TaskGroup(const TaskGroup&) = delete;
  TaskGroup& operator=(const TaskGroup&) = delete;
  /// The group must be empty: its owner has awaited Join().
  ~TaskGroup();

  /// Starts the task. Cancelled ends it quietly; any other exception is logged as an error.
  /// After RequestStop() nothing is started any more and false is returned.
  bool Spawn(Task<void> task);
  /// What its tasks should give to their waits.
  std::stop_token stop_token() const { return stop_.get_token(); }
  void RequestStop() { stop_.request_stop(); }
  /// Returns when no task is left; more may be spawned meanwhile unless stop was requested.
  Task<void> Join();
  std::size_t size() const { return running_; }

  /// How many tasks of all groups of this process run now, by the groups' names: each is a
  /// coroutine with those that it awaits, and no other coroutine lives. From any thread.
  static std::map<std::string, std::int64_t> Live();

 private:
  void Finished(const std::exception_ptr& error);

  Executor executor_;
  Logger log_;
  std::string name_;
  std::stop_source stop_;
  std::size_t running_ = 0;
  std::atomic<std::int64_t>& live_;  ///< of all groups of this name
  std::vector<Waker<bool>> joining_;
};

}  // namespace pinion
