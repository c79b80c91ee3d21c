#include <set>

#include "api/handlers.h"
#include "api/paging.h"
#include "api/present/artifact.h"
#include "api/present/convert.h"
#include "events/log_store.h"
#include "protocol/plan.h"
#include "store/artifacts.h"
#include "store/builds_view.h"
#include "store/database.h"

namespace pinion::api {

namespace {

constexpr std::size_t kPlansMax = 10'000;

/// Every plan's id by which events and containers are named: given, and given once.
Result<void> CheckPlanIds(const Json& value, std::set<std::string>& ids, int depth) {
  if (depth > 128) return Fail(ErrorKind::kTooLarge, "the plan is nested too deep");
  if (value.IsArray()) {
    for (const Json& item : value.AsArray()) {
      if (auto result = CheckPlanIds(item, ids, depth + 1); !result) return result;
    }
  } else if (value.IsObject()) {
    if (const Json* id = value.Find("id"); id && id->IsString()) {
      if (id->AsString().empty()) return Fail(ErrorKind::kInvalid, "a plan has no id");
      if (!ids.insert(id->AsString()).second) {
        return Fail(ErrorKind::kInvalid, "plan id '" + id->AsString() + "' is used twice");
      }
      if (ids.size() > kPlansMax) return Fail(ErrorKind::kTooLarge, "the plan has too many steps");
    }
    for (const auto& [name, member] : value.AsObject()) {
      // What is the user's own may hold members of any name.
      if (name == "source" || name == "params" || name == "config" || name == "vars") continue;
      if (auto result = CheckPlanIds(member, ids, depth + 1); !result) return result;
    }
  }
  return {};
}

Task<protocol::Plan> ReadPlan(Call& call) {
  const std::string text = co_await ReadText(call, call.services.settings.body_bytes_max);
  auto plan = ValueOrThrow(protocol::ParsePlan(text));
  if (plan.id.empty()) throw Failure(ErrorKind::kInvalid, "the plan has no id");
  std::set<std::string> ids;
  ValueOrThrow(CheckPlanIds(ToJson(plan), ids, 0));
  co_return std::move(plan);
}

/// A build of a plan that was sent, in the team or in one of its pipelines.
Task<Answer> CreateFromPlan(Call& call, PipelineId pipeline) {
  const protocol::Plan plan = co_await ReadPlan(call);
  auto work = [&call, &plan, pipeline](store::Transaction& t) {
    call.SignAs(t);
    const BuildId id = store::CreateOneOffBuild(t,
                                                {.team = call.team.id,
                                                 .pipeline = pipeline,
                                                 .manual = true,
                                                 .created_by = call.access.UserText()},
                                                plan);
    return store::FindBuild(t, id).value();
  };
  const auto build = co_await call.database().Write(store::Pool::kApi, work);
  if (call.services.builds) call.services.builds->Created(build.id);
  co_return JsonOf(201, present::ToBuild(build, true));
}

std::string_view Status(bool blocking) {
  return blocking ? "blocking" : "not_blocking";
}

}  // namespace

Task<Answer> CreateBuild(Call& call) {
  return CreateFromPlan(call, PipelineId{});
}
Task<Answer> CreatePipelineBuild(Call& call) {
  return CreateFromPlan(call, call.pipeline.id);
}

Task<Answer> ListBuilds(Call& call) {
  const PageRequest page = PageOf(call.query);
  store::BuildFilter filter;
  if (!call.access.admin) {
    filter.teams = call.access.team_ids;
    filter.public_too = true;
  }
  auto work = [filter, page](store::Transaction& t) { return ListPage(t, filter, page); };
  const auto list = co_await call.database().Read(store::Pool::kApi, work);
  co_return BuildListAnswer(call, list, page, false);
}

Task<Answer> ListTeamBuilds(Call& call) {
  const PageRequest page = PageOf(call.query);
  auto work = [filter = store::BuildFilter{.teams = {call.team.id}}, page](store::Transaction& t) {
    return ListPage(t, filter, page);
  };
  const auto list = co_await ReadPage(call, work);
  co_return BuildListAnswer(call, list, page, false);
}

Task<Answer> ListPipelineBuilds(Call& call) {
  const PageRequest page = PageOf(call.query);
  auto work = [filter = store::BuildFilter{.pipeline = call.pipeline.id},
               page](store::Transaction& t) { return ListPage(t, filter, page); };
  const auto list = co_await ReadPage(call, work);
  co_return BuildListAnswer(call, list, page, false);
}

Task<Answer> GetBuild(Call& call) {
  co_return JsonOf(200, present::ToBuild(call.build, call.MayIn(call.build.team_name)));
}

Task<Answer> GetBuildPlan(Call& call) {
  auto work = [id = call.build.id](store::Transaction& t) { return store::FindPublicPlan(t, id); };
  const auto plan = co_await call.database().Read(store::Pool::kApi, work);
  if (!plan) co_return EmptyAnswer(404);
  JsonObject body{{"schema", Json("exec.v2")}};
  body.Set("plan", present::StoredJson(*plan));
  co_return JsonAnswer(200, Json(std::move(body)));
}

Task<Answer> BuildResources(Call& call) {
  auto work = [&call](store::Transaction& t) {
    present::BuildResources resources;
    for (const auto& input : store::ListBuildInputs(t, call.build.id)) {
      resources.inputs.push_back({.name = input.name,
                                  .version = present::StoredJson(input.version),
                                  .pipeline_id = call.build.pipeline.value,
                                  .first_occurrence = input.first_occurrence});
    }
    for (const auto& output : store::ListBuildOutputs(t, call.build.id)) {
      resources.outputs.push_back(
          {.name = output.name, .version = present::StoredJson(output.version)});
    }
    return resources;
  };
  const auto resources = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonOf(200, resources);
}

Task<Answer> GetBuildPreparation(Call& call) {
  auto work = [build = call.build](store::Transaction& t) {
    return store::FindPreparation(t, build);
  };
  const auto found = co_await call.database().Read(store::Pool::kApi, work);
  present::BuildPreparation preparation;
  preparation.build_id = call.build.id.value;
  preparation.paused_pipeline = Status(found.pipeline_paused);
  preparation.paused_job = Status(found.job_paused);
  preparation.max_running_builds = Status(found.max_running);
  preparation.inputs_satisfied = Status(!found.inputs_satisfied);
  for (const auto& [name, reason] : found.inputs) {
    preparation.inputs[name] = Status(!reason.empty());
    if (!reason.empty()) preparation.missing_input_reasons[name] = reason;
  }
  co_return JsonOf(200, preparation);
}

Task<Answer> AbortBuild(Call& call) {
  const bool force = call.query.Get("force").has_value();
  struct Outcome {
    bool aborted = false;
    bool ended = false;
  };
  auto work = [&call, force](store::Transaction& t) {
    call.SignAs(t);
    Outcome outcome{.aborted = store::SetAborted(t, call.build.id)};
    if (force) store::FinishBuild(t, call.build.id, store::BuildStatus::kAborted);
    const auto build = store::FindBuild(t, call.build.id);
    outcome.ended = !build || store::IsFinished(build->status);
    return outcome;
  };
  const Outcome outcome = co_await call.database().Write(store::Pool::kApi, work);
  if (outcome.aborted && call.services.builds) call.services.builds->Aborted(call.build.id);
  // One that never started has no writer who would tell those who watch it.
  if (outcome.ended && call.services.logs) call.services.logs->MarkEnded(call.build.id);
  co_return EmptyAnswer(204);
}

Task<Answer> SetBuildComment(Call& call) {
  const Json body = co_await ReadJson(call);
  const std::string comment(body.StringAt("comment"));
  auto work = [&call, comment](store::Transaction& t) {
    call.SignAs(t);
    store::SetBuildComment(t, call.build.id, comment);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  auto answer = EmptyAnswer(200);
  answer.headers.Set("Content-Type", "application/json");
  co_return answer;
}

Task<Answer> ListBuildArtifacts(Call& call) {
  auto work = [id = call.build.id](store::Transaction& t) {
    return store::ListBuildArtifacts(t, id);
  };
  const auto rows = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(rows, present::ToArtifact));
}

}  // namespace pinion::api
