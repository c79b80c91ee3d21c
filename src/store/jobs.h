#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "store/builds.h"
#include "store/database.h"

/// Jobs: rows, who depends on whom, and what their next build would take. They are written by
/// whoever saves pipelines (pipelines.h). Every function works inside the caller's transaction.
namespace pinion::store {

struct JobRow {
  JobId id;
  std::string name;
  std::string config;  ///< JSON of the normal form
  bool active = true;
  bool paused = false;
  std::optional<std::string> paused_by;
  std::optional<std::int64_t> paused_at;
  std::int64_t ordering = 0;
  bool has_new_inputs = false;
  bool inputs_determined = false;  ///< next inputs hold a version for every input
  BuildId latest_completed_build;
  BuildId next_build;
  BuildId transition_build;
  PipelineId pipeline;
  std::string pipeline_name;
  std::string instance_vars;
  bool pipeline_paused = false;
  bool pipeline_archived = false;
  TeamId team;
  std::string team_name;
};

std::optional<JobRow> FindJob(Transaction& transaction, JobId job);
std::optional<JobRow> FindJobByName(Transaction& transaction, PipelineId pipeline,
                                    std::string_view name);
/// Active ones, in the order of the configuration.
std::vector<JobRow> ListJobs(Transaction& transaction, PipelineId pipeline);

/// Of all pipelines, inactive ones too: their builds are still there.
std::vector<JobId> ListAllJobIds(Transaction& transaction);

/// `job.paused`; false if it was paused already.
bool PauseJob(Transaction& transaction, JobId job, std::string_view by);
/// `job.unpaused`.
bool UnpauseJob(Transaction& transaction, JobId job);
/// `job.schedule_requested`: have it looked at again.
void RequestSchedule(Transaction& transaction, JobId job);

/// Locks the rows of the jobs and of every job that shares a serial group with them, in one order,
/// until the transaction ends: what is decided about their builds is decided by one at a time.
void LockForScheduling(Transaction& transaction, const std::vector<JobId>& jobs);

// --- Who depends on whom -----------------------------------------------------------------------
// Active jobs only; archived pipelines' are left out.

std::vector<JobId> JobsOfScope(Transaction& transaction, ScopeId scope);  ///< gets without passed
std::vector<JobId> JobsOfResource(Transaction& transaction, ResourceId resource);
std::vector<JobId> JobsAfter(Transaction& transaction, JobId job);  ///< that name it in passed
std::vector<JobId> JobsOfPipeline(Transaction& transaction, PipelineId pipeline);
/// Others that share a serial group and have pending builds.
std::vector<JobId> WaitingPeers(Transaction& transaction, JobId job);
/// Every job with a pending build: what a sweep looks at first.
std::vector<JobId> JobsWithPendingBuilds(Transaction& transaction);

struct JobInputRow {
  std::string name;
  ResourceId resource;
  std::string resource_name;
  std::vector<JobId> passed;
  std::vector<std::string> passed_names;
  bool trigger = false;
  std::optional<std::string> version;         ///< nothing: latest; "every"; or JSON
  std::optional<std::string> pinned_version;  ///< of the resource, JSON
};
/// By name.
std::vector<JobInputRow> ListJobInputs(Transaction& transaction, JobId job);

struct JobOutputRow {
  std::string name;
  ResourceId resource;
  std::string resource_name;
};
std::vector<JobOutputRow> ListJobOutputs(Transaction& transaction, JobId job);

// --- Next inputs -------------------------------------------------------------------------------

struct NextInput {
  std::string name;
  ResourceId resource;
  VersionId version;  ///< 0 when there is an error
  bool first_occurrence = false;
  std::string error;  ///< "" when there is a version
};
struct NextInputs {
  std::vector<NextInput> inputs;
  bool determined = false;
  std::vector<BuildId> pipes;  ///< builds of passed jobs that vouched
};
/// Writes only what differs from before; true if something did.
bool SaveNextInputs(Transaction& transaction, JobId job, const NextInputs& next);
NextInputs ReadNextInputs(Transaction& transaction, JobId job);
void SetHasNewInputs(Transaction& transaction, JobId job, bool has_new_inputs);

/// Makes the job's next inputs the build's own, with the builds that vouched for them. False if
/// they are not determined, or a version of them is gone.
bool AdoptNextInputs(Transaction& transaction, JobId job, BuildId build);
/// The same from the build that it repeats. `kGone`: a version no longer exists.
enum class RerunInputs { kAdopted, kNotReady, kGone };
RerunInputs AdoptRerunInputs(Transaction& transaction, BuildId build, BuildId original);

// --- Limits ------------------------------------------------------------------------------------

/// Builds of the job that hold a place: scheduled and not ended.
std::int64_t CountInFlight(Transaction& transaction, JobId job);
/// The same over all jobs of its serial groups.
std::int64_t CountInFlightOfGroups(Transaction& transaction, JobId job);
/// The pending build that comes first in the job's serial groups, among jobs that are not paused
/// and whose inputs are determined; of this job alone if it has no groups.
std::optional<BuildId> FirstPendingOfGroups(Transaction& transaction, JobId job);
/// The build takes its place.
void SetScheduled(Transaction& transaction, BuildId build);
void SetNeedsCheck(Transaction& transaction, BuildId build, bool needs_check);

/// Inputs without passed and pin whose last check ended before the build was created: resource ids.
/// All for builds started by hand; else those that do not trigger and whose next check was due
/// before it.
std::vector<ResourceId> UncheckedInputs(Transaction& transaction, const BuildRow& build);

}  // namespace pinion::store
