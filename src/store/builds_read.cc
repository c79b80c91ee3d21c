#include "store/builds.h"

#include <algorithm>

#include "store/change_kinds.h"

namespace pinion::store {
namespace {

std::vector<BuildRow> ReadAll(const Rows& rows) {
  std::vector<BuildRow> builds;
  builds.reserve(rows.size());
  for (const Row& row : rows)
    builds.push_back(ReadBuildRow(row));
  return builds;
}

std::optional<BuildRow> ReadOne(const std::optional<Row>& row) {
  if (!row) return std::nullopt;
  return ReadBuildRow(*row);
}

// A filter's conditions as SQL, its parameters appended.
std::string Conditions(const BuildFilter& filter, std::vector<Param>& params) {
  std::string sql = " where 1 = 1";
  const auto placeholder = [&](Param param) {
    params.push_back(std::move(param));
    return "$" + std::to_string(params.size());
  };
  if (filter.job) sql += " and b.job_id = " + placeholder(filter.job);
  if (filter.pipeline) sql += " and b.pipeline_id = " + placeholder(filter.pipeline);
  if (filter.resource) sql += " and b.resource_id = " + placeholder(filter.resource);
  if (!filter.teams.empty()) {
    std::string teams;
    for (const TeamId team : filter.teams) {
      if (!teams.empty()) teams += ", ";
      teams += placeholder(team);
    }
    sql += " and (b.team_id in (" + teams + ")";
    if (filter.public_too) sql += " or p.public = 1";
    sql += ")";
  } else if (filter.public_too) {
    sql += " and p.public = 1";
  }
  if (!filter.checks && !filter.resource) {
    sql += " and b.resource_id is null and b.resource_type_id is null";
  }
  return sql;
}

}  // namespace

std::string BuildSelect() {
  return "select b.id, b.name, b.team_id, t.name, b.pipeline_id, p.name, p.instance_vars, "
         "b.job_id, "
         "j.name, b.resource_id, r.name, b.resource_type_id, rt.name, b.status, b.manual, "
         "b.created_by, b.create_time, b.start_time, b.end_time, b.reap_time, b.aborted, "
         "b.scheduled, b.inputs_ready, b.needs_check, b.rerun_of, o.name, b.rerun_number, "
         "b.comment, "
         "case when b.public_plan is null then 0 else 1 end, b.owner_node, b.owner_epoch "
         "from builds b join teams t on t.id = b.team_id "
         "left join pipelines p on p.id = b.pipeline_id left join jobs j on j.id = b.job_id "
         "left join resources r on r.id = b.resource_id "
         "left join resource_types rt on rt.id = b.resource_type_id "
         "left join builds o on o.id = b.rerun_of";
}

BuildRow ReadBuildRow(const Row& row) {
  BuildRow build;
  build.id = row.As<BuildTag>(0);
  build.name = row.Text(1);
  build.team = row.As<TeamTag>(2);
  build.team_name = row.Text(3);
  build.pipeline = row.As<PipelineTag>(4);
  build.pipeline_name = row.Text(5);
  build.instance_vars = row.Text(6);
  build.job = row.As<JobTag>(7);
  build.job_name = row.Text(8);
  build.resource = row.As<ResourceTag>(9);
  build.resource_name = row.Text(10);
  build.resource_type = row.As<ResourceTypeTag>(11);
  build.resource_type_name = row.Text(12);
  build.status = ParseBuildStatus(row.Text(13));
  build.manual = row.Bool(14);
  build.created_by = row.OptionalText(15);
  build.create_time = row.Integer(16);
  build.start_time = row.OptionalInteger(17);
  build.end_time = row.OptionalInteger(18);
  build.reap_time = row.OptionalInteger(19);
  build.aborted = row.Bool(20);
  build.scheduled = row.Bool(21);
  build.inputs_ready = row.Bool(22);
  build.needs_check = row.Bool(23);
  build.rerun_of = row.As<BuildTag>(24);
  build.rerun_of_name = row.Text(25);
  build.rerun_number = row.Integer(26);
  build.comment = row.Text(27);
  build.has_plan = row.Bool(28);
  if (!row.IsNull(29)) build.owner = Owner{row.Text(29), row.Integer(30)};
  return build;
}

std::optional<BuildRow> FindBuild(Transaction& transaction, BuildId build) {
  return ReadOne(transaction.QueryOne(BuildSelect() + " where b.id = $1", {build}));
}

std::vector<BuildId> ListDeletedBuilds(Transaction& transaction,
                                       const std::vector<BuildId>& builds) {
  std::vector<BuildId> deleted;
  for (const BuildId build : builds) {
    if (!transaction.QueryOne("select 1 from builds where id = $1", {build})) {
      deleted.push_back(build);
    }
  }
  return deleted;
}

std::optional<BuildRow> FindJobBuild(Transaction& transaction, JobId job, std::string_view name) {
  if (name == "latest") {
    return ReadOne(transaction.QueryOne(
        BuildSelect() + " where b.job_id = $1 order by b.id desc limit 1", {job}));
  }
  return ReadOne(
      transaction.QueryOne(BuildSelect() + " where b.job_id = $1 and b.name = $2", {job, name}));
}

std::optional<std::string> FindPlan(Transaction& transaction, BuildId build) {
  const auto row = transaction.QueryOne("select plan from builds where id = $1", {build});
  return row ? row->OptionalText(0) : std::nullopt;
}

std::optional<std::string> FindPublicPlan(Transaction& transaction, BuildId build) {
  const auto row = transaction.QueryOne("select public_plan from builds where id = $1", {build});
  return row ? row->OptionalText(0) : std::nullopt;
}

std::vector<BuildRow> ListRunnable(Transaction& transaction, std::string_view node, int limit) {
  return ReadAll(transaction.Query(
      BuildSelect() + " where b.status = 'started' and (b.owner_node is null or b.owner_node = $1) "
                      "order by b.id limit $2",
      {node, limit}));
}

std::vector<BuildRow> ListOwnedByOthers(Transaction& transaction, std::string_view node,
                                        int limit) {
  return ReadAll(transaction.Query(
      BuildSelect() + " where b.status = 'started' and b.owner_node <> $1 order by b.owner_node, "
                      "b.id limit $2",
      {node, limit}));
}

std::vector<BuildRow> ListPending(Transaction& transaction, JobId job) {
  return ReadAll(transaction.Query(BuildSelect() +
                                       " where b.job_id = $1 and b.status = 'pending' order by "
                                       "coalesce(b.rerun_of, b.id), b.id",
                                   {job}));
}

std::vector<BuildRow> ListBuilds(Transaction& transaction, const BuildFilter& filter,
                                 const BuildPage& page) {
  std::vector<Param> params;
  std::string sql = BuildSelect() + Conditions(filter, params);
  const auto placeholder = [&](std::int64_t value) {
    params.emplace_back(value);
    return "$" + std::to_string(params.size());
  };
  if (page.from > 0) sql += " and b.id >= " + placeholder(page.from);
  if (page.to > 0) sql += " and b.id <= " + placeholder(page.to);
  const bool upward = page.from > 0 && page.to <= 0;
  sql += upward ? " order by b.id" : " order by b.id desc";
  sql += " limit " + placeholder(std::clamp(page.limit, 1, 10'000));
  auto builds = ReadAll(transaction.QueryList(sql, params));
  if (upward) std::ranges::reverse(builds);
  return builds;
}

std::vector<BuildInputRow> ListBuildInputs(Transaction& transaction, BuildId build) {
  std::vector<BuildInputRow> inputs;
  for (const Row& row : transaction.Query(
           "select i.name, i.resource_id, r.name, i.version_id, v.version, v.metadata, "
           "i.first_occurrence from build_inputs i join resources r on r.id = i.resource_id join "
           "versions v on v.id = i.version_id where i.build_id = $1 order by i.name",
           {build})) {
    inputs.push_back({row.Text(0), row.As<ResourceTag>(1), row.Text(2), row.As<VersionTag>(3),
                      row.Text(4), row.Text(5), row.Bool(6)});
  }
  return inputs;
}

std::vector<BuildOutputRow> ListBuildOutputs(Transaction& transaction, BuildId build) {
  std::vector<BuildOutputRow> outputs;
  for (const Row& row : transaction.Query(
           "select i.name, i.resource_id, r.name, i.version_id, v.version, v.metadata from "
           "build_outputs i join resources r on r.id = i.resource_id join versions v on v.id = "
           "i.version_id where i.build_id = $1 order by i.name, i.version_id",
           {build})) {
    outputs.push_back({row.Text(0), row.As<ResourceTag>(1), row.Text(2), row.As<VersionTag>(3),
                       row.Text(4), row.Text(5)});
  }
  return outputs;
}

std::vector<BuildRow> ListBuildsWithInput(Transaction& transaction, ResourceId resource,
                                          VersionId version, int limit) {
  return ReadAll(transaction.Query(
      BuildSelect() + " where b.id in (select build_id from build_inputs where version_id = $1 and "
                      "resource_id = $2) order by b.id desc limit $3",
      {version, resource, limit}));
}

std::vector<BuildRow> ListBuildsWithOutput(Transaction& transaction, ResourceId resource,
                                           VersionId version, int limit) {
  return ReadAll(transaction.Query(
      BuildSelect() +
          " where b.id in (select build_id from build_outputs where version_id = $1 and "
          "resource_id = $2) order by b.id desc limit $3",
      {version, resource, limit}));
}

}  // namespace pinion::store
