#pragma once

#include <functional>
#include <optional>
#include <string>

#include "async/timers.h"
#include "store/leases.h"

namespace pinion::store {

struct LeaseOptions {
  /// How often the lease is renewed and others are looked at. 0 for a database that has one process
  /// only (SQLite): then all other leases are those of former lives, taken over at the start.
  Duration renew = std::chrono::seconds(3);
  /// How long a lease lasts that is not renewed.
  Duration lasts = std::chrono::seconds(15);
};

/// Holds this process's lease and takes over those of dead ones. On one loop.
class LeaseKeeper {
 public:
  struct Events {
    /// In the transaction that ends `dead`: makes what it held `own`'s, under own.last_epoch.
    std::function<void(Transaction&, const Lease& dead, const Lease& own)> take_over;
    /// After that transaction.
    std::function<void()> taken_over;
    /// The lease was lost, or could not be renewed for as long as it lasts: this process must stop
    /// what it does in its name. Everything it still writes under it is refused.
    std::function<void()> lost;
    /// After that: returns when nothing is done in the lost lease's name any more. Then a new one
    /// is claimed, with a later epoch, and `taken_over` is called. None, or if another process has
    /// claimed a lease under this node's name (they would take it from each other for ever): Run()
    /// ends with the loss.
    std::function<Task<void>()> let_go = {};
  };

  /// `database` and `timers` outlive it.
  LeaseKeeper(Database& database, Timers& timers, Logger log, std::string node, std::string role,
              LeaseOptions options, Events events);

  /// Claims the lease; before anything is done in its name.
  Task<Lease> Acquire(std::stop_token stop);
  /// Renews and watches until stop or the loss of the lease, and claims a new one then if it can
  /// let go. After Acquire().
  Task<void> Run(std::stop_token stop);
  /// Gives it up, at the end of a graceful stop.
  Task<void> Release(std::stop_token stop);

  const Lease& lease() const { return lease_; }
  bool lost() const { return lost_; }

 private:
  Task<void> Keep(std::stop_token stop);
  Task<void> Regain(std::stop_token stop);
  Task<void> Round(std::stop_token stop);
  Task<void> TakeOver(Lease dead, std::stop_token stop);
  void Lose(std::string_view why);

  Database& database_;
  Timers& timers_;
  Logger log_;
  LeaseOptions options_;
  Events events_;
  LeaseWatch watch_;
  Lease lease_;
  SteadyTime renewed_{};
  bool lost_ = false;
  bool replaced_ = false;  ///< by another process of this name
};

}  // namespace pinion::store
