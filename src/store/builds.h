#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/json.h"
#include "store/database.h"

namespace pinion::protocol {
struct Plan;
}

/// Builds: their rows, inputs, outputs and steps. Every function works inside the caller's
/// transaction; all may be run again after a crash or a lost race. A Failure of kNotFound names
/// what is missing, kConflict says that the state does not allow it.
namespace pinion::store {

enum class BuildStatus { kPending, kStarted, kSucceeded, kFailed, kErrored, kAborted };
std::string_view Name(BuildStatus status);
/// kInternal Failure for another text: only this module writes it.
BuildStatus ParseBuildStatus(std::string_view text);
inline bool IsFinished(BuildStatus status) {
  return status > BuildStatus::kStarted;
}

/// The process that runs a build, by its lease. Writes in a build's name carry it, and are refused
/// (kConflict) once the lease has another epoch.
struct Owner {
  std::string node;
  std::int64_t epoch = 0;
  friend bool operator==(const Owner&, const Owner&) = default;
};

/// A build with the names that stand around it. Times are unix seconds.
struct BuildRow {
  BuildId id;
  std::string
      name;  ///< number within the job, "5.1" for its first rerun; id for one-off builds; "check"
  TeamId team;
  std::string team_name;
  PipelineId pipeline;  ///< 0 for one-off builds
  std::string pipeline_name;
  std::string instance_vars;  ///< JSON with sorted keys, "" for none
  JobId job;                  ///< 0 for one-off builds and checks
  std::string job_name;
  ResourceId resource;  ///< checks only
  std::string resource_name;
  ResourceTypeId resource_type;  ///< checks of types only
  std::string resource_type_name;
  BuildStatus status = BuildStatus::kPending;
  bool manual = false;
  std::optional<std::string> created_by;
  std::int64_t create_time = 0;
  std::optional<std::int64_t> start_time;
  std::optional<std::int64_t> end_time;
  std::optional<std::int64_t> reap_time;
  bool aborted = false;
  bool scheduled = false;
  bool inputs_ready = false;
  bool needs_check = false;
  BuildId rerun_of;
  std::string rerun_of_name;
  std::int64_t rerun_number = 0;
  std::string comment;
  bool has_plan = false;  ///< a public plan can be asked for
  std::optional<Owner> owner;
};

/// The select list and joins of BuildRow, for queries of other files: BuildSelect() + " where
/// b.job_id = $1 order by b.id desc". Tables: b builds, t teams, p pipelines, j jobs, r resources,
/// rt resource types, o the build that was rerun.
std::string BuildSelect();
constexpr std::size_t kBuildColumns = 31;
BuildRow ReadBuildRow(const Row& row);

// --- Creating ----------------------------------------------------------------------------------

struct NewJobBuild {
  std::optional<std::string> created_by;
  bool manual = false;
  /// Repeats that build with its inputs. A rerun of a rerun repeats the original.
  BuildId rerun_of;
};
/// A pending build of the job with its next number (`build.created`). Counters, next_build and
/// needs_check are set. kNotFound: no such job, or no such build of it.
BuildId CreateJobBuild(Transaction& transaction, JobId job, const NewJobBuild& build);

/// A pending build for new versions, unless one is pending already: then nothing.
std::optional<BuildId> EnsurePendingBuild(Transaction& transaction, JobId job);

struct NewStartedBuild {
  TeamId team;
  PipelineId pipeline;  ///< may be 0
  ResourceId resource;  ///< checks: one of these two
  ResourceTypeId resource_type;
  bool manual = false;
  std::optional<std::string> created_by;
  std::optional<Owner> owner;  ///< nothing: the first engine that claims it
};
/// A build that starts at once with its plan, without a job (`fly execute`, plans posted to a team
/// or a pipeline).
BuildId CreateOneOffBuild(Transaction& transaction, const NewStartedBuild& build,
                          const protocol::Plan& plan);
/// A build named "check". Nothing if a check of that resource or type is running and this one is
/// not manual: one is enough.
std::optional<BuildId> CreateCheckBuild(Transaction& transaction, const NewStartedBuild& build,
                                        const protocol::Plan& plan);

// --- Life --------------------------------------------------------------------------------------

/// Pending to started with its plan (`build.started`). False if the build is not pending or was
/// aborted meanwhile. Without an owner, the first engine that claims it runs it.
bool StartBuild(Transaction& transaction, BuildId build, const protocol::Plan& plan,
                const std::optional<Owner>& owner);
/// Makes a started build the owner's: one that nobody owns, or that `from` owned, whose lease is
/// known to be dead. False if it has ended or somebody else was faster.
bool ClaimBuild(Transaction& transaction, BuildId build, const Owner& owner,
                const std::optional<Owner>& from = std::nullopt);
/// Makes every started build of a dead node the owner's: for the transaction that ends its lease.
/// How many.
std::int64_t TakeOverBuilds(Transaction& transaction, std::string_view dead_node,
                            const Owner& owner);
/// Ends the build: end time, the job's latest, next and transition build, what it passes on to
/// later jobs when it succeeded, `build.finished`. Steps and the private plan are deleted. False if
/// it had ended before: then nothing changes. `owner` is given by engines, and guarded.
bool FinishBuild(Transaction& transaction, BuildId build, BuildStatus status,
                 const std::optional<Owner>& owner = std::nullopt);
/// Asks for the build's end (`build.aborted`); a pending one ends at once. False if it had ended.
bool SetAborted(Transaction& transaction, BuildId build);
void SetBuildComment(Transaction& transaction, BuildId build, std::string_view comment);
/// Its logs are gone.
void SetReaped(Transaction& transaction, BuildId build);

// --- Reading -----------------------------------------------------------------------------------

std::optional<BuildRow> FindBuild(Transaction& transaction, BuildId build);
/// Those of these that have no row (any more).
std::vector<BuildId> ListDeletedBuilds(Transaction& transaction,
                                       const std::vector<BuildId>& builds);
/// By name within a job; "latest" is the newest.
std::optional<BuildRow> FindJobBuild(Transaction& transaction, JobId job, std::string_view name);
/// The plan's JSON text: the private one while the build runs, the public one ever after its start.
std::optional<std::string> FindPlan(Transaction& transaction, BuildId build);
std::optional<std::string> FindPublicPlan(Transaction& transaction, BuildId build);
/// Started builds that this node owns or nobody owns, oldest first: what an engine takes up.
std::vector<BuildRow> ListRunnable(Transaction& transaction, std::string_view node,
                                   int limit = 1000);
/// Started builds of other nodes than this, by owner: whose lease is dead, loses them.
std::vector<BuildRow> ListOwnedByOthers(Transaction& transaction, std::string_view node,
                                        int limit = 1000);
/// The job's pending builds in the order in which they start: reruns beside what they repeat.
std::vector<BuildRow> ListPending(Transaction& transaction, JobId job);

/// Where a page of a list begins, by build id, newest first; both bounds are inclusive, 0: open. As
/// upstream's pages: `from` alone reads upward, so that the page ends there.
struct BuildPage {
  std::int64_t from = 0;
  std::int64_t to = 0;
  int limit = 100;
};
/// What a list covers: those that are given are all required. Without `checks`, builds of checks
/// are left out.
struct BuildFilter {
  JobId job;
  PipelineId pipeline;
  ResourceId resource;
  std::vector<TeamId> teams;  ///< empty: every team
  bool public_too = false;    ///< with teams: also builds of public pipelines of others
  bool checks = false;
};
std::vector<BuildRow> ListBuilds(Transaction& transaction, const BuildFilter& filter,
                                 const BuildPage& page);

// --- Inputs and outputs ------------------------------------------------------------------------

struct BuildInputRow {
  std::string name;
  ResourceId resource;
  std::string resource_name;
  VersionId version_id;
  std::string version;   ///< JSON
  std::string metadata;  ///< JSON
  bool first_occurrence = false;
};
struct BuildOutputRow {
  std::string name;
  ResourceId resource;
  std::string resource_name;
  VersionId version_id;
  std::string version;
  std::string metadata;
};
void SaveBuildInput(Transaction& transaction, BuildId build, std::string_view name,
                    ResourceId resource, VersionId version, bool first_occurrence);
/// What a put made. Saving it twice is saving it once.
void SaveBuildOutput(Transaction& transaction, BuildId build, std::string_view name,
                     ResourceId resource, VersionId version);
std::vector<BuildInputRow> ListBuildInputs(Transaction& transaction, BuildId build);
std::vector<BuildOutputRow> ListBuildOutputs(Transaction& transaction, BuildId build);
/// Builds that had this version of the resource as an input, or made it, newest first.
std::vector<BuildRow> ListBuildsWithInput(Transaction& transaction, ResourceId resource,
                                          VersionId version, int limit = 100);
std::vector<BuildRow> ListBuildsWithOutput(Transaction& transaction, ResourceId resource,
                                           VersionId version, int limit = 100);

// --- Steps -------------------------------------------------------------------------------------

/// What a step of a running build concluded.
struct StepRow {
  std::string plan_id;
  std::int64_t attempt = 1;
  std::string state;  ///< started, succeeded, failed, errored
  Json result;        ///< what the step leaves behind
};
std::vector<StepRow> ListSteps(Transaction& transaction, BuildId build);
/// Writes or overwrites, guarded by the owner's lease; refused (kConflict) when the build has ended
/// or is another's.
void SaveStep(Transaction& transaction, BuildId build, const Owner& owner, const StepRow& step);
/// kConflict unless the build runs and is this owner's, whose lease holds until the transaction
/// ends: for everything else that is written in a build's name.
void GuardBuild(Transaction& transaction, BuildId build, const Owner& owner);

}  // namespace pinion::store
