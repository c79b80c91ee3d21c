#include "store/wall.h"

#include "base/json.h"
#include "store/settings.h"

namespace pinion::store {

namespace {
constexpr std::string_view kName = "wall";
}  // namespace

std::optional<WallMessage> FindWall(Transaction& transaction) {
  const auto text = FindSetting(transaction, kName);
  if (!text) return std::nullopt;
  const auto json = ParseJson(*text);
  if (!json) return std::nullopt;
  WallMessage wall{.message = std::string(json->StringAt("message"))};
  if (const Json* expires = json->Find("expires")) {
    if (expires->AsInteger() <= transaction.now()) return std::nullopt;
    wall.expires = expires->AsInteger();
  }
  return wall;
}

void SetWall(Transaction& transaction, std::string_view message,
             std::optional<std::int64_t> expires) {
  JsonObject json{{"message", Json(message)}};
  if (expires) json.Set("expires", Json(static_cast<long long>(*expires)));
  PutSetting(transaction, kName, ToText(Json(std::move(json))));
  transaction.AppendChange("wall.set", 0, TeamId{});
}

void ClearWall(Transaction& transaction) {
  DeleteSetting(transaction, kName);
  transaction.AppendChange("wall.cleared", 0, TeamId{});
}

}  // namespace pinion::store
