#pragma once

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "async/task.h"

namespace boost::asio {
class io_context;
}

namespace pinion {

/// One thread's event loop. State that belongs to a loop is touched by its thread alone, so it
/// needs no locks; other threads reach it by Post().
class Loop {
 public:
  explicit Loop(std::string name);
  Loop(const Loop&) = delete;
  Loop& operator=(const Loop&) = delete;
  ~Loop();  // the loop must not be running

  /// Runs on the calling thread until Stop(). An exception that escapes a handler is a bug and ends
  /// the process through std::terminate, with its text.
  void Run();
  /// Runs what is ready without waiting; for tests. Returns how many handlers ran.
  std::size_t Poll();
  /// Runs `task` to its end on the calling thread and returns its value or throws its exception;
  /// other tasks of the loop go on meanwhile. For main functions and tests.
  template <class T>
  T RunUntilDone(Task<T> task);
  /// Ends Run() soon; from any thread.
  void Stop();

  void Post(std::move_only_function<void()> work);
  Executor executor() const;
  boost::asio::io_context& context() { return *context_; }
  const std::string& name() const { return name_; }

 private:
  void RunTask(Task<void> task);

  std::string name_;
  std::unique_ptr<boost::asio::io_context> context_;
};

/// Starts a task that nobody awaits: its owner must be able to show why it ends. An exception other
/// than Cancelled ends the process. Prefer TaskGroup::Spawn.
void SpawnDetached(const Executor& executor, Task<void> task);

namespace async_detail {
template <class T>
Task<void> Store(Task<T> task, std::optional<T>& out) {
  out.emplace(co_await std::move(task));
}
}  // namespace async_detail

template <class T>
T Loop::RunUntilDone(Task<T> task) {
  if constexpr (std::is_void_v<T>) {
    RunTask(std::move(task));
  } else {
    std::optional<T> value;
    RunTask(async_detail::Store(std::move(task), value));
    return std::move(*value);
  }
}

}  // namespace pinion
