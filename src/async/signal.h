#pragma once

#include <deque>
#include <vector>

#include "async/task.h"

namespace pinion {

/// "Look again": any number of Set() before a Wait() count once. One waiter at a time. For one
/// loop's thread, except Set() of a SharedSignal.
class Signal {
 public:
  void Set();
  /// Returns at once if it is set, and clears it. Throws Cancelled on stop.
  Task<void> Wait(std::stop_token stop);

 private:
  bool set_ = false;
  Waker<bool> waiter_;
};

/// Happens once and stays; any number of waiters.
class Event {
 public:
  void Set();
  bool IsSet() const { return set_; }
  Task<void> Wait(std::stop_token stop);

 private:
  bool set_ = false;
  std::vector<Waker<bool>> waiters_;
};

/// At most `limit` holders at a time, in the order they asked.
class Semaphore {
 public:
  explicit Semaphore(std::size_t limit) : free_(limit) {}

  class Permit {
   public:
    Permit() = default;
    explicit Permit(Semaphore* semaphore) : semaphore_(semaphore) {}
    Permit(Permit&& other) noexcept : semaphore_(std::exchange(other.semaphore_, nullptr)) {}
    Permit& operator=(Permit&& other) noexcept {
      Release();
      semaphore_ = std::exchange(other.semaphore_, nullptr);
      return *this;
    }
    ~Permit() { Release(); }
    void Release() {
      if (semaphore_) std::exchange(semaphore_, nullptr)->Return();
    }

   private:
    Semaphore* semaphore_ = nullptr;
  };

  /// Throws Cancelled on stop.
  Task<Permit> Acquire(std::stop_token stop);
  std::size_t waiting() const { return waiting_.size(); }

 private:
  struct Waiter {
    Waker<bool> waker;
    bool granted = false;
    bool gone = false;
  };
  void Return();

  std::size_t free_;
  std::deque<std::shared_ptr<Waiter>> waiting_;
};

}  // namespace pinion
