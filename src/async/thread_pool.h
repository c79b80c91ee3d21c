#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "async/task.h"

namespace pinion {

/// Named threads for what blocks (SQL, disk) or computes long. Bounded: past `limit` queued pieces,
/// more are refused as kUnavailable rather than piling up. Work must not wait for the same pool.
class ThreadPool {
 public:
  ThreadPool(std::string name, std::size_t threads, std::size_t limit);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  /// Finishes what is queued, then ends the threads.
  ~ThreadPool();

  /// Runs `work` on a thread of the pool and brings its value or exception back to the caller's
  /// loop. It is not interrupted; a caller that must stop early makes the work itself stoppable.
  template <class Work, class T = std::invoke_result_t<Work>>
  Task<T> Run(Work work);

  /// Runs one queued piece on the calling thread; false if there is none. For a pool without
  /// threads, whose owner decides when and in which order things happen: the simulation.
  bool RunOne();

  /// Queued and running now.
  std::size_t depth() const;
  const std::string& name() const { return name_; }

 private:
  void Enqueue(std::move_only_function<void()> work);
  void Work();

  std::string name_;
  std::size_t limit_;
  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::move_only_function<void()>> queue_;
  std::size_t busy_ = 0;
  bool ending_ = false;
  std::vector<std::thread> threads_;
};

template <class Work, class T>
Task<T> ThreadPool::Run(Work work) {
  // The outcome travels in an optional, so that T needs no default constructor.
  using Value = std::conditional_t<std::is_void_v<T>, bool, T>;
  auto outcome = std::make_shared<std::optional<Value>>();
  auto shared_work = std::make_shared<Work>(std::move(work));
  co_await Suspend<bool>([&](Waker<bool> waker) {
    Enqueue([outcome, shared_work, waker]() mutable {
      try {
        if constexpr (std::is_void_v<T>) {
          (*shared_work)();
          outcome->emplace(true);
        } else {
          outcome->emplace((*shared_work)());
        }
        shared_work.reset();  // what it holds is released before the caller goes on
        waker(true);
      } catch (...) {
        waker.Fail(std::current_exception());
      }
    });
  });
  if constexpr (!std::is_void_v<T>) co_return std::move(**outcome);
}

}  // namespace pinion
