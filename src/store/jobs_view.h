#pragma once

#include <optional>
#include <string>
#include <vector>

#include "store/builds.h"
#include "store/visibility.h"

/// What lists of jobs show, read with a number of statements that does not grow with the jobs.
namespace pinion::store {

struct BuildBrief {
  BuildId id;
  std::string name;
  std::string status;
  std::int64_t start_time = 0;  ///< 0: not yet
  std::int64_t end_time = 0;
};

struct JobEdge {
  std::string name;
  std::string resource;
  bool trigger = false;
  std::vector<std::string> passed;  ///< job names
};

struct JobView {
  JobId id;
  std::string name;
  PipelineId pipeline;
  std::string pipeline_name;
  std::string instance_vars;
  std::string team_name;
  TeamId team;
  std::int64_t pipeline_ordering = 0;            ///< within its team
  std::int64_t pipeline_secondary_ordering = 0;  ///< within its instance group
  bool pipeline_public = false;
  bool paused = false;
  std::string paused_by;
  std::int64_t paused_at = 0;
  bool has_new_inputs = false;
  bool is_public = false;
  bool disable_manual_trigger = false;
  bool disable_reruns = false;
  std::vector<std::string> groups;
  std::optional<BuildBrief> finished_build;
  std::optional<BuildBrief> next_build;
  std::optional<BuildBrief> transition_build;
  std::vector<JobEdge> inputs;   ///< by name
  std::vector<JobEdge> outputs;  ///< by name
};

/// Active jobs of one pipeline, in the configuration's order.
std::vector<JobView> ViewJobs(Transaction& transaction, PipelineId pipeline);
/// Active jobs of every visible pipeline that is not archived.
std::vector<JobView> ViewAllJobs(Transaction& transaction, const Visibility& visibility);
/// Of these jobs those that ViewAllJobs would show to one who sees everything, in its order.
std::vector<JobView> ViewJobsById(Transaction& transaction, const std::vector<JobId>& jobs);
/// The same of these pipelines.
std::vector<JobView> ViewJobsOfPipelines(Transaction& transaction,
                                         const std::vector<PipelineId>& pipelines);
std::optional<JobView> ViewJob(Transaction& transaction, PipelineId pipeline,
                               std::string_view name);
/// `public: true` in its configuration.
bool IsJobPublic(Transaction& transaction, JobId job);

}  // namespace pinion::store
