#include "store/pipelines.h"

#include "store/change_kinds.h"
#include "store/pipeline_parents.h"

namespace pinion::store {

namespace {

/// Groups, display and user data are read out of the configuration where it lies: a list does not
/// carry whole configurations around.
std::string SelectText(const Transaction& transaction) {
  std::string text =
      "select p.id, p.name, p.instance_vars, p.team_id, t.name, p.config_version, p.paused,"
      " p.paused_by, p.paused_at, p.public, p.archived, p.last_updated, p.parent_job_id,"
      " p.parent_build_id, ";
  text +=
      transaction.Pick("p.config -> '$.groups', p.config -> '$.display', p.config -> '$.user_data'",
                       "(p.config::json -> 'groups')::text, (p.config::json -> 'display')::text,"
                       " (p.config::json -> 'user_data')::text");
  text += " from pipelines p join teams t on t.id = p.team_id";
  return text;
}

PipelineRow ReadPipeline(const Row& row) {
  PipelineRow pipeline;
  pipeline.id = row.IdAt<PipelineId>(0);
  pipeline.name = row.Text(1);
  pipeline.instance_vars = row.Text(2);
  pipeline.team = row.IdAt<TeamId>(3);
  pipeline.team_name = row.Text(4);
  pipeline.config_version = row.Integer(5);
  pipeline.paused = row.Bool(6);
  pipeline.paused_by = row.Text(7);
  pipeline.paused_at = row.Integer(8);
  pipeline.is_public = row.Bool(9);
  pipeline.archived = row.Bool(10);
  pipeline.last_updated = row.Integer(11);
  pipeline.parent_job = row.Integer(12);
  pipeline.parent_build = row.Integer(13);
  pipeline.groups = row.Text(14);
  pipeline.display = row.Text(15);
  pipeline.user_data = row.Text(16);
  return pipeline;
}

std::vector<PipelineRow> ReadPipelines(const Rows& rows) {
  std::vector<PipelineRow> pipelines;
  pipelines.reserve(rows.size());
  for (const Row& row : rows)
    pipelines.push_back(ReadPipeline(row));
  return pipelines;
}

void Append(Transaction& transaction, std::string_view kind, const PipelineRow& pipeline) {
  transaction.AppendChange(kind, pipeline.id.value, pipeline.team);
}

}  // namespace

std::optional<PipelineRow> FindPipeline(Transaction& transaction, std::string_view team,
                                        std::string_view name, std::string_view instance_vars) {
  const auto row = transaction.QueryOne(
      SelectText(transaction) + " where t.name = $1 and p.name = $2 and p.instance_vars = $3",
      {team, name, instance_vars});
  if (!row) return std::nullopt;
  return ReadPipeline(*row);
}

std::optional<PipelineRow> FindPipelineById(Transaction& transaction, PipelineId pipeline) {
  const auto row = transaction.QueryOne(SelectText(transaction) + " where p.id = $1", {pipeline});
  if (!row) return std::nullopt;
  return ReadPipeline(*row);
}

std::vector<PipelineRow> ListPipelines(Transaction& transaction, const Visibility& visibility) {
  std::string sql = SelectText(transaction) + " where ";
  sql += VisibilityCondition(transaction);
  sql += " order by t.name, p.ordering, p.secondary_ordering, p.id";
  return ReadPipelines(transaction.Query(
      sql, {IdArrayText(visibility.teams), visibility.all, visibility.public_too}));
}

std::vector<PipelineRow> ListTeamPipelines(Transaction& transaction, TeamId team,
                                           bool public_only) {
  return ReadPipelines(transaction.Query(SelectText(transaction) +
                                             " where p.team_id = $1 and p.public >= $2"
                                             " order by p.ordering, p.secondary_ordering, p.id",
                                         {team, public_only}));
}

std::string PipelineConfigText(Transaction& transaction, PipelineId pipeline) {
  const auto row = transaction.QueryOne("select config from pipelines where id = $1", {pipeline});
  if (!row) throw Failure(ErrorKind::kNotFound, "the pipeline is gone");
  return row->Text(0);
}

void PausePipeline(Transaction& transaction, const PipelineRow& pipeline, std::string_view by) {
  transaction.Execute(
      "update pipelines set paused = 1, paused_by = $2, paused_at = $3 where id = $1",
      {pipeline.id, by, transaction.now()});
  Append(transaction, kinds::kPipelinePaused, pipeline);
}

void UnpausePipeline(Transaction& transaction, const PipelineRow& pipeline) {
  transaction.Execute(
      "update pipelines set paused = 0, paused_by = null, paused_at = null where id = $1",
      {pipeline.id});
  Append(transaction, kinds::kPipelineUnpaused, pipeline);
}

void SetPipelinePublic(Transaction& transaction, const PipelineRow& pipeline, bool is_public) {
  transaction.Execute("update pipelines set public = $2 where id = $1", {pipeline.id, is_public});
  Append(transaction, is_public ? kinds::kPipelineExposed : kinds::kPipelineHidden, pipeline);
}

void ArchivePipeline(Transaction& transaction, const PipelineRow& pipeline) {
  // The configuration holds sources and params: an archived pipeline keeps none of them.
  transaction.Execute(
      "update pipelines set archived = 1, paused = 1, paused_by = $2, paused_at = $3,"
      " config = '{}', last_updated = $3 where id = $1",
      {pipeline.id, "automatic-pipeline-archiver", transaction.now()});
  transaction.Execute("update jobs set config = '{}' where pipeline_id = $1", {pipeline.id});
  transaction.Execute("update resources set config = '{}' where pipeline_id = $1", {pipeline.id});
  transaction.Execute("update resource_types set config = '{}' where pipeline_id = $1",
                      {pipeline.id});
  Append(transaction, kinds::kPipelineArchived, pipeline);
  ArchiveChildren(transaction, pipeline.id, GoneJobs::kAll);
}

bool RenamePipelines(Transaction& transaction, TeamId team, std::string_view from,
                     std::string_view to) {
  const Rows rows =
      transaction.Query("select id from pipelines where team_id = $1 and name = $2", {team, from});
  if (rows.empty()) return false;
  if (from == to) return true;
  if (transaction.QueryOne("select 1 from pipelines where team_id = $1 and name = $2",
                           {team, to})) {
    throw Failure(ErrorKind::kConflict,
                  "a pipeline named '" + std::string(to) + "' exists already");
  }
  transaction.Execute("update pipelines set name = $3 where team_id = $1 and name = $2",
                      {team, from, to});
  for (const Row& row : rows) {
    transaction.AppendChange(kinds::kPipelineRenamed, row.Integer(0), team);
  }
  return true;
}

void DestroyPipeline(Transaction& transaction, const PipelineRow& pipeline) {
  ArchiveChildren(transaction, pipeline.id, GoneJobs::kAll);
  transaction.Execute("delete from pipelines where id = $1", {pipeline.id});
  Append(transaction, kinds::kPipelineDestroyed, pipeline);
}

void OrderPipelines(Transaction& transaction, TeamId team, const std::vector<std::string>& names) {
  std::int64_t position = 1;
  for (const std::string& name : names) {
    const auto changed =
        transaction.Execute("update pipelines set ordering = $3 where team_id = $1 and name = $2",
                            {team, name, position++});
    if (changed == 0) {
      throw Failure(ErrorKind::kNotFound, "pipeline '" + name + "' not found");
    }
  }
  transaction.AppendChange(kinds::kPipelineOrdered, 0, team);
}

void OrderInstances(Transaction& transaction, TeamId team, std::string_view name,
                    const std::vector<std::string>& instance_vars) {
  std::int64_t position = 1;
  for (const std::string& vars : instance_vars) {
    const auto changed = transaction.Execute(
        "update pipelines set secondary_ordering = $4"
        " where team_id = $1 and name = $2 and instance_vars = $3",
        {team, name, vars, position++});
    if (changed == 0) {
      throw Failure(ErrorKind::kNotFound, "pipeline '" + std::string(name) + "' has no instance " +
                                              (vars.empty() ? "without vars" : vars));
    }
  }
  transaction.AppendChange(kinds::kPipelineOrdered, 0, team);
}

}  // namespace pinion::store
