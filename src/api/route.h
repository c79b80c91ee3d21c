#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "api/services.h"
#include "http/message.h"
#include "http/router.h"
#include "http/server.h"
#include "identity/access.h"
#include "store/builds.h"
#include "store/pipelines.h"
#include "store/teams.h"

namespace pinion::api {

class Session;

/// Who may use a route.
enum class Permission {
  kOpen,            ///< anybody; a token is not even looked at (login pages)
  kPublic,          ///< anybody, but a token that is sent must be good
  kAuthenticated,   ///< any good token
  kTeamRole,        ///< the minimum role in the path's team
  kPipelinePublic,  ///< the path's pipeline is public, or the minimum role in its team
  kBuildRead,       ///< the build's pipeline is public, or the minimum role in its team
  kBuildReadJob,    ///< likewise, and its job is public too
  kBuildWrite,      ///< the minimum role in the build's team
  kAnyTeamRole,     ///< the minimum role in some team
  kAdmin,
  kSystem,      ///< worker gateways only
  kWorkerTeam,  ///< worker gateways, admins, and members of the team that owns the path's worker
};

/// What the path's names are looked up as before the handler runs; 404 if it is not there.
enum class Scope { kNone, kTeam, kPipeline, kBuild };

/// An answer, or nothing if the handler has answered through the exchange itself.
using Answer = std::optional<http::Response>;

struct Call;
using HandlerFunction = Task<Answer> (*)(Call& call);

struct Route {
  std::string_view method;
  std::string_view path;
  std::string_view name;  ///< upstream's action name
  Permission permission;
  identity::Role minimum;
  Scope scope;
  bool refuses_archived;
  HandlerFunction handler;   ///< null: not yet, with the reason
  std::string_view not_yet;  ///< why it answers 501
};

/// Every route that is served. Order matters: the first match wins.
std::span<const Route> Routes();

/// One request on its way. Lives for the handler's run.
struct Call {
  Services& services;
  Session& session;
  http::Exchange& exchange;
  const Route& route;
  http::PathParams params;
  http::Query query;
  identity::Access access;
  std::string request_id;
  Logger log;
  // By the route's scope; instance vars are "" or JSON with sorted keys.
  std::string instance_vars;
  store::TeamRow team;
  store::PipelineRow pipeline;
  store::BuildRow build;
  /// Set by a handler before it answers through the exchange itself: then an error can only be
  /// logged.
  bool answered = false;

  store::Database& database() { return services.database; }
  /// The path's parameter; a missing one is a bug in the route table.
  const std::string& Param(std::string_view name) const;
  /// Whether the caller has the route's minimum role in that team.
  bool MayIn(std::string_view team_name) const { return access.MayIn(team_name, route.minimum); }
  /// Names the caller in the changes of a write.
  void SignAs(store::Transaction& transaction) const;
  /// What lists may show this caller.
  store::Visibility Visible() const;
};

// --- Answers
// ---------------------------------------------------------------------------------------

http::Response JsonAnswer(int status, const Json& body);
http::Response TextAnswer(int status, std::string_view text);
http::Response EmptyAnswer(int status);
template <class T>
http::Response JsonOf(int status, const T& value) {
  return JsonAnswer(status, ToJson(value));
}

/// The request's body as JSON of this shape; Failure kInvalid or kTooLarge.
Task<std::string> ReadText(Call& call, std::size_t limit);
Task<Json> ReadJson(Call& call);
template <class T>
Task<T> ReadBody(Call& call) {
  const Json json = co_await ReadJson(call);
  co_return ValueOrThrow(FromJson<T>(json));
}

/// 503 with a reason, for what this process was not wired to.
http::Response NotWired(std::string_view what);

}  // namespace pinion::api
