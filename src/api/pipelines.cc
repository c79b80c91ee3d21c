#include "api/handlers.h"
#include "api/identifier.h"
#include "api/instance_vars.h"
#include "api/present/convert.h"
#include "store/database.h"

namespace pinion::api {

Task<Answer> ListAllPipelines(Call& call) {
  auto work = [visible = call.Visible()](store::Transaction& t) {
    return store::ListPipelines(t, visible);
  };
  const auto rows = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(rows, present::ToPipeline));
}

Task<Answer> ListPipelines(Call& call) {
  const bool public_only = !call.MayIn(call.team.name);
  auto work = [team = call.team.id, public_only](store::Transaction& t) {
    return store::ListTeamPipelines(t, team, public_only);
  };
  const auto rows = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(rows, present::ToPipeline));
}

Task<Answer> GetPipeline(Call& call) {
  co_return JsonOf(200, present::ToPipeline(call.pipeline));
}

Task<Answer> DeletePipeline(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::DestroyPipeline(t, call.pipeline);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(204);
}

Task<Answer> PausePipeline(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::PausePipeline(t, call.pipeline, call.access.UserText());
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> UnpausePipeline(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::UnpausePipeline(t, call.pipeline);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> ArchivePipeline(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::ArchivePipeline(t, call.pipeline);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> ExposePipeline(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::SetPipelinePublic(t, call.pipeline, true);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> HidePipeline(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::SetPipelinePublic(t, call.pipeline, false);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> RenamePipeline(Call& call) {
  const auto request = co_await ReadBody<present::RenameRequest>(call);
  present::SaveConfigResponse response;
  if (const auto valid = CheckIdentifier(request.name, "pipeline", response.warnings); !valid) {
    response.errors.push_back(valid.error().message);
    co_return JsonOf(400, response);
  }
  auto work = [&call, request](store::Transaction& t) {
    call.SignAs(t);
    return store::RenamePipelines(t, call.team.id, call.Param("pipeline_name"), request.name);
  };
  const bool found = co_await call.database().Write(store::Pool::kApi, work);
  if (!found) co_return EmptyAnswer(404);
  co_return JsonOf(200, response);
}

/// An unknown name in an order is the request's fault, not the path's.
static Task<Answer> Order(Call& call, std::function<void(store::Transaction&)> order) {
  auto work = [&call, order](store::Transaction& t) {
    call.SignAs(t);
    order(t);
  };
  std::optional<std::string> unknown;
  try {
    co_await call.database().Write(store::Pool::kApi, work);
  } catch (const Failure& failure) {
    if (failure.error().kind != ErrorKind::kNotFound) throw;
    unknown = failure.error().message;
  }
  if (unknown) co_return TextAnswer(400, *unknown);
  co_return EmptyAnswer(200);
}

Task<Answer> OrderPipelines(Call& call) {
  const auto names = co_await ReadBody<std::vector<std::string>>(call);
  co_return co_await Order(call, [&call, names](store::Transaction& t) {
    store::OrderPipelines(t, call.team.id, names);
  });
}

Task<Answer> OrderPipelinesWithinGroup(Call& call) {
  const auto instances = co_await ReadBody<std::vector<Json>>(call);
  std::vector<std::string> texts;
  for (const Json& vars : instances)
    texts.push_back(ValueOrThrow(InstanceVarsText(vars)));
  co_return co_await Order(call, [&call, texts](store::Transaction& t) {
    store::OrderInstances(t, call.team.id, call.Param("pipeline_name"), texts);
  });
}

}  // namespace pinion::api
