#include "store/resources_view.h"

namespace pinion::store {

namespace {

/// The check build is the scope's last one, or the newest of the resource itself.
std::string SelectText(const Transaction& transaction) {
  std::string sql =
      "select r.id, r.name, r.type, p.id, p.name, p.instance_vars, t.name, s.last_check_end,"
      " r.pinned_version, r.pinned_by_config, r.pin_comment, b.id, b.name, b.status,"
      " b.start_time, b.end_time, b.public_plan, ";
  sql += transaction.Pick(
      "json_extract(r.config, '$.icon'), coalesce(json_extract(r.config, '$.public'), 0)",
      "r.config::json ->> 'icon',"
      " case when r.config::json ->> 'public' = 'true' then 1 else 0 end");
  sql +=
      " from resources r join pipelines p on p.id = r.pipeline_id"
      " join teams t on t.id = p.team_id left join scopes s on s.id = r.scope_id"
      " left join builds b on b.id = coalesce(s.last_check_build_id,"
      " (select max(c.id) from builds c where c.resource_id = r.id))";
  return sql;
}

ResourceView ReadResource(const Row& row) {
  ResourceView view;
  view.id = row.IdAt<ResourceId>(0);
  view.name = row.Text(1);
  view.type = row.Text(2);
  view.pipeline = row.IdAt<PipelineId>(3);
  view.pipeline_name = row.Text(4);
  view.instance_vars = row.Text(5);
  view.team_name = row.Text(6);
  view.last_checked = row.Integer(7);
  view.pinned_version = row.Text(8);
  view.pinned_by_config = row.Bool(9);
  view.pin_comment = row.Text(10);
  if (!row.IsNull(11)) {
    view.check_build = BuildBrief{.id = row.IdAt<BuildId>(11),
                                  .name = row.Text(12),
                                  .status = row.Text(13),
                                  .start_time = row.Integer(14),
                                  .end_time = row.Integer(15)};
  }
  view.check_plan = row.Text(16);
  view.icon = row.Text(17);
  view.is_public = row.Bool(18);
  return view;
}

std::vector<ResourceView> ReadResources(const Rows& rows) {
  std::vector<ResourceView> resources;
  for (const Row& row : rows)
    resources.push_back(ReadResource(row));
  return resources;
}

std::vector<SharedName> ReadShared(Transaction& transaction, const std::string& table,
                                   ScopeId scope) {
  std::vector<SharedName> names;
  for (const Row& row : transaction.Query(
           "select r.name, p.name, t.name from " + table +
               " r join pipelines p on p.id = r.pipeline_id join teams t on t.id = p.team_id"
               " where r.scope_id = $1 and r.active = 1 order by t.name, p.name, r.name",
           {scope})) {
    names.push_back({row.Text(0), row.Text(1), row.Text(2)});
  }
  return names;
}

}  // namespace

std::vector<ResourceView> ViewResources(Transaction& transaction, PipelineId pipeline) {
  return ReadResources(
      transaction.Query(SelectText(transaction) +
                            " where r.active = 1 and r.pipeline_id = $1 order by r.ordering, r.id",
                        {pipeline}));
}

std::vector<ResourceView> ViewAllResources(Transaction& transaction, const Visibility& visibility) {
  std::string sql = SelectText(transaction) + " where r.active = 1 and p.archived = 0 and ";
  sql += VisibilityCondition(transaction);
  sql += " order by t.name, p.ordering, p.secondary_ordering, p.id, r.ordering, r.id";
  return ReadResources(transaction.Query(
      sql, {IdArrayText(visibility.teams), visibility.all, visibility.public_too}));
}

std::optional<ResourceView> ViewResource(Transaction& transaction, PipelineId pipeline,
                                         std::string_view name) {
  const auto row = transaction.QueryOne(
      SelectText(transaction) + " where r.active = 1 and r.pipeline_id = $1 and r.name = $2",
      {pipeline, name});
  if (!row) return std::nullopt;
  return ReadResource(*row);
}

SharedNames ListShared(Transaction& transaction, ScopeId scope) {
  return {.resources = ReadShared(transaction, "resources", scope),
          .resource_types = ReadShared(transaction, "resource_types", scope)};
}

}  // namespace pinion::store
