#include "store/builds.h"

#include <array>
#include <set>

#include "base/mutant.h"
#include "protocol/plan.h"
#include "store/change_kinds.h"
#include "store/leases.h"
#include "store/pipeline_parents.h"

namespace pinion::store {
namespace {

constexpr std::array<std::string_view, 6> kStatusNames = {"pending", "started", "succeeded",
                                                          "failed",  "errored", "aborted"};

// The job's row is locked before any of its builds' rows, everywhere: no two transactions wait for
// each other. SQLite has one writer and needs no such lock.
void LockJob(Transaction& transaction, JobId job) {
  if (!job || transaction.dialect() == Dialect::kSqlite) return;
  transaction.Query("select id from jobs where id = $1 for update", {job});
}

void GuardOwner(Transaction& transaction, const Owner& owner) {
  if (PINION_MUTANT("epoch-not-checked")) return;
  if (HoldsLease(transaction, owner.node, owner.epoch)) return;
  throw Failure(ErrorKind::kConflict, "node " + owner.node + " no longer holds lease " +
                                          std::to_string(owner.epoch) +
                                          ": another process has taken over its builds");
}

// What the feed and the job need of a build whose status changes.
struct Place {
  TeamId team;
  PipelineId pipeline;
  JobId job;
  BuildStatus status = BuildStatus::kPending;
  BuildId rerun_of;
  std::optional<Owner> owner;
};

std::optional<Place> FindPlace(Transaction& transaction, BuildId build) {
  const auto row = transaction.QueryOne(
      "select team_id, pipeline_id, job_id, status, rerun_of, owner_node, owner_epoch from builds "
      "where id = $1",
      {build});
  if (!row) return std::nullopt;
  Place place{row->As<TeamTag>(0),  row->As<PipelineTag>(1),
              row->As<JobTag>(2),   ParseBuildStatus(row->Text(3)),
              row->As<BuildTag>(4), std::nullopt};
  if (!row->IsNull(5)) place.owner = Owner{row->Text(5), row->Integer(6)};
  return place;
}

Place PlaceOrThrow(Transaction& transaction, BuildId build) {
  if (auto place = FindPlace(transaction, build)) return *place;
  throw Failure(ErrorKind::kNotFound, "no build " + std::to_string(build.value));
}

void AppendBuildChange(Transaction& transaction, std::string_view kind, BuildId build,
                       const Place& place, BuildStatus status) {
  JsonObject data;
  if (place.job) data.Set("job", place.job.value);
  if (place.pipeline) data.Set("pipeline", place.pipeline.value);
  data.Set("status", Name(status));
  transaction.AppendChange(kind, build.value, place.team, std::move(data));
}

constexpr std::string_view kFinishedStatuses = "('succeeded', 'failed', 'errored', 'aborted')";

// The newest ended build that is no rerun.
BuildId LatestCompleted(Transaction& transaction, JobId job) {
  const auto row = transaction.QueryOne(
      "select id from builds where job_id = $1 and rerun_of is null and status in " +
          std::string(kFinishedStatuses) + " order by id desc limit 1",
      {job});
  return row ? row->As<BuildTag>(0) : BuildId{};
}

void UpdateNextBuild(Transaction& transaction, JobId job, BuildId latest) {
  // Reruns of older builds than the latest are not what comes next.
  transaction.Execute(
      "update jobs set next_build_id = (select min(id) from builds where job_id = $1 and "
      "status in ('pending', 'started') and (rerun_of is null or rerun_of = $2)) where id = $1",
      {job, latest.value});
}

// A build that turned the job's outcome; `latest` is what the job showed until now.
void UpdateTransition(Transaction& transaction, BuildId build, const Place& place,
                      BuildStatus status) {
  const auto latest = transaction.QueryOne(
      "select b.id, b.status from jobs j join builds b on b.id = j.latest_completed_build_id "
      "where j.id = $1",
      {place.job});
  if (latest) {
    const BuildId latest_id = latest->As<BuildTag>(0);
    if (build < latest_id) return;  // queued earlier, ended later: the job's state is not its
    if (ParseBuildStatus(latest->Text(1)) == status) return;
    if (place.rerun_of && place.rerun_of != latest_id) return;
  }
  transaction.Execute("update jobs set transition_build_id = $2 where id = $1", {place.job, build});
}

void UpdateLatest(Transaction& transaction, JobId job) {
  const BuildId latest = LatestCompleted(transaction, job);
  BuildId shown = latest;
  if (latest) {
    const auto rerun =
        transaction.QueryOne("select id from builds where rerun_of = $1 and status in " +
                                 std::string(kFinishedStatuses) + " order by id desc limit 1",
                             {latest});
    if (rerun) shown = rerun->As<BuildTag>(0);
  }
  transaction.Execute("update jobs set latest_completed_build_id = $2 where id = $1", {job, shown});
  UpdateNextBuild(transaction, job, latest);
}

// What the build had of each resource, outputs before inputs: a version that it put counts before
// the one that it got.
void WriteSucceededVersions(Transaction& transaction, BuildId build, const Place& place) {
  std::set<std::pair<std::int64_t, std::int64_t>> seen;
  std::int64_t position = 0;
  const auto write = [&](const Rows& rows) {
    for (const Row& row : rows) {
      if (!seen.emplace(row.Integer(0), row.Integer(1)).second) continue;
      transaction.Execute(
          "insert into succeeded_versions (job_id, build_id, rerun_of, resource_id, version_id, "
          "position) values ($1, $2, $3, $4, $5, $6)",
          {place.job, build, place.rerun_of, row.Integer(0), row.Integer(1), ++position});
    }
  };
  write(
      transaction.Query("select resource_id, version_id from build_outputs where build_id = $1 "
                        "order by resource_id, position",
                        {build}));
  write(transaction.Query(
      "select resource_id, version_id from build_inputs where build_id = $1 order by name",
      {build}));
}

BuildId InsertStarted(Transaction& transaction, const NewStartedBuild& build, std::string_view name,
                      const protocol::Plan& plan) {
  if (build.owner) GuardOwner(transaction, *build.owner);
  std::optional<std::string> node;
  std::optional<std::int64_t> epoch;
  if (build.owner) {
    node = build.owner->node;
    epoch = build.owner->epoch;
  }
  const std::string text = protocol::PlanText(plan);
  const std::string public_text = ToText(protocol::PublicPlan(plan));
  const auto row = transaction.QueryOne(
      "insert into builds (name, team_id, pipeline_id, resource_id, resource_type_id, status, "
      "manual, "
      "created_by, create_time, start_time, scheduled, inputs_ready, plan, public_plan, "
      "owner_node, "
      "owner_epoch) values ($1, $2, $3, $4, $5, 'started', $6, $7, $8, $8, 1, 1, $9, $10, $11, "
      "$12) "
      "returning id",
      {name, build.team, build.pipeline, build.resource, build.resource_type, build.manual,
       build.created_by, transaction.now(), text, public_text, node, epoch});
  const BuildId id = row->As<BuildTag>(0);
  if (name.empty()) {  // upstream names one-off builds by their id
    transaction.Execute("update builds set name = $2 where id = $1",
                        {id, std::to_string(id.value)});
  }
  const Place place{build.team, build.pipeline, {}, BuildStatus::kStarted, {}, std::nullopt};
  AppendBuildChange(transaction, kinds::kBuildCreated, id, place, BuildStatus::kStarted);
  AppendBuildChange(transaction, kinds::kBuildStarted, id, place, BuildStatus::kStarted);
  return id;
}

struct RerunName {
  BuildId original;
  std::string name;
  std::int64_t number = 0;
};

RerunName NextRerun(Transaction& transaction, JobId job, BuildId build) {
  const auto original = transaction.QueryOne(
      "select o.id, o.name from builds b join builds o on o.id = coalesce(b.rerun_of, b.id) "
      "where b.id = $1 and b.job_id = $2",
      {build, job});
  if (!original) {
    throw Failure(ErrorKind::kNotFound,
                  "no build " + std::to_string(build.value) + " of this job to run again");
  }
  RerunName rerun;
  rerun.original = original->As<BuildTag>(0);
  rerun.number = 1 + transaction
                         .QueryOne(
                             "select coalesce(max(rerun_number), 0) from builds where "
                             "rerun_of = $1",
                             {rerun.original})
                         ->Integer(0);
  rerun.name = original->Text(1) + "." + std::to_string(rerun.number);
  return rerun;
}

}  // namespace

std::string_view Name(BuildStatus status) {
  return kStatusNames.at(static_cast<std::size_t>(status));
}

BuildStatus ParseBuildStatus(std::string_view text) {
  for (std::size_t i = 0; i < kStatusNames.size(); ++i) {
    if (kStatusNames[i] == text) return static_cast<BuildStatus>(i);
  }
  throw Failure(ErrorKind::kInternal, "a build has the unknown status " + std::string(text));
}

BuildId CreateJobBuild(Transaction& transaction, JobId job, const NewJobBuild& build) {
  LockJob(transaction, job);
  const auto owner = transaction.QueryOne(
      "select p.team_id, p.id from jobs j join pipelines p on p.id = j.pipeline_id where j.id = $1",
      {job});
  if (!owner) throw Failure(ErrorKind::kNotFound, "no job " + std::to_string(job.value));
  RerunName rerun;
  std::optional<std::int64_t> rerun_number;
  if (build.rerun_of) {
    rerun = NextRerun(transaction, job, build.rerun_of);
    rerun_number = rerun.number;
  } else {
    const auto number = transaction.QueryOne(
        "update jobs set build_number = build_number + 1 where id = $1 returning build_number",
        {job});
    rerun.name = std::to_string(number->Integer(0));
  }
  // Only what comes from a check can be newer than known: passed and pinned inputs cannot.
  const bool needs_check =
      build.manual && !build.rerun_of &&
      transaction
          .QueryOne(
              "select 1 from job_inputs i join resources r on r.id = i.resource_id where "
              "i.job_id = $1 and i.passed_job_id is null and r.pinned_version is null limit 1",
              {job})
          .has_value();
  const Place place{
      owner->As<TeamTag>(0), owner->As<PipelineTag>(1), job, BuildStatus::kPending, rerun.original,
      std::nullopt};
  const auto row = transaction.QueryOne(
      "insert into builds (name, team_id, pipeline_id, job_id, status, manual, created_by, "
      "create_time, needs_check, rerun_of, rerun_number) values ($1, $2, $3, $4, 'pending', $5, "
      "$6, "
      "$7, $8, $9, $10) returning id",
      {rerun.name, place.team, place.pipeline, job, build.manual, build.created_by,
       transaction.now(), needs_check, rerun.original, rerun_number});
  const BuildId id = row->As<BuildTag>(0);
  UpdateNextBuild(transaction, job, LatestCompleted(transaction, job));
  AppendBuildChange(transaction, kinds::kBuildCreated, id, place, BuildStatus::kPending);
  return id;
}

std::optional<BuildId> EnsurePendingBuild(Transaction& transaction, JobId job) {
  LockJob(transaction, job);
  if (transaction.QueryOne("select 1 from builds where job_id = $1 and status = 'pending' limit 1",
                           {job})) {
    return std::nullopt;
  }
  return CreateJobBuild(transaction, job, {});
}

BuildId CreateOneOffBuild(Transaction& transaction, const NewStartedBuild& build,
                          const protocol::Plan& plan) {
  return InsertStarted(transaction, build, "", plan);
}

std::optional<BuildId> CreateCheckBuild(Transaction& transaction, const NewStartedBuild& build,
                                        const protocol::Plan& plan) {
  if (!build.manual) {
    const auto running = build.resource
                             ? transaction.QueryOne(
                                   "select 1 from builds where resource_id = $1 and status "
                                   "= 'started' limit 1",
                                   {build.resource})
                             : transaction.QueryOne(
                                   "select 1 from builds where resource_type_id = $1 and "
                                   "status = 'started' limit 1",
                                   {build.resource_type});
    if (running) return std::nullopt;
  }
  return InsertStarted(transaction, build, "check", plan);
}

bool StartBuild(Transaction& transaction, BuildId build, const protocol::Plan& plan,
                const std::optional<Owner>& owner) {
  const auto place = FindPlace(transaction, build);
  if (!place) return false;
  LockJob(transaction, place->job);
  if (owner) GuardOwner(transaction, *owner);
  std::optional<std::string> node;
  std::optional<std::int64_t> epoch;
  if (owner) {
    node = owner->node;
    epoch = owner->epoch;
  }
  const auto changed = transaction.Execute(
      "update builds set status = 'started', start_time = $2, plan = $3, public_plan = $4, "
      "owner_node = $5, owner_epoch = $6, needs_check = 0 where id = $1 and status = 'pending' and "
      "aborted = 0",
      {build, transaction.now(), protocol::PlanText(plan), ToText(protocol::PublicPlan(plan)), node,
       epoch});
  if (changed == 0) return false;
  AppendBuildChange(transaction, kinds::kBuildStarted, build, *place, BuildStatus::kStarted);
  return true;
}

bool ClaimBuild(Transaction& transaction, BuildId build, const Owner& owner,
                const std::optional<Owner>& from) {
  GuardOwner(transaction, owner);
  if (!from) {
    return transaction.Execute(
               "update builds set owner_node = $2, owner_epoch = $3 where id = $1 and status = "
               "'started' and owner_node is null",
               {build, owner.node, owner.epoch}) > 0;
  }
  return transaction.Execute(
             "update builds set owner_node = $2, owner_epoch = $3 where id = $1 and status = "
             "'started' and owner_node = $4 and owner_epoch = $5",
             {build, owner.node, owner.epoch, from->node, from->epoch}) > 0;
}

std::int64_t TakeOverBuilds(Transaction& transaction, std::string_view dead_node,
                            const Owner& owner) {
  return transaction.Execute(
      "update builds set owner_node = $2, owner_epoch = $3 where status = 'started' and "
      "owner_node = $1",
      {dead_node, owner.node, owner.epoch});
}

bool FinishBuild(Transaction& transaction, BuildId build, BuildStatus status,
                 const std::optional<Owner>& owner) {
  if (!IsFinished(status)) {
    throw Failure(ErrorKind::kInternal, "a build cannot end as " + std::string(Name(status)));
  }
  const auto before = FindPlace(transaction, build);
  if (!before) return false;
  LockJob(transaction, before->job);
  if (owner) GuardOwner(transaction, *owner);
  const Place place = PlaceOrThrow(transaction, build);
  if (IsFinished(place.status)) return false;
  if (owner && place.owner != owner && !PINION_MUTANT("epoch-not-checked")) {
    throw Failure(ErrorKind::kConflict, "build " + std::to_string(build.value) +
                                            " is no longer run by node " + owner->node);
  }
  if (transaction.Execute("update builds set status = $2, end_time = $3, plan = null where id = $1 "
                          "and status in ('pending', 'started')",
                          {build, Name(status), transaction.now()}) == 0) {
    return false;
  }
  transaction.Execute("delete from build_steps where build_id = $1", {build});
  if (place.job) {
    if (status == BuildStatus::kSucceeded) {
      WriteSucceededVersions(transaction, build, place);
      ArchiveLeftBehind(transaction, place.job, build);
    }
    UpdateTransition(transaction, build, place, status);
    UpdateLatest(transaction, place.job);
  }
  AppendBuildChange(transaction, kinds::kBuildFinished, build, place, status);
  return true;
}

bool SetAborted(Transaction& transaction, BuildId build) {
  const auto before = FindPlace(transaction, build);
  if (!before) return false;
  LockJob(transaction, before->job);
  const Place place = PlaceOrThrow(transaction, build);
  if (IsFinished(place.status)) return false;
  if (transaction.Execute("update builds set aborted = 1 where id = $1 and aborted = 0", {build}) >
      0) {
    AppendBuildChange(transaction, kinds::kBuildAborted, build, place, place.status);
  }
  if (place.status == BuildStatus::kPending) {
    FinishBuild(transaction, build, BuildStatus::kAborted);
  }
  return true;
}

void SetBuildComment(Transaction& transaction, BuildId build, std::string_view comment) {
  const Place place = PlaceOrThrow(transaction, build);
  transaction.Execute("update builds set comment = $2 where id = $1", {build, comment});
  AppendBuildChange(transaction, kinds::kBuildCommented, build, place, place.status);
}

void SetReaped(Transaction& transaction, BuildId build) {
  transaction.Execute("update builds set reap_time = $2 where id = $1 and reap_time is null",
                      {build, transaction.now()});
}

void SaveBuildInput(Transaction& transaction, BuildId build, std::string_view name,
                    ResourceId resource, VersionId version, bool first_occurrence) {
  transaction.Execute(
      "insert into build_inputs (build_id, name, resource_id, version_id, first_occurrence) values "
      "($1, $2, $3, $4, $5) on conflict (build_id, name) do update set resource_id = "
      "excluded.resource_id, version_id = excluded.version_id, first_occurrence = "
      "excluded.first_occurrence",
      {build, name, resource, version, first_occurrence});
}

void SaveBuildOutput(Transaction& transaction, BuildId build, std::string_view name,
                     ResourceId resource, VersionId version) {
  transaction.Execute(
      "insert into build_outputs (build_id, name, resource_id, version_id, position) values ($1, "
      "$2, "
      "$3, $4, (select count(*) from build_outputs where build_id = $1)) on conflict do nothing",
      {build, name, resource, version});
}

std::vector<StepRow> ListSteps(Transaction& transaction, BuildId build) {
  std::vector<StepRow> steps;
  for (const Row& row : transaction.Query(
           "select plan_id, attempt, state, result from build_steps where build_id = $1 order by "
           "plan_id, attempt",
           {build})) {
    steps.push_back(
        {row.Text(0), row.Integer(1), row.Text(2), ValueOrThrow(ParseJson(row.Text(3)))});
  }
  return steps;
}

void GuardBuild(Transaction& transaction, BuildId build, const Owner& owner) {
  GuardOwner(transaction, owner);
  const auto row = transaction.QueryOne(
      transaction.Pick(
          "select 1 from builds where id = $1 and status = 'started' and owner_node = $2 "
          "and owner_epoch = $3",
          "select 1 from builds where id = $1 and status = 'started' and owner_node = $2 "
          "and owner_epoch = $3 for share"),
      {build, owner.node, owner.epoch});
  if (!row && !PINION_MUTANT("epoch-not-checked")) {
    throw Failure(ErrorKind::kConflict, "build " + std::to_string(build.value) +
                                            " has ended or is no longer run by node " + owner.node);
  }
}

void SaveStep(Transaction& transaction, BuildId build, const Owner& owner, const StepRow& step) {
  GuardBuild(transaction, build, owner);
  transaction.Execute(
      "insert into build_steps (build_id, plan_id, attempt, state, result) values ($1, $2, $3, $4, "
      "$5) on conflict (build_id, plan_id, attempt) do update set state = excluded.state, result = "
      "excluded.result",
      {build, step.plan_id, step.attempt, step.state, ToText(step.result)});
}

}  // namespace pinion::store
