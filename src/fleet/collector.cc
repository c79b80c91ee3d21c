#include "fleet/collector.h"

#include <algorithm>

namespace pinion::fleet {

using store::Doomed;
using store::Pool;
using store::Transaction;
using store::WorkerState;

Collector::Collector(Executor executor, Timers& timers, store::Database& database,
                     WorkerRegistry& registry, Logger log, CollectorOptions options,
                     RunListener ran)
    : executor_(std::move(executor)),
      timers_(timers),
      database_(database),
      registry_(registry),
      log_(std::move(log)),
      options_(options),
      ran_(std::move(ran)),
      tasks_(executor_, log_, "collector") {}

Collector::Numbers Collector::numbers() const {
  Numbers numbers = numbers_;
  numbers.under_way = under_way_.size();
  numbers.failing = failing_.size();
  return numbers;
}

void Collector::SetPaused(bool paused) {
  paused_ = paused;
  wake_.Set();
}

Task<void> Collector::Run(std::stop_token stop) {
  next_sweep_ = timers_.clock().Steady();
  std::exception_ptr end;
  try {
    for (;;) {
      while (paused_)
        co_await wake_.Wait(stop);
      const SteadyTime begun = timers_.clock().Steady();
      const bool sweep = begun >= next_sweep_;
      if (sweep) next_sweep_ = begun + options_.sweep_interval;
      std::string error;
      try {
        co_await Round(sweep);
      } catch (const Failure& failure) {
        error = failure.error().message;
        log_.Warn("a round of collection failed", {{"error", error}});
      }
      if (ran_) ran_(begun, error);
      co_await timers_.Sleep(options_.shortest_pause, stop);
      co_await WaitForReason(stop);
    }
  } catch (...) {
    end = std::current_exception();
  }
  tasks_.RequestStop();
  co_await tasks_.Join();
  std::rethrow_exception(end);
}

void Collector::RequestSweep() {
  next_sweep_ = timers_.clock().Steady();
  Notify();
}

Task<void> Collector::WaitForReason(std::stop_token stop) {
  SteadyTime until = next_sweep_;
  for (const auto& [key, failing] : failing_)
    until = std::min(until, failing.next);
  const Timers::Handle timer = timers_.At(until, [this] { wake_.Set(); });
  co_await wake_.Wait(stop);
}

Task<void> Collector::Round(bool sweep) {
  ++numbers_.rounds;
  const SteadyTime begun = timers_.clock().Steady();
  std::erase_if(forgotten_, [&](const auto& item) {
    return item.second < begun - 2 * options_.destroy_timeout;
  });
  struct Found {
    std::vector<Doomed> containers;
    std::vector<Doomed> volumes;
  };
  const Found found = co_await database_.Write(
      Pool::kEngine,
      [containers = options_.containers, volumes = options_.volumes](Transaction& transaction) {
        store::MarkUnneededContainers(transaction, containers);
        store::MarkUnneededVolumes(transaction, volumes);
        return Found{store::ListDoomedContainers(transaction),
                     store::ListDoomedVolumes(transaction)};
      });
  Begin(Kind::kContainer, found.containers, begun);
  Begin(Kind::kVolume, found.volumes, begun);
  if (!sweep) co_return;
  for (const auto& [name, row] : registry_.workers()) {
    const bool reachable = row.state != WorkerState::kStalled && row.state != WorkerState::kLanded;
    if (reachable && asking_.insert(name).second) tasks_.Spawn(AskWorker(name));
  }
}

Task<void> Collector::AskWorker(std::string worker) {
  const std::shared_ptr<WorkerClient> client = registry_.Client(worker);
  std::optional<Error> error;
  int unknown = 0;
  if (client) {
    const Deadline deadline(timers_, options_.destroy_timeout, tasks_.stop_token());
    try {
      const std::int64_t asked_at = timers_.clock().UnixSeconds();
      const SteadyTime since = timers_.clock().Steady();
      const std::vector<std::string> containers = co_await client->ListContainers(deadline.token());
      const std::vector<std::string> volumes = co_await client->ListVolumes(deadline.token());
      // The lists may still have what was destroyed, or is before they are looked at.
      unknown = co_await database_.Write(
          Pool::kEngine, [worker, containers, volumes, asked_at,
                          busy_containers = AtWork(Kind::kContainer, worker, since),
                          busy_volumes = AtWork(Kind::kVolume, worker, since)](Transaction& t) {
            return store::ReportContainers(t, worker, containers, asked_at, busy_containers) +
                   store::ReportVolumes(t, worker, volumes, asked_at, busy_volumes);
          });
    } catch (const Failure& failure) {
      error = failure.error();
    } catch (const Cancelled&) {
      error = Error{ErrorKind::kTimeout, "worker '" + worker + "' does not answer"};
    }
  }
  asking_.erase(worker);
  if (error && !tasks_.stop_token().stop_requested()) {
    log_.Warn("a worker was not asked for its containers", {{"error", error->message}});
  }
  if (unknown > 0) Notify();
}

bool Collector::GoneSince(const Key& key, SteadyTime since) const {
  const auto found = forgotten_.find(key);
  return found != forgotten_.end() && found->second >= since;
}

std::vector<std::string> Collector::AtWork(Kind kind, const std::string& worker,
                                           SteadyTime since) const {
  std::vector<std::string> handles;
  const auto add = [&](const Key& key) {
    if (key.kind == kind && key.doomed.worker_name == worker) handles.push_back(key.doomed.handle);
  };
  for (const Key& key : under_way_)
    add(key);
  for (const auto& [key, time] : forgotten_) {
    if (time >= since) add(key);
  }
  return handles;
}

void Collector::Begin(Kind kind, const std::vector<Doomed>& doomed, SteadyTime since) {
  const SteadyTime now = timers_.clock().Steady();
  for (const Doomed& one : doomed) {
    const Key key{kind, one};
    const auto failing = failing_.find(key);
    if (failing != failing_.end() && failing->second.next > now) continue;
    if (GoneSince(key, since) || !registry_.Client(one.worker_name)) continue;
    if (!under_way_.insert(key).second) continue;
    tasks_.Spawn(Destroy(key));
  }
}

Task<void> Collector::Destroy(Key key) {
  const std::string& worker = key.doomed.worker_name;
  std::optional<Error> error;
  try {
    Semaphore& permits = permits_.try_emplace(worker, options_.at_once).first->second;
    const Semaphore::Permit permit = co_await permits.Acquire(tasks_.stop_token());
    const std::shared_ptr<WorkerClient> client = registry_.Client(worker);
    if (!client) throw Failure(ErrorKind::kUnavailable, "worker '" + worker + "' is gone");
    const Deadline deadline(timers_, options_.destroy_timeout, tasks_.stop_token());
    if (key.kind == Kind::kContainer) {
      co_await client->DestroyContainer(key.doomed.handle, deadline.token());
    } else {
      co_await client->DestroyVolume(key.doomed.handle, deadline.token());
    }
  } catch (const Failure& failure) {
    error = failure.error();
  } catch (const Cancelled&) {
    error = Error{ErrorKind::kTimeout,
                  "worker '" + worker + "': destroying '" + key.doomed.handle + "' takes too long"};
  }
  if (!error) {
    ++numbers_.destroyed;
    failing_.erase(key);
    if (key.kind == Kind::kVolume) {
      const SteadyTime now = timers_.clock().Steady();
      for (auto& [other, failing] : failing_) {
        if (failing.in_use && other.doomed.worker_name == worker) failing.next = now;
      }
    }
    gone_.push_back(key);
    co_await ForgetGone();
    co_return;
  }
  under_way_.erase(key);
  if (tasks_.stop_token().stop_requested()) co_return;
  Failed(key, *error);
}

void Collector::Failed(const Key& key, const Error& error) {
  ++numbers_.failed;
  Failing& failing = failing_.try_emplace(key, Failing{{}, options_.shortest_pause}).first->second;
  failing.next = timers_.clock().Steady() + failing.pause;
  failing.pause = std::min(failing.pause * 2, options_.longest_pause);
  // Not every copy is known here: a volume waits for those as well, and that is no fault.
  failing.in_use = key.kind == Kind::kVolume && error.kind == ErrorKind::kConflict;
  if (failing.in_use) {
    log_.Debug("a volume waits for its copies to go", {{"handle", key.doomed.handle}});
  } else {
    log_.Warn("a container or volume was not destroyed, it is tried again",
              {{"handle", key.doomed.handle}, {"error", error.message}});
  }
  Notify();  // to wait for its time
}

/// Deletes the rows of what is gone: one transaction for all that came together meanwhile.
Task<void> Collector::ForgetGone() {
  if (forgetting_) co_return;
  forgetting_ = true;
  while (!gone_.empty()) {
    const std::vector<Key> gone = std::exchange(gone_, {});
    try {
      co_await database_.Write(Pool::kEngine, [gone](Transaction& transaction) {
        for (const Key& key : gone) {
          if (key.kind == Kind::kContainer) {
            store::DeleteContainer(transaction, key.doomed.handle);
          } else {
            store::DeleteVolume(transaction, key.doomed.handle);
          }
        }
      });
    } catch (const Failure& failure) {
      // The rows are still marked: they are destroyed again, which is no harm.
      log_.Warn("collected rows were not deleted", {{"error", failure.error().message}});
    }
    for (const Key& key : gone)
      under_way_.erase(key);
    Notify();  // a container's volumes, a copy's parent
  }
  forgetting_ = false;
}

}  // namespace pinion::fleet
