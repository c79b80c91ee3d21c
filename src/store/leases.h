#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/database.h"

namespace pinion::store {

/// One process's claim to be alive, renewed by counting. It holds the epochs from `epoch` to
/// `last_epoch`; epochs are one count for all nodes, so whatever is done under a later claim
/// carries a higher one. Who works in a lease's name asks HoldsLease in the same transaction.
struct Lease {
  std::string node;
  std::int64_t epoch = 0;
  std::int64_t last_epoch = 0;
  std::int64_t counter = 0;
  std::string role;
  friend bool operator==(const Lease&, const Lease&) = default;
};

/// Claims the node's lease with a new epoch. A former life of the same node loses its own.
Lease AcquireLease(Transaction& transaction, std::string_view node, std::string_view role);
/// Counts on. False if the lease is no longer this one: what it held belongs to others.
bool RenewLease(Transaction& transaction, const Lease& lease);
/// Gives it up, so that others need not wait for its end.
void ReleaseLease(Transaction& transaction, const Lease& lease);

/// Whether the node holds a lease with that epoch. On PostgreSQL the row is locked FOR SHARE: it
/// cannot be taken over before this transaction ends, so what is written here is still the owner's.
bool HoldsLease(Transaction& transaction, std::string_view node, std::int64_t epoch);

std::vector<Lease> ListLeases(Transaction& transaction);

/// Ends `dead`, which the caller watched for longer than a lease lasts, unless it was renewed
/// meanwhile (nothing then), and gives `own` a new last_epoch, which is returned with it: take over
/// what `dead` held in this transaction, under that epoch. kConflict if `own` is lost itself.
std::optional<Lease> TakeOverLease(Transaction& transaction, const Lease& dead, const Lease& own);

/// Which leases have stopped counting, by a monotonic clock of one's own: clocks of other machines
/// and stepped ones do not matter. No thread safety.
class LeaseWatch {
 public:
  LeaseWatch(const Clock& clock, Duration lasts) : clock_(clock), lasts_(lasts) {}

  /// Takes what ListLeases said now; returns those that did not change for as long as a lease
  /// lasts.
  std::vector<Lease> Observe(const std::vector<Lease>& leases);
  /// Begins anew: after an outage of the database, in which nobody could count on.
  void Forget() { seen_.clear(); }

 private:
  struct Seen {
    Lease lease;
    SteadyTime since;
  };
  const Clock& clock_;
  Duration lasts_;
  std::vector<Seen> seen_;
};

}  // namespace pinion::store
