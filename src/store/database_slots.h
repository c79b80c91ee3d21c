#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <stop_token>

#include "base/clock.h"

namespace pinion::store {

/// So many holders at a time, served in the order in which they asked: connections of a pool, the
/// one writer of an SQLite file. For threads that may block; thread-safe.
class FairSlots {
 public:
  explicit FairSlots(std::size_t slots) : free_(slots) {}

  /// Waits for a slot; false once `limit` has passed. An urgent one goes before all others. Throws
  /// Cancelled on stop.
  [[nodiscard]] bool Acquire(Duration limit, bool urgent, const std::stop_token& stop);
  void Release();
  std::size_t waiting() const;

 private:
  struct Waiter {
    std::condition_variable_any wake;
    bool granted = false;
  };

  mutable std::mutex mutex_;
  std::size_t free_;
  std::deque<Waiter*> waiting_;
};

/// Returns a slot at the end of its life.
class HeldSlot {
 public:
  explicit HeldSlot(FairSlots& slots) : slots_(&slots) {}
  HeldSlot(const HeldSlot&) = delete;
  HeldSlot& operator=(const HeldSlot&) = delete;
  ~HeldSlot() { slots_->Release(); }

 private:
  FairSlots* slots_;
};

}  // namespace pinion::store
