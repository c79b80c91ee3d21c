#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/box.h"
#include "base/json.h"
#include "protocol/task_config.h"

/// What a pipeline means, apart from the text that says it. Plain values; reading, checking and
/// printing are in reader.h, validate.h and format.h. Fields follow upstream's atc.Config; an empty
/// text, null or empty list means "not given".
namespace pinion::pipeline {

using Tags = std::vector<std::string>;

struct Step;

/// `version:` of a get: the latest, every one, or a fixed one. None of them for other text, which
/// means the latest too.
struct VersionSelector {
  bool every = false;
  bool latest = false;
  std::optional<protocol::Version> pinned;
};

struct GetStep {
  std::string name;
  std::string resource;  ///< empty: same as name
  std::optional<VersionSelector> version;
  Json params;
  std::vector<std::string> passed;  ///< job names or globs
  bool trigger = false;
  Tags tags;
  std::string timeout;
  const std::string& ResourceName() const { return resource.empty() ? name : resource; }
};

struct PutStep {
  std::string name;
  std::string resource;
  Json params;
  Json inputs;  ///< "all", "detect", list of names, "" for other text, or null
  Json get_params;
  bool no_get = false;
  Tags tags;
  std::string timeout;
  const std::string& ResourceName() const { return resource.empty() ? name : resource; }
};

struct TaskStep {
  std::string name;
  std::string file;
  std::optional<protocol::TaskConfig> config;
  std::vector<std::string> unknown_config_fields;  ///< keys of `config` that mean nothing
  bool privileged = false;
  bool hermetic = false;
  std::optional<protocol::ContainerLimits> container_limits;
  std::map<std::string, std::string> params;
  Json vars;
  Tags tags;
  std::map<std::string, std::string> input_mapping;
  std::map<std::string, std::string> output_mapping;
  std::string image;
  std::string timeout;
};

struct RunStep {
  std::string message;
  std::string type;
  Json params;
  bool privileged = false;
  Tags tags;
  std::optional<protocol::ContainerLimits> container_limits;
  std::string timeout;
};

struct SetPipelineStep {
  std::string name;
  std::string file;
  std::string team;
  Json vars;
  std::vector<std::string> var_files;
  Json instance_vars;
};

struct LoadVarStep {
  std::string name;
  std::string file;
  std::string format;
  bool reveal = false;
};

struct TryStep {
  Box<Step> step;
};

struct DoStep {
  std::vector<Step> steps;
  Tags tags;
};

struct InParallelStep {
  std::vector<Step> steps;
  int limit = 0;
  bool fail_fast = false;
  Tags tags;
};

struct AcrossVar {
  std::string var;
  Json values;
  Json max_in_flight;  ///< null (1), a number, or "all"
};

struct Across {
  std::vector<AcrossVar> vars;
  bool fail_fast = false;
};

/// One step: a core and its modifiers. Modifiers wrap the core in upstream's order, from the
/// inside: timeout, attempts, across, on_success, on_failure, on_abort, on_error, ensure.
struct Step {
  std::variant<GetStep, PutStep, TaskStep, RunStep, SetPipelineStep, LoadVarStep, TryStep, DoStep,
               InParallelStep>
      core;
  /// Modifier of set_pipeline, load_var, try, do and in_parallel; get, put, task and run carry
  /// their own. Given but empty is an error of the pipeline.
  std::optional<std::string> timeout;
  std::optional<int> attempts;
  std::optional<Across> across;
  Box<Step> on_success;
  Box<Step> on_failure;
  Box<Step> on_abort;
  Box<Step> on_error;
  Box<Step> ensure;
  Json
      unknown_fields;  ///< what belongs to no part of the step: an object, or null if there is none
};

struct Resource {
  std::string name;
  std::string old_name;
  std::string type;
  Json source;
  std::optional<protocol::Version> version;  ///< pinned by the configuration
  std::string check_every;                   ///< Go duration, "never" or empty
  std::string check_timeout;
  Tags tags;
  bool is_public = false;
  std::string webhook_token;
  std::string icon;
  bool expose_build_created_by = false;
};

struct Prototype {
  std::string name;
  std::string type;
  Json source;
  Json defaults;
  bool privileged = false;
  std::string check_every;
  Tags tags;
  Json params;
};

struct VarSource {
  std::string name;
  std::string type;
  Json config;
};

struct Group {
  std::string name;
  std::vector<std::string> jobs;  ///< names or globs
  std::vector<std::string> resources;
};

struct Display {
  std::string background_image;
  std::string background_filter;
};

struct BuildLogRetention {
  int builds = 0;
  int minimum_succeeded_builds = 0;
  int days = 0;
};

struct Job {
  std::string name;
  std::string old_name;
  std::vector<Step> plan;
  bool serial = false;
  std::vector<std::string> serial_groups;
  int max_in_flight = 0;  ///< 0: no limit
  std::optional<BuildLogRetention> build_log_retention;
  int build_logs_to_retain = 0;  ///< deprecated
  bool disable_manual_trigger = false;
  bool disable_reruns = false;
  bool interruptible = false;
  bool is_public = false;
  Tags tags;
  Box<Step> on_success;
  Box<Step> on_failure;
  Box<Step> on_error;
  Box<Step> on_abort;
  Box<Step> ensure;

  /// Builds of this job that may run at once; 0: no limit. Serial and serial groups make it 1.
  int MaxInFlight() const { return serial || !serial_groups.empty() ? 1 : max_in_flight; }
};

struct Pipeline {
  std::vector<Group> groups;
  std::vector<VarSource> var_sources;
  std::vector<Resource> resources;
  std::vector<protocol::ResourceType> resource_types;
  std::vector<Prototype> prototypes;
  std::vector<Job> jobs;
  std::optional<Display> display;
  Json user_data;
};

/// Calls `visit` with every step of the job's plan and of its hooks, at any depth, outer before
/// inner.
void ForEachStep(const Job& job, const std::function<void(const Step&)>& visit);

/// What a job takes in: its get steps, in plan order.
std::vector<const GetStep*> Inputs(const Job& job);
/// What it gives out: its put steps.
std::vector<const PutStep*> Outputs(const Job& job);

}  // namespace pinion::pipeline
