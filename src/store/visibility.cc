#include "store/visibility.h"

namespace pinion::store {

std::string IdArrayText(const std::vector<TeamId>& ids) {
  JsonArray array;
  for (const TeamId id : ids)
    array.push_back(Json(static_cast<long long>(id.value)));
  return ToText(Json(std::move(array)));
}

std::string_view VisibilityCondition(const Transaction& transaction) {
  return transaction.Pick(
      "($2 = 1 or p.team_id in (select value from json_each($1)) or ($3 = 1 and p.public = 1))",
      "($2::bigint = 1 or p.team_id in (select value::bigint from "
      "json_array_elements_text($1::json))"
      " or ($3::bigint = 1 and p.public = 1))");
}

}  // namespace pinion::store
