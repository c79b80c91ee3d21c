#include "api/authorize.h"

#include "api/instance_vars.h"
#include "base/text.h"
#include "store/database.h"
#include "store/jobs_view.h"
#include "store/workers_view.h"

namespace pinion::api {

namespace {

using Denial = std::optional<http::Response>;

Denial NotAuthorized() {
  return TextAnswer(401, "not authorized");
}

/// 401 for nobody, 403 for somebody.
Denial Refuse(const Call& call) {
  if (!call.access.authenticated) return NotAuthorized();
  return TextAnswer(403, "forbidden");
}

Denial AdmitIf(const Call& call, bool allowed) {
  if (allowed) return std::nullopt;
  return Refuse(call);
}

Task<bool> FindPipeline(Call& call) {
  auto work = [team = call.Param("team_name"), name = call.Param("pipeline_name"),
               vars = call.instance_vars](store::Transaction& transaction) {
    return store::FindPipeline(transaction, team, name, vars);
  };
  auto row = co_await call.database().Read(store::Pool::kApi, work);
  if (!row) co_return false;
  call.team = {.id = row->team, .name = row->team_name};
  call.pipeline = std::move(*row);
  co_return true;
}

Task<bool> FindTeam(Call& call) {
  auto work = [name = call.Param("team_name")](store::Transaction& transaction) {
    return store::FindTeam(transaction, name);
  };
  auto row = co_await call.database().Read(store::Pool::kApi, work);
  if (!row) co_return false;
  call.team = std::move(*row);
  co_return true;
}

/// The build, and whether its pipeline and its job are public.
struct FoundBuild {
  store::BuildRow row;
  bool pipeline_public = false;
  bool job_public = false;
};

std::optional<FoundBuild> ReadBuild(store::Transaction& transaction, std::int64_t id) {
  auto row = store::FindBuild(transaction, BuildId{id});
  if (!row) return std::nullopt;
  FoundBuild found{.row = std::move(*row)};
  if (found.row.pipeline) {
    const auto pipeline = store::FindPipelineById(transaction, found.row.pipeline);
    found.pipeline_public = pipeline && pipeline->is_public;
  }
  if (found.pipeline_public && found.row.job) {
    found.job_public = store::IsJobPublic(transaction, found.row.job);
  }
  return found;
}

Task<Denial> AdmitToBuild(Call& call) {
  const bool write = call.route.permission == Permission::kBuildWrite;
  if (write && !call.access.authenticated) co_return NotAuthorized();
  const auto id = ParseNumber(call.Param("build_id"));
  if (!id) co_return EmptyAnswer(400);
  auto work = [id = *id](store::Transaction& transaction) { return ReadBuild(transaction, id); };
  auto found = co_await call.database().Read(store::Pool::kApi, work);
  if (!found) co_return EmptyAnswer(404);
  call.build = std::move(found->row);
  call.team = {.id = call.build.team, .name = call.build.team_name};
  if (call.MayIn(call.build.team_name)) co_return std::nullopt;
  switch (call.route.permission) {
    case Permission::kBuildRead:
      co_return AdmitIf(call, found->pipeline_public);
    case Permission::kBuildReadJob:
      co_return AdmitIf(call, found->pipeline_public && found->job_public);
    default:
      co_return Refuse(call);
  }
}

Task<Denial> AdmitToWorker(Call& call) {
  if (!call.access.authenticated) co_return NotAuthorized();
  if (call.access.system || call.access.admin) co_return std::nullopt;
  const auto name = call.params.find("worker_name");
  // Reports of gateways name no worker in their path: they are the gateways' alone.
  if (name == call.params.end()) co_return Refuse(call);
  auto work = [name = name->second](store::Transaction& transaction) {
    return store::FindWorkerTeam(transaction, name);
  };
  const auto team = co_await call.database().Read(store::Pool::kApi, work);
  if (!team) co_return EmptyAnswer(404);
  co_return AdmitIf(call, !team->empty() && call.MayIn(*team));
}

/// What the route's permission says, for those that need no look at the database.
Denial AdmitByRole(const Call& call) {
  const identity::Access& access = call.access;
  switch (call.route.permission) {
    case Permission::kAuthenticated:
      return AdmitIf(call, access.authenticated);
    case Permission::kTeamRole:
      return AdmitIf(call, call.MayIn(call.Param("team_name")));
    case Permission::kAnyTeamRole:
      return AdmitIf(call, access.MayInAnyTeam(call.route.minimum));
    case Permission::kAdmin:
      return AdmitIf(call, access.admin);
    case Permission::kSystem:
      return AdmitIf(call, access.system);
    default:
      return std::nullopt;
  }
}

}  // namespace

Task<std::optional<http::Response>> Admit(Call& call) {
  const Route& route = call.route;
  if (route.permission == Permission::kOpen) co_return std::nullopt;
  if (route.scope == Scope::kPipeline) {
    auto vars = InstanceVarsOf(call.query);
    if (!vars) co_return TextAnswer(400, vars.error().message);
    call.instance_vars = std::move(*vars);
  }
  const bool pipeline_first =
      route.refuses_archived || route.permission == Permission::kPipelinePublic;
  if (pipeline_first) {
    const bool found = co_await FindPipeline(call);
    if (!found) co_return EmptyAnswer(404);
    if (route.refuses_archived && call.pipeline.archived) {
      co_return TextAnswer(409, "action not allowed for an archived pipeline");
    }
  }
  // A token that is no good is refused even where none is needed.
  if (route.permission == Permission::kPublic && call.access.has_token &&
      !call.access.authenticated) {
    co_return NotAuthorized();
  }
  if (route.permission == Permission::kPipelinePublic) {
    co_return AdmitIf(call, call.pipeline.is_public || call.MayIn(call.pipeline.team_name));
  }
  if (route.scope == Scope::kBuild) co_return co_await AdmitToBuild(call);
  if (route.permission == Permission::kWorkerTeam) co_return co_await AdmitToWorker(call);
  if (auto denial = AdmitByRole(call)) co_return denial;
  if (route.scope == Scope::kPipeline && !pipeline_first) {
    const bool found = co_await FindPipeline(call);
    if (!found) co_return EmptyAnswer(404);
  }
  if (route.scope == Scope::kTeam) {
    const bool found = co_await FindTeam(call);
    if (!found) co_return EmptyAnswer(404);
  }
  co_return std::nullopt;
}

}  // namespace pinion::api
