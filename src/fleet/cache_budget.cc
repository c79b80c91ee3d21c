#include "fleet/cache_budget.h"

#include "protocol/baggageclaim.h"
#include "store/volumes.h"

namespace pinion::fleet {

using store::WorkerState;

CacheBudget::CacheBudget(Timers& timers, store::Database& database, WorkerRegistry& registry,
                         Logger log, std::function<void()> evicted, CacheBudgetOptions options)
    : timers_(timers),
      database_(database),
      registry_(registry),
      log_(std::move(log)),
      evicted_(std::move(evicted)),
      options_(options) {}

Task<void> CacheBudget::Run(std::stop_token stop) {
  if (options_.percent <= 0) co_return;
  std::vector<std::string> workers;
  for (const auto& [name, row] : registry_.workers()) {
    if (row.state != WorkerState::kStalled && row.state != WorkerState::kLanded) {
      workers.push_back(name);
    }
  }
  for (const std::string& worker : workers) {
    std::optional<Error> error;
    try {
      const Deadline deadline(timers_, options_.timeout, stop);
      co_await LookAt(worker, deadline.token());
    } catch (const Failure& failure) {
      error = failure.error();
    } catch (const Cancelled&) {
      if (stop.stop_requested()) throw;
      error = Error{ErrorKind::kTimeout, "worker '" + worker + "' does not answer"};
    }
    // One that does not answer keeps the others' disks no fuller.
    if (error) log_.Warn("a worker's disk is not known", {{"error", error->message}});
  }
}

Task<void> CacheBudget::LookAt(std::string worker, std::stop_token stop) {
  const std::shared_ptr<WorkerClient> client = registry_.Client(worker);
  if (!client) co_return;
  const std::optional<protocol::baggageclaim::Disk> disk = co_await client->FindDisk(stop);
  if (!disk || disk->total_bytes <= 0) co_return;
  const std::int64_t used = disk->total_bytes - disk->available_bytes;
  if (used / 100 * 100 <= disk->total_bytes / 100 * options_.percent) co_return;
  const std::vector<std::string> evicted = co_await database_.Write(
      store::Pool::kEngine,
      [worker](store::Transaction& transaction) {
        return store::EvictLeastUsedCaches(transaction, worker);
      },
      stop);
  if (evicted.empty()) co_return;
  log_.Info("unused caches are given up: the worker's disk is fuller than the budget",
            {{"worker", worker},
             {"used_percent", used / (disk->total_bytes / 100 + 1)},
             {"budget_percent", std::int64_t{options_.percent}},
             {"caches", static_cast<std::int64_t>(evicted.size())}});
  evicted_();
}

}  // namespace pinion::fleet
