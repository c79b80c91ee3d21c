#include "async/task_group.h"

#include <boost/asio/co_spawn.hpp>
#include <cassert>

namespace pinion {

TaskGroup::TaskGroup(Executor executor, Logger log, std::string name)
    : executor_(std::move(executor)), log_(std::move(log)), name_(std::move(name)) {}

TaskGroup::~TaskGroup() {
  assert(running_ == 0 && "a task group was destroyed with tasks in it");
}

bool TaskGroup::Spawn(Task<void> task) {
  if (stop_.stop_requested()) return false;
  ++running_;
  boost::asio::co_spawn(executor_, std::move(task),
                        [this](const std::exception_ptr& error) { Finished(error); });
  return true;
}

void TaskGroup::Finished(const std::exception_ptr& error) {
  if (error) {
    try {
      std::rethrow_exception(error);
    } catch (const Cancelled&) {
      // It was asked to stop.
    } catch (...) {
      log_.LogError("task failed", {{"group", name_}, {"error", CurrentError().message}});
    }
  }
  if (--running_ > 0) return;
  for (const Waker<bool>& waker : std::exchange(joining_, {}))
    waker(true);
}

Task<void> TaskGroup::Join() {
  while (running_ > 0) {
    co_await Suspend<bool>([this](Waker<bool> waker) { joining_.push_back(std::move(waker)); });
  }
}

}  // namespace pinion
