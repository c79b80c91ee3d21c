#pragma once

#include <vector>

#include "async/task.h"

namespace pinion::worker {

/// "Something has changed": wakes everybody who waits now. For one loop's thread. Waiters look at
/// the state before they wait, without suspending in between.
class Broadcast {
 public:
  void Notify() {
    for (const Waker<bool>& waiter : std::exchange(waiters_, {}))
      waiter(true);
  }
  /// Throws Cancelled on stop.
  Task<void> Wait(std::stop_token stop) {
    co_await SuspendUntilStop<bool>(std::move(stop),
                                    [this](Waker<bool> waker) { waiters_.push_back(waker); });
  }

 private:
  std::vector<Waker<bool>> waiters_;
};

}  // namespace pinion::worker
