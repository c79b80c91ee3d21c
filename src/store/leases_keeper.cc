#include "store/leases_keeper.h"

#include <algorithm>

namespace pinion::store {

LeaseKeeper::LeaseKeeper(Database& database, Timers& timers, Logger log, std::string node,
                         std::string role, LeaseOptions options, Events events)
    : database_(database),
      timers_(timers),
      log_(std::move(log)),
      options_(options),
      events_(std::move(events)),
      watch_(timers.clock(), options.renew == Duration::zero() ? Duration::zero() : options.lasts) {
  lease_.node = std::move(node);
  lease_.role = std::move(role);
}

Task<Lease> LeaseKeeper::Acquire(std::stop_token stop) {
  const SteadyTime begun = timers_.clock().Steady();
  lease_ = co_await database_.Write(
      Pool::kLease,
      [node = lease_.node, role = lease_.role](Transaction& transaction) {
        return AcquireLease(transaction, node, role);
      },
      stop);
  renewed_ = begun;
  lost_ = false;
  log_.Info("lease acquired", {{"node", lease_.node}, {"epoch", lease_.epoch}});
  co_return lease_;
}

void LeaseKeeper::Lose(std::string_view why) {
  if (lost_) return;
  lost_ = true;
  log_.LogError("the lease is lost",
                {{"node", lease_.node}, {"epoch", lease_.epoch}, {"why", why}});
  if (events_.lost) events_.lost();
}

Task<void> LeaseKeeper::TakeOver(Lease dead, std::stop_token stop) {
  auto taken = co_await database_.Write(
      Pool::kLease,
      [dead, own = lease_, take_over = events_.take_over](Transaction& transaction) {
        auto extended = TakeOverLease(transaction, dead, own);
        if (extended && take_over) take_over(transaction, dead, *extended);
        return extended;
      },
      stop);
  if (!taken) co_return;  // it lives, or another node was first
  lease_ = std::move(*taken);
  log_.Warn("took over what a dead node held",
            {{"node", dead.node}, {"its_epoch", dead.last_epoch}, {"epoch", lease_.last_epoch}});
  if (events_.taken_over) events_.taken_over();
}

Task<void> LeaseKeeper::Round(std::stop_token stop) {
  struct Seen {
    bool held = false;
    std::vector<Lease> leases;
  };
  const SteadyTime begun = timers_.clock().Steady();
  Seen seen = co_await database_.Write(
      Pool::kLease,
      [own = lease_](Transaction& transaction) {
        return Seen{RenewLease(transaction, own), ListLeases(transaction)};
      },
      stop);
  if (!seen.held) {
    replaced_ = std::ranges::find(seen.leases, lease_.node, &Lease::node) != seen.leases.end();
    Lose(replaced_ ? "another process runs under this node's name: end one of them"
                   : "another node has taken it over");
    co_return;
  }
  renewed_ = begun;
  std::erase_if(seen.leases, [&](const Lease& other) { return other.node == lease_.node; });
  for (Lease& dead : watch_.Observe(seen.leases))
    co_await TakeOver(std::move(dead), stop);
}

Task<void> LeaseKeeper::Run(std::stop_token stop) {
  for (;;) {
    co_await Keep(stop);
    if (!lost_ || !events_.let_go) co_return;
    co_await events_.let_go();
    if (replaced_) co_return;
    co_await Regain(stop);
    if (events_.taken_over) events_.taken_over();
  }
}

Task<void> LeaseKeeper::Regain(std::stop_token stop) {
  while (lost_) {
    try {
      co_await Acquire(stop);
    } catch (const Failure& failure) {
      log_.Warn("no new lease could be claimed", {{"error", failure.what()}});
    }
    if (lost_) co_await timers_.Sleep(options_.renew, stop);
  }
}

Task<void> LeaseKeeper::Keep(std::stop_token stop) {
  const bool alone = options_.renew == Duration::zero();
  while (!lost_) {
    const Duration left = renewed_ + options_.lasts - timers_.clock().Steady();
    if (!alone && left <= Duration::zero()) {
      Lose("it could not be renewed in time");
      co_return;
    }
    // A renewal that hangs must not outlast the lease either.
    const Deadline deadline(timers_, alone ? Duration::zero() : left, stop);
    try {
      co_await Round(deadline.token());
    } catch (const Failure& failure) {
      log_.Warn("the lease could not be renewed", {{"error", failure.what()}});
      watch_.Forget();
    } catch (const Cancelled&) {
      if (!deadline.expired()) throw;
      watch_.Forget();
    }
    if (lost_ || alone) co_return;
    const SteadyTime next = timers_.clock().Steady() + options_.renew;
    co_await timers_.SleepUntil(std::min(next, renewed_ + options_.lasts), stop);
  }
}

Task<void> LeaseKeeper::Release(std::stop_token stop) {
  if (lost_) co_return;
  co_await database_.Write(
      Pool::kLease, [own = lease_](Transaction& transaction) { ReleaseLease(transaction, own); },
      stop);
}

}  // namespace pinion::store
