#include "store/database_slots.h"

#include <algorithm>

#include "base/error.h"

namespace pinion::store {

bool FairSlots::Acquire(Duration limit, bool urgent, const std::stop_token& stop) {
  std::unique_lock lock(mutex_);
  if (free_ > 0 && waiting_.empty()) {
    --free_;
    return true;
  }
  Waiter self;
  if (urgent) {
    waiting_.push_front(&self);
  } else {
    waiting_.push_back(&self);
  }
  self.wake.wait_for(lock, stop, limit, [&] { return self.granted; });
  if (self.granted) return true;
  waiting_.erase(std::find(waiting_.begin(), waiting_.end(), &self));
  if (stop.stop_requested()) throw Cancelled();
  return false;
}

void FairSlots::Release() {
  const std::lock_guard lock(mutex_);
  if (waiting_.empty()) {
    ++free_;
    return;
  }
  Waiter* next = waiting_.front();
  waiting_.pop_front();
  next->granted = true;
  next->wake.notify_one();  // under the lock: the waiter lives on its thread's stack
}

std::size_t FairSlots::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

}  // namespace pinion::store
