#pragma once

#include <string_view>

/// Every kind of change that the feed carries, with what its id names. A kind is "noun.verb"; the
/// data, where there is some, is a small JSON object described beside it.
namespace pinion::store::kinds {

// --- Builds: the id is the build's. Data: {"job": id, "pipeline": id, "status": text}, ids that
// the build does not have are left out.
inline constexpr std::string_view kBuildCreated = "build.created";  ///< pending, or started at once
inline constexpr std::string_view kBuildStarted =
    "build.started";  ///< it has a plan: an engine runs it
inline constexpr std::string_view kBuildAborted = "build.aborted";  ///< somebody asked for its end
inline constexpr std::string_view kBuildFinished = "build.finished";  ///< status is its last
inline constexpr std::string_view kBuildCommented = "build.commented";
inline constexpr std::string_view kBuildDeleted = "build.deleted";

// --- Versions and scopes: the id is the scope's, so that one change serves all its resources.
inline constexpr std::string_view kVersionSaved = "version.saved";  ///< new or reordered ones
/// A check that a pending build waited for has ended, or the outcome of checks turned from good to
/// bad or back; every check's end would flood the feed. Data: {"succeeded": bool}.
inline constexpr std::string_view kScopeChecked = "scope.checked";
/// The id is the resource's. Data: {"version": id}.
inline constexpr std::string_view kVersionEnabled = "version.enabled";
inline constexpr std::string_view kVersionDisabled = "version.disabled";

// --- Resources and resource types: the id is theirs.
inline constexpr std::string_view kResourcePinned = "resource.pinned";
inline constexpr std::string_view kResourceUnpinned = "resource.unpinned";
inline constexpr std::string_view kResourceCommented = "resource.commented";  ///< its pin comment
inline constexpr std::string_view kResourceScoped =
    "resource.scoped";  ///< attached to another scope
inline constexpr std::string_view kResourceTypeScoped = "resource_type.scoped";
inline constexpr std::string_view kResourceCheckRequested = "resource.check_requested";
inline constexpr std::string_view kResourceCleared =
    "resource.cleared";  ///< its versions were deleted

// --- Jobs: the id is the job's.
inline constexpr std::string_view kJobPaused = "job.paused";
inline constexpr std::string_view kJobUnpaused = "job.unpaused";
/// The scheduler found other inputs, or has_new_inputs turned: pages that show them look again.
inline constexpr std::string_view kJobInputs = "job.inputs";
/// Somebody asks that the job is looked at again (API: schedule_job).
inline constexpr std::string_view kJobScheduleRequested = "job.schedule_requested";

// --- Pipelines: the id is the pipeline's.
inline constexpr std::string_view kPipelineConfigured = "pipeline.configured";
inline constexpr std::string_view kPipelinePaused = "pipeline.paused";
inline constexpr std::string_view kPipelineUnpaused = "pipeline.unpaused";
inline constexpr std::string_view kPipelineExposed = "pipeline.exposed";
inline constexpr std::string_view kPipelineHidden = "pipeline.hidden";
inline constexpr std::string_view kPipelineArchived = "pipeline.archived";
inline constexpr std::string_view kPipelineRenamed = "pipeline.renamed";
inline constexpr std::string_view kPipelineOrdered = "pipeline.ordered";
inline constexpr std::string_view kPipelineDestroyed = "pipeline.destroyed";

// --- Teams: the id is the team's.
inline constexpr std::string_view kTeamConfigured = "team.configured";
inline constexpr std::string_view kTeamRenamed = "team.renamed";
inline constexpr std::string_view kTeamDestroyed = "team.destroyed";

}  // namespace pinion::store::kinds
