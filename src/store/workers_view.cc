#include "store/workers_view.h"

namespace pinion::store {

std::optional<std::string> FindWorkerTeam(Transaction& transaction, std::string_view worker) {
  const auto row = transaction.QueryOne(
      "select t.name from workers w left join teams t on t.id = w.team_id where w.name = $1",
      {worker});
  if (!row) return std::nullopt;
  return row->Text(0);
}

}  // namespace pinion::store
