#include "store/residents.h"

#include <array>
#include <unordered_map>
#include <unordered_set>

namespace pinion::store {
namespace {

constexpr std::array<std::string_view, 3> kStateNames = {"creating", "created", "destroying"};

std::string Sql(std::string_view before, std::string_view table, std::string_view after) {
  return std::string(before) + std::string(table) + std::string(after);
}

}  // namespace

std::string_view Name(ResidentState state) {
  return kStateNames[static_cast<std::size_t>(state)];
}

ResidentState ParseResidentState(std::string_view text) {
  for (std::size_t i = 0; i < kStateNames.size(); ++i) {
    if (kStateNames[i] == text) return static_cast<ResidentState>(i);
  }
  throw Failure(ErrorKind::kInternal, "state '" + std::string(text) + "' of a container or volume");
}

int ReportResidents(Transaction& transaction, std::string_view table, std::string_view worker,
                    const std::vector<std::string>& handles, std::int64_t asked_at,
                    const std::vector<std::string>& ignored) {
  // The worker may have been forgotten meanwhile: rows would refer to nothing.
  if (!transaction.QueryOne("select 1 from workers where name = $1", {worker})) return 0;
  const std::unordered_set<std::string> present(handles.begin(), handles.end());
  std::unordered_set<std::string> known(ignored.begin(), ignored.end());
  for (const Row& row :
       transaction.Query(Sql("select handle, state, created_at, missing_since from ", table,
                             " where worker_name = $1"),
                         {worker})) {
    const std::string& handle = row.Text(0);
    // What was made in the future was made before the clock was set back.
    const bool before = row.Integer(2) < asked_at || row.Integer(2) > transaction.now();
    if (!known.insert(handle).second) continue;
    const ResidentState state = ParseResidentState(row.Text(1));
    if (present.contains(handle)) {
      if (row.IsNull(3)) continue;
      transaction.Execute(Sql("update ", table, " set missing_since = null where handle = $1"),
                          {handle});
    } else if (state == ResidentState::kDestroying) {
      // Gone, as it should be.
      if (before) {
        transaction.Execute(Sql("delete from ", table, " where handle = $1"), {handle});
      }
    } else if (row.IsNull(3) && state == ResidentState::kCreated && before) {
      transaction.Execute(Sql("update ", table, " set missing_since = $2 where handle = $1"),
                          {handle, transaction.now()});
    }
  }
  int unknown = 0;
  for (const std::string& handle : present) {
    if (known.contains(handle)) continue;
    // A handle that is known on another worker keeps its row.
    unknown += static_cast<int>(transaction.Execute(
        Sql("insert into ", table,
            " (handle, worker_name, type, state, created_at) values ($1, $2, '', 'destroying', $3) "
            "on conflict (handle) do nothing"),
        {handle, worker, transaction.now()}));
  }
  return unknown;
}

int DeleteMissing(Transaction& transaction, std::string_view table, std::int64_t seconds) {
  return static_cast<int>(
      transaction.Execute(Sql("delete from ", table,
                              " where missing_since < $1 and worker_name in "
                              "(select name from workers where state <> 'stalled')"),
                          {transaction.now() - seconds}));
}

std::vector<Doomed> ListDoomed(Transaction& transaction, std::string_view table,
                               std::string_view condition, int limit) {
  // The limit is each worker's own: what one of them does not get rid of hides nothing of others.
  std::vector<Doomed> doomed;
  for (const Row& row : transaction.Query(
           Sql("select worker_name, handle from (select x.worker_name, x.handle, x.created_at, "
               "row_number() over (partition by x.worker_name order by x.created_at, x.handle) as "
               "place from ",
               table, " x") +
               " join workers w on w.name = x.worker_name where x.state = 'destroying' "
               "and w.state not in ('stalled', 'landed')" +
               std::string(condition) + ") as placed where place <= $1 order by created_at, handle",
           {limit})) {
    doomed.push_back({row.Text(0), row.Text(1)});
  }
  return doomed;
}

std::vector<std::string> ListDestroying(Transaction& transaction, std::string_view table,
                                        std::string_view worker) {
  std::vector<std::string> handles;
  for (const Row& row :
       transaction.Query(Sql("select handle from ", table,
                             " where worker_name = $1 and state = 'destroying' order by handle"),
                         {worker})) {
    handles.push_back(row.Text(0));
  }
  return handles;
}

}  // namespace pinion::store
