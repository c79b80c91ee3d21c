#include "store/resources.h"

namespace pinion::store {
namespace {

constexpr std::string_view kResourceColumns =
    "r.id, r.name, r.type, r.config, r.active, r.scope_id, r.pinned_version, r.pinned_by_config, "
    "r.pin_comment, r.ordering, p.id, p.name, p.instance_vars, t.id, t.name, s.last_check_start, "
    "s.last_check_end, s.last_check_succeeded, s.last_check_error, s.last_check_build_id";
constexpr std::size_t kResourceColumnCount = 20;
constexpr std::string_view kResourceTables =
    " from resources r join pipelines p on p.id = r.pipeline_id join teams t on t.id = p.team_id "
    "left "
    "join scopes s on s.id = r.scope_id";

std::string ResourceSelect(std::string_view more = "") {
  return "select " + std::string(kResourceColumns) + std::string(more) +
         std::string(kResourceTables);
}

ResourceRow ReadResource(const Row& row) {
  ResourceRow resource;
  resource.id = row.As<ResourceTag>(0);
  resource.name = row.Text(1);
  resource.type = row.Text(2);
  resource.config = row.Text(3);
  resource.active = row.Bool(4);
  resource.scope = row.As<ScopeTag>(5);
  resource.pinned_version = row.OptionalText(6);
  resource.pinned_by_config = row.Bool(7);
  resource.pin_comment = row.Text(8);
  resource.ordering = row.Integer(9);
  resource.pipeline = row.As<PipelineTag>(10);
  resource.pipeline_name = row.Text(11);
  resource.instance_vars = row.Text(12);
  resource.team = row.As<TeamTag>(13);
  resource.team_name = row.Text(14);
  resource.last_check_start = row.OptionalInteger(15);
  resource.last_check_end = row.OptionalInteger(16);
  if (!row.IsNull(17)) resource.last_check_succeeded = row.Bool(17);
  resource.last_check_error = row.Text(18);
  resource.last_check_build = row.As<BuildTag>(19);
  return resource;
}

constexpr std::string_view kTypeSelect =
    "select r.id, r.name, r.type, r.config, r.scope_id, p.id, p.team_id from resource_types r join "
    "pipelines p on p.id = r.pipeline_id";

ResourceTypeRow ReadType(const Row& row) {
  return {
      row.As<ResourceTypeTag>(0), row.Text(1),       row.Text(2), row.Text(3), row.As<ScopeTag>(4),
      row.As<PipelineTag>(5),     row.As<TeamTag>(6)};
}

std::string Exists(std::string_view what) {
  return ", case when exists (" + std::string(what) + ") then 1 else 0 end";
}

std::string CheckableSelect() {
  const std::string gets =
      "select 1 from job_inputs i join jobs j on j.id = i.job_id where i.resource_id = r.id and "
      "i.passed_job_id is null and j.active = 1";
  return ResourceSelect(Exists(gets) + Exists(gets + " and i.\"trigger\" = 1") +
                        Exists("select 1 from versions v where v.scope_id = r.scope_id") +
                        ", s.next_check") +
         " where r.active = 1 and p.paused = 0 and p.archived = 0";
}

CheckableRow ReadCheckable(const Row& row) {
  return {ReadResource(row), row.Bool(kResourceColumnCount), row.Bool(kResourceColumnCount + 1),
          row.Bool(kResourceColumnCount + 2), row.OptionalInteger(kResourceColumnCount + 3)};
}

}  // namespace

std::optional<ResourceRow> FindResource(Transaction& transaction, ResourceId resource) {
  const auto row = transaction.QueryOne(ResourceSelect() + " where r.id = $1", {resource});
  if (!row) return std::nullopt;
  return ReadResource(*row);
}

std::optional<ResourceRow> FindResourceByName(Transaction& transaction, PipelineId pipeline,
                                              std::string_view name) {
  const auto row = transaction.QueryOne(
      ResourceSelect() + " where r.pipeline_id = $1 and r.name = $2 and r.active = 1",
      {pipeline, name});
  if (!row) return std::nullopt;
  return ReadResource(*row);
}

std::vector<ResourceRow> ListResources(Transaction& transaction, PipelineId pipeline) {
  std::vector<ResourceRow> resources;
  for (const Row& row :
       transaction.Query(ResourceSelect() +
                             " where r.pipeline_id = $1 and r.active = 1 order by r.ordering, r.id",
                         {pipeline})) {
    resources.push_back(ReadResource(row));
  }
  return resources;
}

std::optional<ResourceTypeRow> FindResourceType(Transaction& transaction, ResourceTypeId type) {
  const auto row = transaction.QueryOne(std::string(kTypeSelect) + " where r.id = $1", {type});
  if (!row) return std::nullopt;
  return ReadType(*row);
}

std::optional<ResourceTypeRow> FindResourceTypeByName(Transaction& transaction, PipelineId pipeline,
                                                      std::string_view name) {
  const auto row = transaction.QueryOne(
      std::string(kTypeSelect) + " where r.pipeline_id = $1 and r.name = $2 and r.active = 1",
      {pipeline, name});
  if (!row) return std::nullopt;
  return ReadType(*row);
}

std::vector<ResourceTypeRow> ListResourceTypes(Transaction& transaction, PipelineId pipeline) {
  std::vector<ResourceTypeRow> types;
  for (const Row& row :
       transaction.Query(std::string(kTypeSelect) +
                             " where r.pipeline_id = $1 and r.active = 1 order by r.ordering, r.id",
                         {pipeline})) {
    types.push_back(ReadType(row));
  }
  return types;
}

std::vector<CheckableRow> ListCheckable(Transaction& transaction, PipelineId pipeline) {
  std::vector<CheckableRow> checkable;
  for (const Row& row : transaction.Query(
           CheckableSelect() + " and r.pipeline_id = $1 order by r.ordering, r.id", {pipeline})) {
    checkable.push_back(ReadCheckable(row));
  }
  return checkable;
}

std::optional<CheckableRow> FindCheckable(Transaction& transaction, ResourceId resource) {
  const auto row = transaction.QueryOne(CheckableSelect() + " and r.id = $1", {resource});
  if (!row) return std::nullopt;
  return ReadCheckable(*row);
}

std::vector<PipelineId> ListRunningPipelines(Transaction& transaction) {
  std::vector<PipelineId> pipelines;
  for (const Row& row : transaction.Query(
           "select id from pipelines where paused = 0 and archived = 0 order by id")) {
    pipelines.push_back(row.As<PipelineTag>(0));
  }
  return pipelines;
}

}  // namespace pinion::store
