#include "async/signal.h"

namespace pinion {

void Signal::Set() {
  set_ = true;
  if (waiter_) std::exchange(waiter_, {})(true);
}

Task<void> Signal::Wait(std::stop_token stop) {
  while (!set_) {
    co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) { waiter_ = waker; });
  }
  ThrowIfStopped(stop);
  set_ = false;
}

void Event::Set() {
  set_ = true;
  for (const Waker<bool>& waiter : std::exchange(waiters_, {}))
    waiter(true);
}

Task<void> Event::Wait(std::stop_token stop) {
  while (!set_) {
    co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) { waiters_.push_back(waker); });
  }
}

Task<Semaphore::Permit> Semaphore::Acquire(std::stop_token stop) {
  ThrowIfStopped(stop);
  if (free_ > 0) {
    --free_;
    co_return Permit(this);
  }
  auto waiter = std::make_shared<Waiter>();
  waiting_.push_back(waiter);
  try {
    co_await SuspendUntilStop<bool>(stop, [&](Waker<bool> waker) { waiter->waker = waker; });
  } catch (...) {
    waiter->gone = true;
    if (waiter->granted) Return();  // it was handed over in the same moment
    throw;
  }
  co_return Permit(this);
}

void Semaphore::Return() {
  while (!waiting_.empty()) {
    auto waiter = std::move(waiting_.front());
    waiting_.pop_front();
    if (waiter->gone) continue;
    waiter->granted = true;
    waiter->waker(true);
    return;
  }
  ++free_;
}

}  // namespace pinion
