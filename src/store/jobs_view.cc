#include "store/jobs_view.h"

#include <algorithm>
#include <map>
#include <unordered_map>

#include "base/json.h"
#include "pipeline/glob.h"

namespace pinion::store {

namespace {

/// A selection of jobs: a condition over j, p and t, with its parameters.
struct Selection {
  std::string where;
  std::vector<Param> params;
};

Selection OfPipeline(PipelineId pipeline) {
  return {" where j.active = 1 and j.pipeline_id = $1", {pipeline}};
}

Selection OfName(PipelineId pipeline, std::string_view name) {
  return {" where j.active = 1 and j.pipeline_id = $1 and j.name = $2", {pipeline, name}};
}

/// `column` is one of these ids, $1 an array of them.
template <class SomeId>
Selection OneOf(const Transaction& transaction, std::string_view column,
                const std::vector<SomeId>& ids) {
  JsonArray array;
  for (const SomeId id : ids)
    array.push_back(Json(static_cast<long long>(id.value)));
  return {
      " where j.active = 1 and p.archived = 0 and " + std::string(column) + " in (select " +
          std::string(transaction.Pick("value from json_each($1))",
                                       "value::bigint from json_array_elements_text($1::json))")),
      {ToText(Json(std::move(array)))}};
}

Selection Visible(const Transaction& transaction, const Visibility& visibility) {
  return {
      " where j.active = 1 and p.archived = 0 and " + std::string(VisibilityCondition(transaction)),
      {IdArrayText(visibility.teams), visibility.all, visibility.public_too}};
}

std::string Member(const Transaction& transaction, std::string_view name) {
  const std::string text(name);
  return transaction.dialect() == Dialect::kSqlite
             ? "coalesce(json_extract(j.config, '$." + text + "'), 0)"
             : "case when j.config::json ->> '" + text + "' = 'true' then 1 else 0 end";
}

std::string BuildColumns(std::string_view alias) {
  const std::string a(alias);
  return ", " + a + ".id, " + a + ".name, " + a + ".status, " + a + ".start_time, " + a +
         ".end_time";
}

std::optional<BuildBrief> ReadBrief(const Row& row, std::size_t column) {
  if (row.IsNull(column)) return std::nullopt;
  return BuildBrief{.id = row.IdAt<BuildId>(column),
                    .name = row.Text(column + 1),
                    .status = row.Text(column + 2),
                    .start_time = row.Integer(column + 3),
                    .end_time = row.Integer(column + 4)};
}

JobView ReadJob(const Row& row) {
  JobView job;
  job.id = row.IdAt<JobId>(0);
  job.name = row.Text(1);
  job.pipeline = row.IdAt<PipelineId>(2);
  job.pipeline_name = row.Text(3);
  job.instance_vars = row.Text(4);
  job.team_name = row.Text(5);
  job.pipeline_public = row.Bool(6);
  job.paused = row.Bool(7);
  job.paused_by = row.Text(8);
  job.paused_at = row.Integer(9);
  job.has_new_inputs = row.Bool(10);
  job.is_public = row.Bool(11);
  job.disable_manual_trigger = row.Bool(12);
  job.disable_reruns = row.Bool(13);
  job.finished_build = ReadBrief(row, 14);
  job.next_build = ReadBrief(row, 19);
  job.transition_build = ReadBrief(row, 24);
  job.team = row.IdAt<TeamId>(29);
  job.pipeline_ordering = row.Integer(30);
  job.pipeline_secondary_ordering = row.Integer(31);
  return job;
}

constexpr std::string_view kFrom =
    " from jobs j join pipelines p on p.id = j.pipeline_id join teams t on t.id = p.team_id";

std::vector<JobView> ReadJobs(Transaction& transaction, const Selection& selection) {
  std::string sql =
      "select j.id, j.name, p.id, p.name, p.instance_vars, t.name, p.public, j.paused,"
      " j.paused_by, j.paused_at, j.has_new_inputs, " +
      Member(transaction, "public") + ", " + Member(transaction, "disable_manual_trigger") + ", " +
      Member(transaction, "disable_reruns") + BuildColumns("f") + BuildColumns("n") +
      BuildColumns("x") + ", t.id, p.ordering, p.secondary_ordering" + std::string(kFrom) +
      " left join builds f on f.id = j.latest_completed_build_id"
      " left join builds n on n.id = j.next_build_id"
      " left join builds x on x.id = j.transition_build_id" +
      selection.where +
      " order by t.name, p.ordering, p.secondary_ordering, p.id, j.ordering, j.id";
  std::vector<JobView> jobs;
  for (const Row& row : transaction.QueryList(sql, selection.params))
    jobs.push_back(ReadJob(row));
  return jobs;
}

using ById = std::unordered_map<std::int64_t, JobView*>;

void ReadInputs(Transaction& transaction, const Selection& selection, const ById& jobs) {
  const std::string sql =
      "select i.job_id, i.name, r.name, i.\"trigger\", pj.name" + std::string(kFrom) +
      " join job_inputs i on i.job_id = j.id join resources r on r.id = i.resource_id"
      " left join jobs pj on pj.id = i.passed_job_id" +
      selection.where + " order by i.job_id, i.name, r.name, pj.name";
  for (const Row& row : transaction.QueryList(sql, selection.params)) {
    const auto job = jobs.find(row.Integer(0));
    if (job == jobs.end()) continue;
    auto& inputs = job->second->inputs;
    if (inputs.empty() || inputs.back().name != row.Text(1) ||
        inputs.back().resource != row.Text(2)) {
      inputs.push_back({.name = row.Text(1), .resource = row.Text(2), .trigger = row.Bool(3)});
    }
    if (!row.IsNull(4)) inputs.back().passed.push_back(row.Text(4));
  }
}

void ReadOutputs(Transaction& transaction, const Selection& selection, const ById& jobs) {
  const std::string sql = "select o.job_id, o.name, r.name" + std::string(kFrom) +
                          " join job_outputs o on o.job_id = j.id"
                          " join resources r on r.id = o.resource_id" +
                          selection.where + " order by o.job_id, o.name";
  for (const Row& row : transaction.QueryList(sql, selection.params)) {
    const auto job = jobs.find(row.Integer(0));
    if (job == jobs.end()) continue;
    job->second->outputs.push_back({.name = row.Text(1), .resource = row.Text(2)});
  }
}

/// Groups name jobs by globs; they stand in the pipelines' configurations.
void ReadGroups(Transaction& transaction, const Selection& selection, std::vector<JobView>& jobs) {
  const std::string groups(
      transaction.Pick("p.config -> '$.groups'", "(p.config::json -> 'groups')::text"));
  std::unordered_map<std::int64_t, Json> by_pipeline;
  const std::string sql = "select distinct p.id, " + groups + std::string(kFrom) + selection.where +
                          " and " + groups + " is not null";
  for (const Row& row : transaction.QueryList(sql, selection.params)) {
    if (auto json = ParseJson(row.Text(1)); json && json->IsArray()) {
      by_pipeline[row.Integer(0)] = std::move(*json);
    }
  }
  for (JobView& job : jobs) {
    const auto found = by_pipeline.find(job.pipeline.value);
    if (found == by_pipeline.end()) continue;
    for (const Json& group : found->second.AsArray()) {
      const Json* patterns = group.Find("jobs");
      if (!patterns || !patterns->IsArray()) continue;
      const bool member = std::ranges::any_of(patterns->AsArray(), [&](const Json& pattern) {
        if (!pattern.IsString()) return false;
        const auto glob = pipeline::Glob::ForGroup(pattern.AsString());
        return glob && glob->Matches(job.name);
      });
      if (member) job.groups.emplace_back(group.StringAt("name"));
    }
  }
}

std::vector<JobView> View(Transaction& transaction, const Selection& selection) {
  auto jobs = ReadJobs(transaction, selection);
  if (jobs.empty()) return jobs;
  ById by_id;
  for (JobView& job : jobs)
    by_id[job.id.value] = &job;
  ReadInputs(transaction, selection, by_id);
  ReadOutputs(transaction, selection, by_id);
  ReadGroups(transaction, selection, jobs);
  return jobs;
}

}  // namespace

std::vector<JobView> ViewJobs(Transaction& transaction, PipelineId pipeline) {
  return View(transaction, OfPipeline(pipeline));
}

std::vector<JobView> ViewAllJobs(Transaction& transaction, const Visibility& visibility) {
  return View(transaction, Visible(transaction, visibility));
}

std::vector<JobView> ViewJobsById(Transaction& transaction, const std::vector<JobId>& jobs) {
  return View(transaction, OneOf(transaction, "j.id", jobs));
}

std::vector<JobView> ViewJobsOfPipelines(Transaction& transaction,
                                         const std::vector<PipelineId>& pipelines) {
  return View(transaction, OneOf(transaction, "p.id", pipelines));
}

std::optional<JobView> ViewJob(Transaction& transaction, PipelineId pipeline,
                               std::string_view name) {
  auto jobs = View(transaction, OfName(pipeline, name));
  if (jobs.empty()) return std::nullopt;
  return std::move(jobs.front());
}

bool IsJobPublic(Transaction& transaction, JobId job) {
  const auto row = transaction.QueryOne(
      "select " + Member(transaction, "public") + " from jobs j where j.id = $1", {job});
  return row && row->Bool(0);
}

}  // namespace pinion::store
