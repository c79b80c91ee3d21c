#include "store/resources.h"
#include "api/handlers.h"
#include "api/present/convert.h"
#include "api/present/resource.h"
#include "base/encoding.h"
#include "store/database.h"
#include "store/resources_view.h"
#include "store/versions.h"

namespace pinion::api {

namespace {

present::Resource ToResource(const store::ResourceView& view) {
  present::Resource resource;
  resource.name = view.name;
  resource.pipeline_id = view.pipeline.value;
  resource.pipeline_name = view.pipeline_name;
  resource.pipeline_instance_vars = present::StoredJson(view.instance_vars);
  resource.team_name = view.team_name;
  resource.type = view.type;
  resource.last_checked = view.last_checked;
  resource.icon = view.icon;
  resource.pinned_version = present::StoredJson(view.pinned_version);
  resource.pinned_in_config = view.pinned_by_config;
  resource.pin_comment = view.pin_comment;
  if (view.check_build) {
    resource.build = present::SummaryOf(*view.check_build, view.team_name, view.pipeline,
                                        view.pipeline_name, view.instance_vars, "");
    resource.build->plan = present::StoredJson(view.check_plan);
  }
  return resource;
}

store::ResourceRow ResourceOf(store::Transaction& transaction, const Call& call) {
  const std::string& name = call.Param("resource_name");
  auto resource = store::FindResourceByName(transaction, call.pipeline.id, name);
  if (!resource || !resource->active) {
    throw Failure(ErrorKind::kNotFound, "resource '" + name + "' not found");
  }
  return std::move(*resource);
}

store::ResourceTypeRow TypeOf(store::Transaction& transaction, const Call& call) {
  const std::string& name = call.Param("resource_type_name");
  auto type = store::FindResourceTypeByName(transaction, call.pipeline.id, name);
  if (!type) throw Failure(ErrorKind::kNotFound, "resource type '" + name + "' not found");
  return std::move(*type);
}

Json Identifiers(const std::vector<store::SharedName>& names) {
  // Upstream sends null for none.
  if (names.empty()) return {};
  return present::ArrayOf(names, [](const store::SharedName& name) {
    return present::ResourceIdentifier{name.name, name.pipeline_name, name.team_name};
  });
}

Task<Answer> Shared(Call& call, ScopeId scope) {
  if (!scope) co_return TextAnswer(500, "it has not been checked yet");
  auto work = [scope](store::Transaction& t) { return store::ListShared(t, scope); };
  const auto shared = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, JsonObject{{"resources", Identifiers(shared.resources)},
                                       {"resource_types", Identifiers(shared.resource_types)}});
}

/// Asks for a check and answers with its build.
Task<Answer> Check(Call& call, CheckRequest request) {
  if (!call.services.checks) co_return NotWired("checking");
  const auto checked = co_await call.services.checks->CheckNow(std::move(request));
  if (!checked) throw Failure(checked.error());
  auto work = [id = *checked](store::Transaction& t) { return store::FindBuild(t, id); };
  const auto build = co_await call.database().Read(store::Pool::kApi, work);
  if (!build) throw Failure(ErrorKind::kInternal, "the check's build is gone");
  co_return JsonOf(201, present::ToBuild(*build, true));
}

Task<CheckRequest> ReadCheck(Call& call) {
  const auto body = co_await ReadBody<present::CheckRequestBody>(call);
  CheckRequest request{
      .pipeline = call.pipeline.id, .shallow = body.shallow, .created_by = call.access.UserText()};
  if (!body.from.IsNull()) {
    const auto from = ValueOrThrow(FromJson<protocol::Version>(body.from));
    request.from_version = store::VersionText(from);
  }
  co_return request;
}

}  // namespace

Task<Answer> ListAllResources(Call& call) {
  auto work = [visible = call.Visible()](store::Transaction& t) {
    return store::ViewAllResources(t, visible);
  };
  const auto resources = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(resources, ToResource));
}

Task<Answer> ListResources(Call& call) {
  auto work = [pipeline = call.pipeline.id](store::Transaction& t) {
    return store::ViewResources(t, pipeline);
  };
  const auto resources = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(resources, ToResource));
}

Task<Answer> GetResource(Call& call) {
  auto work = [&call](store::Transaction& t) {
    return store::ViewResource(t, call.pipeline.id, call.Param("resource_name"));
  };
  const auto resource = co_await call.database().Read(store::Pool::kApi, work);
  if (!resource) co_return EmptyAnswer(404);
  co_return JsonOf(200, ToResource(*resource));
}

Task<Answer> ListResourceTypes(Call& call) {
  auto work = [pipeline = call.pipeline.id](store::Transaction& t) {
    return store::ListResourceTypes(t, pipeline);
  };
  const auto types = co_await call.database().Read(store::Pool::kApi, work);
  JsonArray array;
  for (const auto& type : types)
    array.push_back(present::StoredJson(type.config));
  co_return JsonAnswer(200, Json(std::move(array)));
}

Task<Answer> ListSharedForResource(Call& call) {
  auto work = [&call](store::Transaction& t) { return ResourceOf(t, call).scope; };
  const ScopeId scope = co_await call.database().Read(store::Pool::kApi, work);
  co_return co_await Shared(call, scope);
}

Task<Answer> ListSharedForResourceType(Call& call) {
  auto work = [&call](store::Transaction& t) { return TypeOf(t, call).scope; };
  const ScopeId scope = co_await call.database().Read(store::Pool::kApi, work);
  co_return co_await Shared(call, scope);
}

// --- Checks
// ----------------------------------------------------------------------------------------

Task<Answer> CheckResource(Call& call) {
  auto work = [&call](store::Transaction& t) { return ResourceOf(t, call).id; };
  CheckRequest request = co_await ReadCheck(call);
  request.resource = co_await call.database().Read(store::Pool::kApi, work);
  co_return co_await Check(call, std::move(request));
}

Task<Answer> CheckResourceType(Call& call) {
  auto work = [&call](store::Transaction& t) { return TypeOf(t, call).id; };
  CheckRequest request = co_await ReadCheck(call);
  request.resource_type = co_await call.database().Read(store::Pool::kApi, work);
  co_return co_await Check(call, std::move(request));
}

Task<Answer> CheckResourceWebHook(Call& call) {
  const auto token = call.query.Get("webhook_token");
  if (!token || token->empty()) co_return EmptyAnswer(400);
  auto work = [&call](store::Transaction& t) { return ResourceOf(t, call); };
  const auto resource = co_await call.database().Read(store::Pool::kApi, work);
  const Json config = present::StoredJson(resource.config);
  const std::string_view expected = config.StringAt("webhook_token");
  if (expected.empty() || !EqualInConstantTime(expected, *token)) co_return EmptyAnswer(401);
  co_return co_await Check(call, {.pipeline = call.pipeline.id,
                                  .resource = resource.id,
                                  .shallow = true,
                                  .created_by = "webhook"});
}

}  // namespace pinion::api
