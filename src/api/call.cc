
#include "api/route.h"
#include "base/json.h"

namespace pinion::api {

const std::string& Call::Param(std::string_view name) const {
  const auto found = params.find(name);
  if (found == params.end()) {
    throw Failure(ErrorKind::kInternal,
                  "route " + std::string(route.name) + " has no parameter " + std::string(name));
  }
  return found->second;
}

void Call::SignAs(store::Transaction& transaction) const {
  transaction.SetActor(access.UserText(), request_id);
}

store::Visibility Call::Visible() const {
  store::Visibility visible{.all = access.admin};
  // team_ids and team_roles are filled together; a role below the route's minimum shows nothing.
  visible.teams = access.team_ids;
  return visible;
}

http::Response JsonAnswer(int status, const Json& body) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "application/json");
  AppendText(response.body, body);
  response.body += '\n';
  return response;
}

http::Response TextAnswer(int status, std::string_view text) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "text/plain; charset=utf-8");
  response.body = text;
  return response;
}

http::Response EmptyAnswer(int status) {
  http::Response response;
  response.status = status;
  return response;
}

http::Response NotWired(std::string_view what) {
  return TextAnswer(503, std::string(what) + " is not part of this process");
}

Task<std::string> ReadText(Call& call, std::size_t limit) {
  Result<std::string> body = co_await call.exchange.ReadBody(limit);
  co_return ValueOrThrow(std::move(body));
}

Task<Json> ReadJson(Call& call) {
  const std::string text = co_await ReadText(call, call.services.settings.body_bytes_max);
  auto json = ParseJson(text);
  if (!json) {
    throw Failure(ErrorKind::kInvalid, "malformed request body: " + json.error().message);
  }
  co_return std::move(*json);
}

}  // namespace pinion::api
