#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "store/database.h"

/// Resources and resource types as rows. They are written by whoever saves pipelines (pipelines.h);
/// scopes.h attaches them, versions.h pins them. Every function works inside the caller's
/// transaction.
namespace pinion::store {

struct ResourceRow {
  ResourceId id;
  std::string name;
  std::string type;
  std::string config;  ///< JSON of the normal form
  bool active = true;
  ScopeId scope;                              ///< 0 until it was attached
  std::optional<std::string> pinned_version;  ///< JSON
  bool pinned_by_config = false;
  std::string pin_comment;
  std::int64_t ordering = 0;
  PipelineId pipeline;
  std::string pipeline_name;
  std::string instance_vars;
  TeamId team;
  std::string team_name;
  // Of its scope; unix seconds.
  std::optional<std::int64_t> last_check_start;
  std::optional<std::int64_t> last_check_end;
  std::optional<bool> last_check_succeeded;
  std::string last_check_error;
  BuildId last_check_build;
};

struct ResourceTypeRow {
  ResourceTypeId id;
  std::string name;
  std::string type;
  std::string config;
  ScopeId scope;
  PipelineId pipeline;
  TeamId team;
};

std::optional<ResourceRow> FindResource(Transaction& transaction, ResourceId resource);
std::optional<ResourceRow> FindResourceByName(Transaction& transaction, PipelineId pipeline,
                                              std::string_view name);
/// Active ones, in the order of the configuration.
std::vector<ResourceRow> ListResources(Transaction& transaction, PipelineId pipeline);

std::optional<ResourceTypeRow> FindResourceType(Transaction& transaction, ResourceTypeId type);
std::optional<ResourceTypeRow> FindResourceTypeByName(Transaction& transaction, PipelineId pipeline,
                                                      std::string_view name);
std::vector<ResourceTypeRow> ListResourceTypes(Transaction& transaction, PipelineId pipeline);

/// What decides whether a resource is checked by itself, and when.
struct CheckableRow {
  ResourceRow resource;
  bool is_input = false;      ///< a get without passed takes it
  bool has_trigger = false;   ///< and one of those triggers its job
  bool has_versions = false;  ///< its scope has at least one
  std::optional<std::int64_t> next_check;
};
/// Active resources of a pipeline that is neither paused nor archived; none of another.
std::vector<CheckableRow> ListCheckable(Transaction& transaction, PipelineId pipeline);
std::optional<CheckableRow> FindCheckable(Transaction& transaction, ResourceId resource);
/// Pipelines that are neither paused nor archived.
std::vector<PipelineId> ListRunningPipelines(Transaction& transaction);

}  // namespace pinion::store
