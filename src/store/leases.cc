#include "store/leases.h"

#include <algorithm>

namespace pinion::store {

namespace {

// The row of the setting serialises claims, so no two get the same epoch.
std::int64_t NextEpoch(Transaction& transaction) {
  return transaction
      .QueryOne(
          "insert into settings (name, value) values ('lease.epoch', '1') on conflict (name) do "
          "update set value = cast(cast(settings.value as bigint) + 1 as text) "
          "returning cast(value as bigint)")
      .value()
      .Integer(0);
}

Lease ReadLease(const Row& row) {
  return {.node = row.Text(0),
          .epoch = row.Integer(1),
          .last_epoch = row.Integer(2),
          .counter = row.Integer(3),
          .role = row.Text(4)};
}

}  // namespace

Lease AcquireLease(Transaction& transaction, std::string_view node, std::string_view role) {
  const std::int64_t epoch = NextEpoch(transaction);
  transaction.Execute(
      "insert into leases (node, epoch, last_epoch, counter, role) values ($1, $2, $2, 1, $3) "
      "on conflict (node) do update set epoch = excluded.epoch, last_epoch = excluded.last_epoch, "
      "counter = 1, role = excluded.role",
      {node, epoch, role});
  return {.node = std::string(node),
          .epoch = epoch,
          .last_epoch = epoch,
          .counter = 1,
          .role = std::string(role)};
}

bool RenewLease(Transaction& transaction, const Lease& lease) {
  return transaction.Execute(
             "update leases set counter = counter + 1 where node = $1 and epoch = $2",
             {lease.node, lease.epoch}) > 0;
}

void ReleaseLease(Transaction& transaction, const Lease& lease) {
  transaction.Execute("delete from leases where node = $1 and epoch = $2",
                      {lease.node, lease.epoch});
}

bool HoldsLease(Transaction& transaction, std::string_view node, std::int64_t epoch) {
  return !transaction
              .Query(transaction.Pick("select 1 from leases where node = $1 and epoch <= $2 and "
                                      "last_epoch >= $2",
                                      "select 1 from leases where node = $1 and epoch <= $2 and "
                                      "last_epoch >= $2 for share"),
                     {node, epoch})
              .empty();
}

std::vector<Lease> ListLeases(Transaction& transaction) {
  std::vector<Lease> leases;
  for (const Row& row : transaction.Query(
           "select node, epoch, last_epoch, counter, role from leases order by node")) {
    leases.push_back(ReadLease(row));
  }
  return leases;
}

std::optional<Lease> TakeOverLease(Transaction& transaction, const Lease& dead, const Lease& own) {
  const std::int64_t ended = transaction.Execute(
      "delete from leases where node = $1 and epoch = $2 and last_epoch = $3 and counter = $4",
      {dead.node, dead.epoch, dead.last_epoch, dead.counter});
  if (ended == 0) return std::nullopt;
  const std::int64_t epoch = NextEpoch(transaction);
  const auto row = transaction.QueryOne(
      "update leases set last_epoch = $3 where node = $1 and epoch = $2 "
      "returning node, epoch, last_epoch, counter, role",
      {own.node, own.epoch, epoch});
  if (!row) {
    throw Failure(ErrorKind::kConflict, "node " + own.node + " lost its own lease (epoch " +
                                            std::to_string(own.epoch) + ")");
  }
  return ReadLease(*row);
}

std::vector<Lease> LeaseWatch::Observe(const std::vector<Lease>& leases) {
  const SteadyTime now = clock_.Steady();
  std::vector<Seen> seen;
  std::vector<Lease> dead;
  for (const Lease& lease : leases) {
    const auto known = std::ranges::find(seen_, lease, &Seen::lease);
    const SteadyTime since = known == seen_.end() ? now : known->since;
    if (now - since >= lasts_) dead.push_back(lease);
    seen.push_back({lease, since});
  }
  seen_ = std::move(seen);
  return dead;
}

}  // namespace pinion::store
