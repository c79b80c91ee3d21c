#include "api/handlers.h"
#include "api/identifier.h"
#include "api/present/convert.h"
#include "api/session.h"
#include "store/database.h"

namespace pinion::api {

namespace {

Json ErrorsJson(std::string error) {
  return ToJson(present::SaveConfigResponse{.errors = {std::move(error)}});
}

struct SetOutcome {
  store::TeamRow team;
  bool created = false;
};

}  // namespace

Task<Answer> ListTeams(Call& call) {
  auto rows = co_await call.database().Read(
      store::Pool::kApi, [](store::Transaction& t) { return store::ListTeams(t); });
  std::erase_if(rows, [&](const store::TeamRow& team) { return !call.MayIn(team.name); });
  co_return JsonAnswer(200, present::ArrayOf(rows, present::ToTeam));
}

Task<Answer> GetTeam(Call& call) {
  co_return JsonOf(200, present::ToTeam(call.team));
}

Task<Answer> SetTeam(Call& call) {
  const std::string name = call.Param("team_name");
  const auto wanted = co_await ReadBody<present::Team>(call);
  if (!identity::CheckTeamAuth(wanted.auth)) co_return EmptyAnswer(400);

  present::SetTeamResponse response;
  const auto valid = CheckIdentifier(name, "team", response.warnings);
  if (!valid) response.errors.push_back(valid.error().message);

  auto work = [&call, name, auth = ToText(ToJson(wanted.auth))](
                  store::Transaction& t) -> std::optional<SetOutcome> {
    call.SignAs(t);
    if (auto team = store::FindTeam(t, name)) {
      store::SetTeamAuth(t, team->id, auth);
      team->auth = auth;
      return SetOutcome{*team, false};
    }
    if (!call.access.admin) return std::nullopt;
    return SetOutcome{store::CreateTeam(t, name, auth), true};
  };
  const auto outcome = co_await call.database().Write(store::Pool::kApi, work);
  if (!outcome) co_return EmptyAnswer(403);
  call.session.Refresh();
  response.team = present::ToTeam(outcome->team);
  co_return JsonOf(outcome->created ? 201 : 200, response);
}

Task<Answer> RenameTeam(Call& call) {
  const auto request = co_await ReadBody<present::RenameRequest>(call);
  present::SaveConfigResponse response;
  const auto valid = CheckIdentifier(request.name, "team", response.warnings);
  if (!valid) co_return JsonAnswer(400, ErrorsJson(valid.error().message));
  auto work = [&call, request](store::Transaction& t) {
    call.SignAs(t);
    store::RenameTeam(t, call.team.id, request.name);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  call.session.Refresh();
  co_return JsonOf(200, response);
}

Task<Answer> DestroyTeam(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::DestroyTeam(t, call.team.id);
  };
  bool last = false;
  try {
    co_await call.database().Write(store::Pool::kApi, work);
  } catch (const Failure& failure) {
    if (failure.error().kind != ErrorKind::kConflict) throw;
    last = true;
  }
  if (last) co_return EmptyAnswer(403);
  call.session.Refresh();
  co_return EmptyAnswer(204);
}

}  // namespace pinion::api
