#include "store/jobs.h"

#include <algorithm>
#include <map>
#include <set>

#include "store/change_kinds.h"

namespace pinion::store {
namespace {

std::string JobSelect() {
  return "select j.id, j.name, j.config, j.active, j.paused, j.paused_by, j.paused_at, j.ordering, "
         "j.has_new_inputs, j.inputs_determined, j.latest_completed_build_id, j.next_build_id, "
         "j.transition_build_id, p.id, p.name, p.instance_vars, p.paused, p.archived, t.id, t.name "
         "from "
         "jobs j join pipelines p on p.id = j.pipeline_id join teams t on t.id = p.team_id";
}

JobRow ReadJob(const Row& row) {
  JobRow job;
  job.id = row.As<JobTag>(0);
  job.name = row.Text(1);
  job.config = row.Text(2);
  job.active = row.Bool(3);
  job.paused = row.Bool(4);
  job.paused_by = row.OptionalText(5);
  job.paused_at = row.OptionalInteger(6);
  job.ordering = row.Integer(7);
  job.has_new_inputs = row.Bool(8);
  job.inputs_determined = row.Bool(9);
  job.latest_completed_build = row.As<BuildTag>(10);
  job.next_build = row.As<BuildTag>(11);
  job.transition_build = row.As<BuildTag>(12);
  job.pipeline = row.As<PipelineTag>(13);
  job.pipeline_name = row.Text(14);
  job.instance_vars = row.Text(15);
  job.pipeline_paused = row.Bool(16);
  job.pipeline_archived = row.Bool(17);
  job.team = row.As<TeamTag>(18);
  job.team_name = row.Text(19);
  return job;
}

std::vector<JobId> ReadIds(const Rows& rows) {
  std::vector<JobId> jobs;
  jobs.reserve(rows.size());
  for (const Row& row : rows)
    jobs.push_back(row.As<JobTag>(0));
  return jobs;
}

// Jobs that share a serial group with $1 within its pipeline, itself included even without groups.
constexpr std::string_view kPeers =
    "(select $1 union select o.job_id from job_serial_groups g join job_serial_groups o on "
    "o.serial_group = g.serial_group join jobs mine on mine.id = g.job_id join jobs other on "
    "other.id = "
    "o.job_id where g.job_id = $1 and other.pipeline_id = mine.pipeline_id)";

std::string WithPeers(std::string_view before, std::string_view after) {
  std::string sql(before);
  // The literal's type is unknown to PostgreSQL inside a union.
  std::string peers(kPeers);
  peers.replace(peers.find("select $1"), 9, "select cast($1 as bigint)");
  return sql + peers + std::string(after);
}

TeamId TeamOfJob(Transaction& transaction, JobId job) {
  const auto row = transaction.QueryOne(
      "select p.team_id from jobs j join pipelines p on p.id = j.pipeline_id where j.id = $1",
      {job});
  if (!row) throw Failure(ErrorKind::kNotFound, "no job " + std::to_string(job.value));
  return row->As<TeamTag>(0);
}

bool operator==(const NextInput& a, const NextInput& b) {
  return a.name == b.name && a.resource == b.resource && a.version == b.version &&
         a.first_occurrence == b.first_occurrence && a.error == b.error;
}

void WriteNextInput(Transaction& transaction, JobId job, const NextInput& input) {
  std::optional<std::string> error;
  if (!input.error.empty()) error = input.error;
  transaction.Execute(
      "insert into next_inputs (job_id, name, resource_id, version_id, first_occurrence, error) "
      "values "
      "($1, $2, $3, $4, $5, $6) on conflict (job_id, name) do update set resource_id = "
      "excluded.resource_id, version_id = excluded.version_id, first_occurrence = "
      "excluded.first_occurrence, error = excluded.error",
      {job, input.name, input.resource, input.version, input.first_occurrence, error});
}

}  // namespace

std::optional<JobRow> FindJob(Transaction& transaction, JobId job) {
  const auto row = transaction.QueryOne(JobSelect() + " where j.id = $1", {job});
  if (!row) return std::nullopt;
  return ReadJob(*row);
}

std::optional<JobRow> FindJobByName(Transaction& transaction, PipelineId pipeline,
                                    std::string_view name) {
  const auto row = transaction.QueryOne(
      JobSelect() + " where j.pipeline_id = $1 and j.name = $2 and j.active = 1", {pipeline, name});
  if (!row) return std::nullopt;
  return ReadJob(*row);
}

std::vector<JobRow> ListJobs(Transaction& transaction, PipelineId pipeline) {
  std::vector<JobRow> jobs;
  for (const Row& row : transaction.Query(
           JobSelect() + " where j.pipeline_id = $1 and j.active = 1 order by j.ordering, j.id",
           {pipeline})) {
    jobs.push_back(ReadJob(row));
  }
  return jobs;
}

std::vector<JobId> ListAllJobIds(Transaction& transaction) {
  std::vector<JobId> jobs;
  for (const Row& row : transaction.Query("select id from jobs"))
    jobs.push_back(row.IdAt<JobId>(0));
  return jobs;
}

bool PauseJob(Transaction& transaction, JobId job, std::string_view by) {
  const TeamId team = TeamOfJob(transaction, job);
  if (transaction.Execute(
          "update jobs set paused = 1, paused_by = $2, paused_at = $3 where id = $1 and "
          "paused = 0",
          {job, by, transaction.now()}) == 0) {
    return false;
  }
  transaction.AppendChange(kinds::kJobPaused, job.value, team);
  return true;
}

bool UnpauseJob(Transaction& transaction, JobId job) {
  const TeamId team = TeamOfJob(transaction, job);
  if (transaction.Execute(
          "update jobs set paused = 0, paused_by = null, paused_at = null where id = $1 "
          "and paused = 1",
          {job}) == 0) {
    return false;
  }
  transaction.AppendChange(kinds::kJobUnpaused, job.value, team);
  return true;
}

void RequestSchedule(Transaction& transaction, JobId job) {
  transaction.AppendChange(kinds::kJobScheduleRequested, job.value, TeamOfJob(transaction, job));
}

void LockForScheduling(Transaction& transaction, const std::vector<JobId>& jobs) {
  if (transaction.dialect() == Dialect::kSqlite) return;  // it has one writer
  std::set<std::int64_t> all;
  for (const JobId job : jobs) {
    for (const Row& row :
         transaction.Query(WithPeers("select id from jobs where id in ", ""), {job})) {
      all.insert(row.Integer(0));
    }
  }
  for (const std::int64_t id : all) {
    transaction.Query("select id from jobs where id = $1 for update", {id});
  }
}

std::vector<JobId> JobsOfScope(Transaction& transaction, ScopeId scope) {
  return ReadIds(transaction.Query(
      "select distinct j.id from resources r join job_inputs i on i.resource_id = r.id join jobs j "
      "on "
      "j.id = i.job_id join pipelines p on p.id = j.pipeline_id where r.scope_id = $1 and "
      "i.passed_job_id is null and j.active = 1 and p.archived = 0 order by j.id",
      {scope}));
}

std::vector<JobId> JobsOfResource(Transaction& transaction, ResourceId resource) {
  return ReadIds(transaction.Query(
      "select distinct j.id from job_inputs i join jobs j on j.id = i.job_id join pipelines p on "
      "p.id = "
      "j.pipeline_id where i.resource_id = $1 and j.active = 1 and p.archived = 0 order by j.id",
      {resource}));
}

std::vector<JobId> JobsAfter(Transaction& transaction, JobId job) {
  return ReadIds(transaction.Query(
      "select distinct j.id from job_inputs i join jobs j on j.id = i.job_id join pipelines p on "
      "p.id = "
      "j.pipeline_id where i.passed_job_id = $1 and j.active = 1 and p.archived = 0 order by j.id",
      {job}));
}

std::vector<JobId> JobsOfPipeline(Transaction& transaction, PipelineId pipeline) {
  return ReadIds(transaction.Query(
      "select j.id from jobs j where j.pipeline_id = $1 and j.active = 1 order by j.ordering, j.id",
      {pipeline}));
}

std::vector<JobId> WaitingPeers(Transaction& transaction, JobId job) {
  return ReadIds(transaction.Query(
      WithPeers(
          "select distinct b.job_id from builds b where b.status = 'pending' and b.job_id in ",
          " and b.job_id <> $1 order by b.job_id"),
      {job}));
}

std::vector<JobId> JobsWithPendingBuilds(Transaction& transaction) {
  return ReadIds(transaction.Query(
      "select distinct job_id from builds where status = 'pending' and job_id is not null order by "
      "job_id"));
}

std::vector<JobInputRow> ListJobInputs(Transaction& transaction, JobId job) {
  std::vector<JobInputRow> inputs;
  for (const Row& row : transaction.Query(
           "select i.name, i.resource_id, r.name, i.passed_job_id, p.name, i.\"trigger\", "
           "i.version, "
           "r.pinned_version from job_inputs i join resources r on r.id = i.resource_id left join "
           "jobs p "
           "on p.id = i.passed_job_id where i.job_id = $1 order by i.name, i.passed_job_id",
           {job})) {
    if (inputs.empty() || inputs.back().name != row.Text(0)) {
      inputs.push_back({row.Text(0),
                        row.As<ResourceTag>(1),
                        row.Text(2),
                        {},
                        {},
                        row.Bool(5),
                        row.OptionalText(6),
                        row.OptionalText(7)});
    }
    if (row.IsNull(3)) continue;
    inputs.back().passed.push_back(row.As<JobTag>(3));
    inputs.back().passed_names.push_back(row.Text(4));
  }
  return inputs;
}

std::vector<JobOutputRow> ListJobOutputs(Transaction& transaction, JobId job) {
  std::vector<JobOutputRow> outputs;
  for (const Row& row : transaction.Query(
           "select o.name, o.resource_id, r.name from job_outputs o join resources r on r.id = "
           "o.resource_id where o.job_id = $1 order by o.name",
           {job})) {
    outputs.push_back({row.Text(0), row.As<ResourceTag>(1), row.Text(2)});
  }
  return outputs;
}

NextInputs ReadNextInputs(Transaction& transaction, JobId job) {
  NextInputs next;
  for (const Row& row : transaction.Query("select name, resource_id, version_id, first_occurrence, "
                                          "error from next_inputs where job_id "
                                          "= $1 order by name",
                                          {job})) {
    next.inputs.push_back(
        {row.Text(0), row.As<ResourceTag>(1), row.As<VersionTag>(2), row.Bool(3), row.Text(4)});
  }
  for (const Row& row : transaction.Query(
           "select from_build_id from next_pipes where job_id = $1 order by from_build_id",
           {job})) {
    next.pipes.push_back(row.As<BuildTag>(0));
  }
  const auto row = transaction.QueryOne("select inputs_determined from jobs where id = $1", {job});
  next.determined = row && row->Bool(0);
  return next;
}

bool SaveNextInputs(Transaction& transaction, JobId job, const NextInputs& next) {
  const NextInputs before = ReadNextInputs(transaction, job);
  bool changed = false;
  std::map<std::string, const NextInput*> old;
  for (const NextInput& input : before.inputs)
    old[input.name] = &input;
  for (const NextInput& input : next.inputs) {
    const auto found = old.find(input.name);
    const bool same = found != old.end() && *found->second == input;
    if (found != old.end()) old.erase(found);
    if (same) continue;
    WriteNextInput(transaction, job, input);
    changed = true;
  }
  for (const auto& [name, input] : old) {
    transaction.Execute("delete from next_inputs where job_id = $1 and name = $2", {job, name});
    changed = true;
  }
  const std::set<BuildId> pipes(next.pipes.begin(), next.pipes.end());
  if (!std::ranges::equal(before.pipes, pipes)) {
    transaction.Execute("delete from next_pipes where job_id = $1", {job});
    for (const BuildId build : pipes) {
      transaction.Execute("insert into next_pipes (job_id, from_build_id) values ($1, $2)",
                          {job, build});
    }
    changed = true;
  }
  if (before.determined != next.determined) {
    transaction.Execute("update jobs set inputs_determined = $2 where id = $1",
                        {job, next.determined});
    changed = true;
  }
  return changed;
}

void SetHasNewInputs(Transaction& transaction, JobId job, bool has_new_inputs) {
  if (transaction.Execute(
          "update jobs set has_new_inputs = $2 where id = $1 and has_new_inputs <> $2",
          {job, has_new_inputs}) > 0) {
    transaction.AppendChange(kinds::kJobInputs, job.value, TeamOfJob(transaction, job));
  }
}

bool AdoptNextInputs(Transaction& transaction, JobId job, BuildId build) {
  const NextInputs next = ReadNextInputs(transaction, job);
  if (!next.determined) return false;
  // A version may be gone since it was found (its scope was cleared): its row is null then, or
  // missing.
  const auto missing = transaction.QueryOne(
      "select name from next_inputs where job_id = $1 and error is null and not exists (select 1 "
      "from "
      "versions v where v.id = version_id) limit 1",
      {job});
  if (missing) {
    transaction.Execute(
        "update next_inputs set error = $3 where job_id = $1 and name = $2",
        {job, missing->Text(0), "chosen version of input " + missing->Text(0) + " not available"});
    transaction.Execute("update jobs set inputs_determined = 0 where id = $1", {job});
    return false;
  }
  transaction.Execute("delete from build_inputs where build_id = $1", {build});
  transaction.Execute("delete from build_pipes where to_build_id = $1", {build});
  transaction.Execute(
      "insert into build_inputs (build_id, name, resource_id, version_id, first_occurrence) select "
      "cast($2 as bigint), name, resource_id, version_id, first_occurrence from next_inputs where "
      "job_id "
      "= $1",
      {job, build});
  transaction.Execute(
      "insert into build_pipes (to_build_id, from_build_id) select cast($2 as bigint), "
      "from_build_id from next_pipes where job_id = $1",
      {job, build});
  transaction.Execute("update builds set inputs_ready = 1 where id = $1", {build});
  return true;
}

RerunInputs AdoptRerunInputs(Transaction& transaction, BuildId build, BuildId original) {
  const auto row =
      transaction.QueryOne("select inputs_ready from builds where id = $1", {original});
  if (!row) return RerunInputs::kGone;
  if (!row->Bool(0)) return RerunInputs::kNotReady;
  // Versions that were deleted, or that belong to another scope than the resource's now, cannot be
  // got.
  const auto gone = transaction.QueryOne(
      "select 1 from build_inputs i left join versions v on v.id = i.version_id left join "
      "resources r "
      "on r.id = i.resource_id and r.scope_id = v.scope_id where i.build_id = $1 and (v.id is null "
      "or "
      "r.id is null) limit 1",
      {original});
  if (gone) return RerunInputs::kGone;
  transaction.Execute("delete from build_inputs where build_id = $1", {build});
  transaction.Execute("delete from build_pipes where to_build_id = $1", {build});
  transaction.Execute(
      "insert into build_inputs (build_id, name, resource_id, version_id, first_occurrence) select "
      "cast($2 as bigint), name, resource_id, version_id, 0 from build_inputs where build_id = $1",
      {original, build});
  transaction.Execute(
      "insert into build_pipes (to_build_id, from_build_id) select cast($2 as bigint), "
      "from_build_id from build_pipes where to_build_id = $1",
      {original, build});
  transaction.Execute("update builds set inputs_ready = 1 where id = $1", {build});
  return RerunInputs::kAdopted;
}

std::int64_t CountInFlight(Transaction& transaction, JobId job) {
  return transaction
      .QueryOne(
          "select count(*) from builds where job_id = $1 and status in ('pending', 'started') and "
          "(status = 'started' or scheduled = 1)",
          {job})
      ->Integer(0);
}

std::int64_t CountInFlightOfGroups(Transaction& transaction, JobId job) {
  return transaction
      .QueryOne(WithPeers("select count(*) from builds where status in ('pending', 'started') and "
                          "(status = 'started' or scheduled = 1) and job_id in ",
                          ""),
                {job})
      ->Integer(0);
}

std::optional<BuildId> FirstPendingOfGroups(Transaction& transaction, JobId job) {
  // Inputs of reruns are those of what they repeat, and a build that waits for checks may yet find
  // its own: neither is passed over for the inputs that its job lacks.
  const auto row = transaction.QueryOne(
      WithPeers(
          "select b.id from builds b join jobs j on j.id = b.job_id where b.status = 'pending' and "
          "j.paused = 0 and (j.inputs_determined = 1 or b.rerun_of is not null) and b.job_id in ",
          " order by coalesce(b.rerun_of, b.id), b.id limit 1"),
      {job});
  if (!row) return std::nullopt;
  return row->As<BuildTag>(0);
}

void SetScheduled(Transaction& transaction, BuildId build) {
  transaction.Execute("update builds set scheduled = 1 where id = $1 and status = 'pending'",
                      {build});
}

void SetNeedsCheck(Transaction& transaction, BuildId build, bool needs_check) {
  transaction.Execute("update builds set needs_check = $2 where id = $1 and needs_check <> $2",
                      {build, needs_check});
}

std::vector<ResourceId> UncheckedInputs(Transaction& transaction, const BuildRow& build) {
  std::vector<ResourceId> resources;
  const std::string select =
      "select distinct r.id from job_inputs i join resources r on r.id = i.resource_id ";
  const Rows rows =
      build.manual
          ? transaction.Query(select +
                                  "left join scopes s on s.id = r.scope_id where i.job_id = $1 and "
                                  "i.passed_job_id is null and r.pinned_version is null and "
                                  "coalesce(s.last_check_newest_build, 0) < $2 order by r.id",
                              {build.job, build.id})
          : transaction.Query(select +
                                  "join scopes s on s.id = r.scope_id where i.job_id = $1 and "
                                  "i.passed_job_id is null and i.\"trigger\" = 0 and "
                                  "r.pinned_version is null and s.next_check < $2 order by r.id",
                              {build.job, build.create_time});
  for (const Row& row : rows)
    resources.push_back(row.As<ResourceTag>(0));
  return resources;
}

}  // namespace pinion::store
