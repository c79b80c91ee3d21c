#include "async/task_group.h"

#include <boost/asio/co_spawn.hpp>
#include <cassert>
#include <mutex>

namespace pinion {
namespace {

/// Numbers of live tasks by name. Names are words of the program, so they stay.
struct Gauges {
  std::mutex mutex;
  std::map<std::string, std::atomic<std::int64_t>> by_name;
};

Gauges& TheGauges() {
  static auto* gauges = new Gauges;  // groups may outlive static variables
  return *gauges;
}

std::atomic<std::int64_t>& GaugeOf(const std::string& name) {
  Gauges& gauges = TheGauges();
  const std::lock_guard lock(gauges.mutex);
  return gauges.by_name[name];
}

}  // namespace

std::map<std::string, std::int64_t> TaskGroup::Live() {
  Gauges& gauges = TheGauges();
  const std::lock_guard lock(gauges.mutex);
  std::map<std::string, std::int64_t> live;
  for (const auto& [name, number] : gauges.by_name) {
    if (const std::int64_t now = number.load(std::memory_order_relaxed); now != 0) live[name] = now;
  }
  return live;
}

TaskGroup::TaskGroup(Executor executor, Logger log, std::string name)
    : executor_(std::move(executor)),
      log_(std::move(log)),
      name_(std::move(name)),
      live_(GaugeOf(name_)) {}

TaskGroup::~TaskGroup() {
  assert(running_ == 0 && "a task group was destroyed with tasks in it");
}

bool TaskGroup::Spawn(Task<void> task) {
  if (stop_.stop_requested()) return false;
  ++running_;
  live_.fetch_add(1, std::memory_order_relaxed);
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
  live_.fetch_sub(1, std::memory_order_relaxed);
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
