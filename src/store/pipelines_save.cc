#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "pipeline/glob.h"
#include "store/change_kinds.h"
#include "store/pipeline_parents.h"
#include "store/pipelines.h"

/// set-pipeline. Rows go to the database as one JSON array per table, so that the number of
/// statements does not grow with the pipeline.
namespace pinion::store {

namespace {

using Ids = std::map<std::string, std::int64_t, std::less<>>;

/// `table` as a set of rows with columns c0, c1, … taken from the JSON array of arrays in $1.
std::string RowsOf(const Transaction& transaction, int integers, int texts) {
  std::string columns;
  for (int i = 0; i < integers + texts; ++i) {
    const std::string index = std::to_string(i);
    if (i) columns += ", ";
    if (transaction.dialect() == Dialect::kSqlite) {
      columns += "json_extract(value, '$[" + index + "]') as c" + index;
    } else {
      columns += i < integers ? "(value ->> " + index + ")::bigint as c" + index
                              : "value ->> " + index + " as c" + index;
    }
  }
  const std::string_view source =
      transaction.Pick("json_each($1)", "json_array_elements($1::json)");
  return "(select " + columns + " from " + std::string(source) + ") as incoming";
}

Json Nullable(const std::optional<std::string>& text) {
  return text ? Json(*text) : Json();
}
Json Number(std::int64_t value) {
  return Json(static_cast<long long>(value));
}

/// Gives rows of `old_name` their new name. Where a renamed one's new name is taken by a row that
/// is no longer in use, that row goes. Names may move in a chain or swap: everything passes through
/// names that no configuration can have.
template <class Item>
void Rename(Transaction& transaction, const std::string& table, PipelineId pipeline,
            const std::vector<Item>& items) {
  std::set<std::string_view> renamed_away;
  std::vector<std::pair<std::int64_t, std::string>> moves;
  for (const Item& item : items) {
    if (item.old_name.empty() || item.old_name == item.name) continue;
    const auto row =
        transaction.QueryOne("select id from " + table + " where pipeline_id = $1 and name = $2",
                             {pipeline, item.old_name});
    // Sent again after the renaming, the old name is gone and there is nothing to do.
    if (!row) continue;
    moves.emplace_back(row->Integer(0), item.name);
    renamed_away.insert(item.old_name);
  }
  for (const auto& [id, name] : moves) {
    transaction.Execute("update " + table + " set name = $2 where id = $1",
                        {id, "\x01" + std::to_string(id)});
  }
  for (const auto& [id, name] : moves) {
    transaction.Execute("delete from " + table + " where pipeline_id = $1 and name = $2",
                        {pipeline, name});
    transaction.Execute("update " + table + " set name = $2 where id = $1", {id, name});
  }
}

Ids ReadIds(Transaction& transaction, const std::string& table, PipelineId pipeline) {
  Ids ids;
  for (const Row& row :
       transaction.Query("select name, id from " + table + " where pipeline_id = $1 and active = 1",
                         {pipeline})) {
    ids[row.Text(0)] = row.Integer(1);
  }
  return ids;
}

/// What is not listed in this configuration any more becomes inactive.
void Deactivate(Transaction& transaction, const std::string& table, PipelineId pipeline,
                const Json& rows) {
  transaction.Execute(
      "update " + table +
          " set active = 0 where pipeline_id = $2 and active = 1 and name not in (" +
          "select c1 from " + RowsOf(transaction, 1, 1) + ")",
      {ToText(rows), pipeline});
}

/// A resource or type whose type or source changed has no versions until it is checked as the new
/// one.
std::string ScopeUnlessChanged(const Transaction& transaction, const std::string& table) {
  const std::string source =
      transaction.dialect() == Dialect::kSqlite
          ? table + ".config -> '$.source' is not excluded.config -> '$.source'"
          : "(" + table +
                ".config::json -> 'source')::text is distinct from"
                " (excluded.config::json -> 'source')::text";
  return "case when " + table + ".type <> excluded.type or " + source + " then null else " + table +
         ".scope_id end";
}

void SaveResources(Transaction& transaction, PipelineId pipeline,
                   const std::vector<NewResource>& resources) {
  JsonArray rows;
  for (const NewResource& resource : resources) {
    rows.push_back(JsonArray{Number(static_cast<std::int64_t>(rows.size())), Json(resource.name),
                             Json(resource.type), Json(resource.config),
                             Nullable(resource.pinned_version)});
  }
  const Json json(std::move(rows));
  transaction.Execute(
      "insert into resources"
      " (pipeline_id, name, type, config, active, pinned_version, pinned_by_config, ordering)"
      " select cast($2 as bigint), c1, c2, c3, 1, c4, case when c4 is null then 0 else 1 end, c0 "
      "from " +
          RowsOf(transaction, 1, 4) +
          " where true on conflict (pipeline_id, name) do update set type = excluded.type,"
          " scope_id = " +
          ScopeUnlessChanged(transaction, "resources") +
          ", config = excluded.config, active = 1, ordering = excluded.ordering,"
          // A pin of the configuration replaces one of the API and goes with the configuration.
          " pinned_version = case when excluded.pinned_by_config = 1 then excluded.pinned_version"
          " when resources.pinned_by_config = 1 then null else resources.pinned_version end,"
          " pinned_by_config = excluded.pinned_by_config",
      {ToText(json), pipeline});
  Deactivate(transaction, "resources", pipeline, json);
}

void SaveResourceTypes(Transaction& transaction, PipelineId pipeline,
                       const std::vector<NewResourceType>& types) {
  JsonArray rows;
  for (const NewResourceType& type : types) {
    rows.push_back(JsonArray{Number(static_cast<std::int64_t>(rows.size())), Json(type.name),
                             Json(type.type), Json(type.config)});
  }
  const Json json(std::move(rows));
  transaction.Execute(
      "insert into resource_types (pipeline_id, name, type, config, active, ordering)"
      " select cast($2 as bigint), c1, c2, c3, 1, c0 from " +
          RowsOf(transaction, 1, 3) +
          " where true on conflict (pipeline_id, name) do update set type = excluded.type,"
          " scope_id = " +
          ScopeUnlessChanged(transaction, "resource_types") +
          ", config = excluded.config, active = 1, ordering = excluded.ordering",
      {ToText(json), pipeline});
  Deactivate(transaction, "resource_types", pipeline, json);
}

void SaveJobs(Transaction& transaction, PipelineId pipeline, const std::vector<NewJob>& jobs) {
  JsonArray rows;
  for (const NewJob& job : jobs) {
    rows.push_back(JsonArray{Number(static_cast<std::int64_t>(rows.size())), Json(job.name),
                             Json(job.config)});
  }
  const Json json(std::move(rows));
  transaction.Execute(
      "insert into jobs (pipeline_id, name, config, active, ordering)"
      " select cast($2 as bigint), c1, c2, 1, c0 from " +
          RowsOf(transaction, 1, 2) +
          " where true on conflict (pipeline_id, name) do update set config = excluded.config,"
          " active = 1, ordering = excluded.ordering",
      {ToText(json), pipeline});
  Deactivate(transaction, "jobs", pipeline, json);
}

std::vector<std::int64_t> PassedIds(const NewJobInput& input, const Ids& jobs) {
  std::vector<std::int64_t> ids;
  for (const std::string& pattern : input.passed) {
    const auto glob = pipeline::Glob::ForPassed(pattern);
    if (!glob) throw Failure(ErrorKind::kInvalid, "broken pattern '" + pattern + "' in passed");
    for (const auto& [name, id] : jobs) {
      if (glob->Matches(name) && std::ranges::find(ids, id) == ids.end()) ids.push_back(id);
    }
  }
  return ids;
}

/// Looks a name up that validation has seen: a miss is a bug or a pipeline that was not validated.
std::int64_t IdOf(const Ids& ids, const std::string& name, std::string_view what) {
  const auto found = ids.find(name);
  if (found == ids.end()) {
    throw Failure(ErrorKind::kInvalid, "unknown " + std::string(what) + " '" + name + "'");
  }
  return found->second;
}

void SaveJobEdges(Transaction& transaction, PipelineId pipeline, const std::vector<NewJob>& jobs,
                  const Ids& job_ids, const Ids& resource_ids) {
  JsonArray inputs;
  JsonArray outputs;
  JsonArray groups;
  for (const NewJob& job : jobs) {
    const Json id = Number(IdOf(job_ids, job.name, "job"));
    for (const NewJobInput& input : job.inputs) {
      const Json resource = Number(IdOf(resource_ids, input.resource, "resource"));
      const auto add = [&](Json passed) {
        inputs.push_back(JsonArray{id, resource, std::move(passed), Json(input.trigger ? 1 : 0),
                                   Json(input.name), Nullable(input.version)});
      };
      const auto passed = PassedIds(input, job_ids);
      if (passed.empty()) add(Json());
      for (const std::int64_t job_id : passed)
        add(Number(job_id));
    }
    for (const NewJobOutput& output : job.outputs) {
      outputs.push_back(JsonArray{id, Number(IdOf(resource_ids, output.resource, "resource")),
                                  Json(output.name)});
    }
    for (const std::string& group :
         std::set<std::string>(job.serial_groups.begin(), job.serial_groups.end())) {
      groups.push_back(JsonArray{id, Json(group)});
    }
  }
  for (const char* table : {"job_inputs", "job_outputs", "job_serial_groups"}) {
    transaction.Execute("delete from " + std::string(table) +
                            " where job_id in (select id from jobs where pipeline_id = $1)",
                        {pipeline});
  }
  transaction.Execute(
      "insert into job_inputs (job_id, resource_id, passed_job_id, \"trigger\", name, version)"
      " select c0, c1, c2, c3, c4, c5 from " +
          RowsOf(transaction, 4, 2),
      {ToText(Json(std::move(inputs)))});
  transaction.Execute(
      "insert into job_outputs (job_id, resource_id, name) select c0, c1, c2 from " +
          RowsOf(transaction, 2, 1),
      {ToText(Json(std::move(outputs)))});
  transaction.Execute("insert into job_serial_groups (job_id, serial_group) select c0, c1 from " +
                          RowsOf(transaction, 1, 1),
                      {ToText(Json(std::move(groups)))});
}

SavedPipeline InsertPipelineRow(Transaction& transaction, TeamId team, const NewPipeline& pipeline,
                                const SavePipelineOptions& options) {
  // A further instance stands behind the others of its group, a new group behind all.
  const auto last = transaction.QueryOne(
      "select max(case when name = $2 then ordering end),"
      " max(case when name = $2 then secondary_ordering end), max(ordering), max(config_version)"
      " from pipelines where team_id = $1",
      {team, pipeline.name});
  const std::int64_t ordering = last->IsNull(0) ? last->Integer(2) + 1 : last->Integer(0);
  const auto row = transaction.QueryOne(
      "insert into pipelines (team_id, name, instance_vars, config, config_version, paused,"
      " ordering, secondary_ordering, last_updated, parent_job_id, parent_build_id)"
      " values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) returning id",
      {team, pipeline.name, pipeline.instance_vars, pipeline.config, last->Integer(3) + 1,
       options.initially_paused, ordering, last->Integer(1) + 1, transaction.now(),
       JobId{options.parent_job}, BuildId{options.parent_build}});
  return {.id = row.value().IdAt<PipelineId>(0), .created = true};
}

SavedPipeline UpsertPipelineRow(Transaction& transaction, TeamId team, const NewPipeline& pipeline,
                                const SavePipelineOptions& options) {
  const auto existing = transaction.QueryOne(
      std::string("select id, config_version, archived, parent_build_id from pipelines"
                  " where team_id = $1 and name = $2 and instance_vars = $3") +
          std::string(transaction.Pick("", " for update")),
      {team, pipeline.name, pipeline.instance_vars});
  if (!existing) {
    if (options.expected_version.value_or(0) != 0) {
      throw Failure(ErrorKind::kConflict, "comparison with existing config failed during save");
    }
    return InsertPipelineRow(transaction, team, pipeline, options);
  }
  // An archived pipeline counts as absent, but its versions go on growing.
  const std::int64_t current = existing->Bool(2) ? 0 : existing->Integer(1);
  if (options.expected_version && *options.expected_version != current) {
    throw Failure(ErrorKind::kConflict, "comparison with existing config failed during save");
  }
  if (options.parent_build && existing->Integer(3) > options.parent_build) {
    throw Failure(ErrorKind::kConflict, "pipeline set by a newer build");
  }
  const bool unpause = existing->Bool(2) && !options.initially_paused;
  transaction.Execute(
      "update pipelines set archived = 0, config = $2, last_updated = $3, parent_job_id = $4,"
      " parent_build_id = $5, paused = case when $6 = 1 then 0 else paused end,"
      " config_version = $7 where id = $1",
      {existing->Integer(0), pipeline.config, transaction.now(), JobId{options.parent_job},
       BuildId{options.parent_build}, unpause, existing->Integer(1) + 1});
  return {.id = existing->IdAt<PipelineId>(0), .created = false};
}

}  // namespace

SavedPipeline SavePipeline(Transaction& transaction, TeamId team, const NewPipeline& pipeline,
                           const SavePipelineOptions& options) {
  const SavedPipeline saved = UpsertPipelineRow(transaction, team, pipeline, options);
  if (!saved.created) {
    Rename(transaction, "resources", saved.id, pipeline.resources);
    Rename(transaction, "jobs", saved.id, pipeline.jobs);
  }
  SaveResources(transaction, saved.id, pipeline.resources);
  SaveResourceTypes(transaction, saved.id, pipeline.resource_types);
  SaveJobs(transaction, saved.id, pipeline.jobs);
  SaveJobEdges(transaction, saved.id, pipeline.jobs, ReadIds(transaction, "jobs", saved.id),
               ReadIds(transaction, "resources", saved.id));
  transaction.AppendChange(kinds::kPipelineConfigured, saved.id.value, team,
                           JsonObject{{"created", Json(saved.created)}});
  if (!saved.created) ArchiveChildren(transaction, saved.id, GoneJobs::kInactive);
  return saved;
}

}  // namespace pinion::store
