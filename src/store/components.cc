#include "store/components.h"

#include "base/json.h"

namespace pinion::store {

std::vector<ComponentRow> ListComponents(Transaction& transaction) {
  std::vector<ComponentRow> components;
  for (const Row& row : transaction.Query(
           "select name, role, interval_ns, paused, last_ran, last_duration_us, last_error"
           " from components order by name")) {
    components.push_back({.name = row.Text(0),
                          .role = row.Text(1),
                          .interval_ns = row.Integer(2),
                          .paused = row.Bool(3),
                          .last_ran = row.OptionalInteger(4),
                          .last_duration_us = row.Integer(5),
                          .last_error = row.Text(6)});
  }
  return components;
}

bool SetComponentPaused(Transaction& transaction, std::string_view name, bool paused) {
  const auto changed =
      name.empty() ? transaction.Execute("update components set paused = $1", {paused})
                   : transaction.Execute("update components set paused = $1 where name = $2",
                                         {paused, name});
  if (changed == 0 && !name.empty()) return false;
  transaction.AppendChange(paused ? "component.paused" : "component.unpaused", 0, TeamId{},
                           JsonObject{{"component", Json(name)}});
  return true;
}

}  // namespace pinion::store
