#include "store/versions.h"
#include "api/handlers.h"
#include "api/paging.h"
#include "api/present/convert.h"
#include "api/present/resource.h"
#include "base/text.h"
#include "store/database.h"
#include "store/resources.h"
#include "store/resources_view.h"

namespace pinion::api {

namespace {

store::ResourceRow ResourceOf(store::Transaction& transaction, const Call& call) {
  const std::string& name = call.Param("resource_name");
  auto resource = store::FindResourceByName(transaction, call.pipeline.id, name);
  if (!resource || !resource->active) {
    throw Failure(ErrorKind::kNotFound, "resource '" + name + "' not found");
  }
  return std::move(*resource);
}

/// The path's version id; kInvalid if it is no number.
VersionId VersionOf(const Call& call) {
  const auto id = ParseNumber(call.Param("resource_config_version_id"));
  if (!id) throw Failure(ErrorKind::kInvalid, "the version id is not a number");
  return VersionId{*id};
}

bool IsPublic(const store::ResourceRow& resource) {
  return present::StoredJson(resource.config).BoolAt("public");
}

present::ResourceVersion ToVersion(const store::VersionRow& row, bool with_metadata) {
  present::ResourceVersion version{.id = row.id.value};
  version.version = present::StoredJson(row.version);
  version.enabled = row.enabled;
  if (with_metadata) version.metadata = present::StoredJson(row.metadata);
  if (version.metadata.IsArray() && version.metadata.AsArray().empty()) version.metadata = Json();
  return version;
}

Task<Answer> WriteResource(
    Call& call, std::function<void(store::Transaction&, const store::ResourceRow&)> write) {
  auto work = [&call, write](store::Transaction& t) {
    call.SignAs(t);
    write(t, ResourceOf(t, call));
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

void RequireVersion(store::Transaction& transaction, const store::ResourceRow& resource,
                    VersionId version) {
  if (!store::FindVersion(transaction, resource.id, version)) {
    throw Failure(ErrorKind::kNotFound, "the resource has no such version");
  }
}

Task<Answer> SetEnabled(Call& call, bool enabled) {
  const VersionId version = VersionOf(call);
  co_return co_await WriteResource(
      call, [version, enabled](store::Transaction& t, const store::ResourceRow& resource) {
        RequireVersion(t, resource, version);
        store::SetVersionEnabled(t, resource.id, version, enabled);
      });
}

using ListBuildsWith = std::vector<store::BuildRow> (*)(store::Transaction&, ResourceId, VersionId,
                                                        int);

Task<Answer> BuildsWithVersion(Call& call, ListBuildsWith list) {
  // What is no number is no version: an empty list, as upstream has it.
  const VersionId version{ParseNumber(call.Param("resource_config_version_id")).value_or(0)};
  auto work = [&call, list, version](store::Transaction& t) {
    return list(t, ResourceOf(t, call).id, version, 10'000);
  };
  const auto builds = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(builds, [](const store::BuildRow& build) {
                         return present::ToBuild(build, false);
                       }));
}

}  // namespace

Task<Answer> ListResourceVersions(Call& call) {
  const store::BuildPage bounds = PageOf(call.query).page;
  store::VersionPage page{.from = bounds.from, .to = bounds.to, .limit = bounds.limit};
  for (const std::string_view filter : call.query.All("filter")) {
    const std::size_t colon = filter.find(':');
    if (colon == std::string_view::npos) {
      throw Failure(ErrorKind::kInvalid, "filter: expected key:value");
    }
    page.filter[std::string(filter.substr(0, colon))] = filter.substr(colon + 1);
  }
  struct Found {
    store::VersionList list;
    bool is_public = false;
  };
  auto work = [&call, page](store::Transaction& t) {
    const auto resource = ResourceOf(t, call);
    return Found{store::ListVersions(t, resource.id, page), IsPublic(resource)};
  };
  const Found found = co_await call.database().Read(store::Pool::kApi, work);
  const bool with_metadata = found.is_public || call.MayIn(call.pipeline.team_name);
  auto answer = JsonAnswer(
      200, present::ArrayOf(found.list.versions, [with_metadata](const store::VersionRow& row) {
        return ToVersion(row, with_metadata);
      }));
  AddPageLinks(call, answer, found.list.newer, found.list.older, page.limit);
  co_return answer;
}

Task<Answer> GetResourceVersion(Call& call) {
  const VersionId version = VersionOf(call);
  struct Found {
    std::optional<store::VersionRow> version;
    bool is_public = false;
  };
  auto work = [&call, version](store::Transaction& t) {
    const auto resource = ResourceOf(t, call);
    return Found{store::FindVersion(t, resource.id, version), IsPublic(resource)};
  };
  const Found found = co_await call.database().Read(store::Pool::kApi, work);
  if (!found.version) co_return EmptyAnswer(404);
  const bool with_metadata = found.is_public || call.MayIn(call.pipeline.team_name);
  co_return JsonOf(200, ToVersion(*found.version, with_metadata));
}

Task<Answer> EnableResourceVersion(Call& call) {
  return SetEnabled(call, true);
}
Task<Answer> DisableResourceVersion(Call& call) {
  return SetEnabled(call, false);
}

Task<Answer> PinResourceVersion(Call& call) {
  const VersionId version = VersionOf(call);
  co_return co_await WriteResource(
      call, [version](store::Transaction& t, const store::ResourceRow& resource) {
        RequireVersion(t, resource, version);
        store::PinVersion(t, resource.id, version);
      });
}

Task<Answer> UnpinResource(Call& call) {
  co_return co_await WriteResource(call,
                                   [](store::Transaction& t, const store::ResourceRow& resource) {
                                     store::UnpinVersion(t, resource.id);
                                   });
}

Task<Answer> SetPinCommentOnResource(Call& call) {
  const Json body = co_await ReadJson(call);
  const std::string comment(body.StringAt("pin_comment"));
  co_return co_await WriteResource(
      call, [comment](store::Transaction& t, const store::ResourceRow& resource) {
        store::SetPinComment(t, resource.id, comment);
      });
}

Task<Answer> ClearResourceVersions(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    return store::ClearVersions(t, ResourceOf(t, call).id);
  };
  const auto removed = co_await call.database().Write(store::Pool::kApi, work);
  co_return JsonAnswer(200,
                       JsonObject{{"versions_removed", Json(static_cast<long long>(removed))}});
}

Task<Answer> ListBuildsWithVersionAsInput(Call& call) {
  return BuildsWithVersion(call, store::ListBuildsWithInput);
}
Task<Answer> ListBuildsWithVersionAsOutput(Call& call) {
  return BuildsWithVersion(call, store::ListBuildsWithOutput);
}

}  // namespace pinion::api
