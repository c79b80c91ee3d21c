#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "store/builds.h"
#include "store/jobs_view.h"
#include "store/visibility.h"

namespace pinion::store {

/// What lists of resources show.
struct ResourceView {
  ResourceId id;
  std::string name;
  std::string type;
  PipelineId pipeline;
  std::string pipeline_name;
  std::string instance_vars;
  std::string team_name;
  std::string icon;
  bool is_public = false;
  std::int64_t last_checked = 0;  ///< end of the last check, unix seconds
  std::string pinned_version;     ///< JSON or ""
  bool pinned_by_config = false;
  std::string pin_comment;
  std::optional<BuildBrief> check_build;
  std::string check_plan;  ///< its public plan, JSON or ""
};

std::vector<ResourceView> ViewResources(Transaction& transaction, PipelineId pipeline);
std::vector<ResourceView> ViewAllResources(Transaction& transaction, const Visibility& visibility);
std::optional<ResourceView> ViewResource(Transaction& transaction, PipelineId pipeline,
                                         std::string_view name);

/// Who shares a resource's scope.
struct SharedName {
  std::string name;
  std::string pipeline_name;
  std::string team_name;
};
struct SharedNames {
  std::vector<SharedName> resources;
  std::vector<SharedName> resource_types;
};
SharedNames ListShared(Transaction& transaction, ScopeId scope);

}  // namespace pinion::store
