#include "store/users.h"

#include <ctime>

#include "api/handlers.h"
#include "api/present/info.h"
#include "store/database.h"

namespace pinion::api {

namespace {

/// Midnight UTC of a day written YYYY-MM-DD.
std::optional<std::int64_t> ParseDay(std::string_view text) {
  std::tm parts{};
  const std::string copy(text);
  const char* end = strptime(copy.c_str(), "%Y-%m-%d", &parts);
  if (copy.size() != 10 || !end || *end) return std::nullopt;
  return timegm(&parts);
}

}  // namespace

Task<Answer> ListActiveUsersSince(Call& call) {
  std::int64_t since = 0;
  if (const auto day = call.query.Get("since"); day && !day->empty()) {
    const auto parsed = ParseDay(*day);
    if (!parsed) {
      co_return JsonAnswer(400, JsonObject{{"error", Json("wrong date format (yyyy-mm-dd)")}});
    }
    since = *parsed;
  }
  const auto rows = co_await call.database().Read(
      store::Pool::kApi,
      [since](store::Transaction& t) { return store::ListUsersSince(t, since); });
  JsonArray users;
  for (const auto& row : rows) {
    users.push_back(ToJson(present::User{.id = row.id.value,
                                         .username = row.username,
                                         .connector = row.connector,
                                         .last_login = row.last_login}));
  }
  co_return JsonAnswer(200, Json(std::move(users)));
}

}  // namespace pinion::api
