#pragma once

#include <functional>
#include <string>
#include <vector>

#include "protocol/task_config.h"

namespace pinion::protocol {

/// The plan of a build, member for member upstream's atc.Plan: `fly`, the web UI and the database
/// read it. A plan has exactly one of its bodies; ids are unique within a build.
struct Plan;

/// Where the image of a get, put or check comes from: a base type of the worker, or a check and a
/// get of the custom type's own image.
struct TypeImage {
  Box<Plan> check_plan;
  Box<Plan> get_plan;
  std::string base_type;
  bool privileged = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("check_plan", self.check_plan, kOmitEmpty);
    visit("get_plan", self.get_plan, kOmitEmpty);
    visit("base_type", self.base_type, kOmitEmpty);
    visit("privileged", self.privileged, kOmitEmpty);
  }
};

struct GetPlan {
  std::string name;
  std::string type;
  Json source;
  TypeImage image;
  std::optional<Version> version;
  std::optional<std::string> version_from;  ///< id of the put or check whose version is fetched
  Json params;
  std::string resource;
  std::vector<std::string> tags;
  std::string timeout;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name, kOmitEmpty);
    visit("type", self.type);
    visit("source", self.source);
    visit("image", self.image);
    visit("version", self.version, kOmitEmpty);
    visit("version_from", self.version_from, kOmitEmpty);
    visit("params", self.params, kOmitEmpty);
    visit("resource", self.resource, kOmitEmpty);
    visit("tags", self.tags, kOmitEmpty);
    visit("timeout", self.timeout, kOmitEmpty);
  }
};

struct PutPlan {
  std::string name;
  std::string type;
  Json source;
  TypeImage image;
  Json params;
  Json inputs;  ///< "all", "detect", a list of artifact names, or null for detect
  std::string resource;
  std::vector<std::string> tags;
  std::string timeout;
  bool expose_build_created_by = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("type", self.type);
    visit("source", self.source);
    visit("image", self.image);
    visit("params", self.params, kOmitEmpty);
    visit("inputs", self.inputs, kOmitEmpty);
    visit("resource", self.resource, kOmitEmpty);
    visit("tags", self.tags, kOmitEmpty);
    visit("timeout", self.timeout, kOmitEmpty);
    visit("expose_build_created_by", self.expose_build_created_by, kOmitEmpty);
  }
};

struct CheckPlan {
  std::string name;
  std::string type;
  Json source;
  TypeImage image;
  std::optional<Version> from_version;
  std::string resource;
  std::string resource_type;
  std::string prototype;
  std::string interval;  ///< Go duration or "never"
  bool skip_interval = false;
  std::string timeout;
  std::vector<std::string> tags;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("type", self.type);
    visit("source", self.source);
    visit("image", self.image);
    visit("from_version", self.from_version, kOmitEmpty);
    visit("resource", self.resource, kOmitEmpty);
    visit("resource_type", self.resource_type, kOmitEmpty);
    visit("prototype", self.prototype, kOmitEmpty);
    visit("interval", self.interval, kOmitEmpty);
    visit("skip_interval", self.skip_interval, kOmitEmpty);
    visit("timeout", self.timeout, kOmitEmpty);
    visit("tags", self.tags, kOmitEmpty);
  }
};

struct TaskPlan {
  std::string name;
  bool privileged = false;
  bool hermetic = false;
  std::vector<std::string> tags;
  std::string config_path;
  std::optional<TaskConfig> config;
  std::optional<ContainerLimits> container_limits;
  std::string image;  ///< name of the artifact that is the image
  Json vars;
  std::map<std::string, std::string> params;
  std::map<std::string, std::string> input_mapping;
  std::map<std::string, std::string> output_mapping;
  std::string timeout;
  std::vector<ResourceType> resource_types;
  bool check_skip_interval = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("privileged", self.privileged);
    visit("hermetic", self.hermetic);
    visit("tags", self.tags, kOmitEmpty);
    visit("config_path", self.config_path, kOmitEmpty);
    visit("config", self.config, kOmitEmpty);
    visit("container_limits", self.container_limits, kOmitEmpty);
    visit("image", self.image, kOmitEmpty);
    visit("vars", self.vars, kOmitEmpty);
    visit("params", self.params, kOmitEmpty);
    visit("input_mapping", self.input_mapping, kOmitEmpty);
    visit("output_mapping", self.output_mapping, kOmitEmpty);
    visit("timeout", self.timeout, kOmitEmpty);
    visit("resource_types", self.resource_types, kOmitEmpty);
    visit("check_skip_interval", self.check_skip_interval, kOmitEmpty);
  }
};

struct RunPlan {
  std::string message;
  std::string type;
  Json object;
  bool privileged = false;
  std::vector<std::string> tags;
  std::optional<ContainerLimits> container_limits;
  std::string timeout;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("message", self.message);
    visit("type", self.type);
    visit("object", self.object, kOmitEmpty);
    visit("privileged", self.privileged);
    visit("tags", self.tags, kOmitEmpty);
    visit("container_limits", self.container_limits, kOmitEmpty);
    visit("timeout", self.timeout, kOmitEmpty);
  }
};

struct SetPipelinePlan {
  std::string name;
  std::string file;
  std::string team;
  Json vars;
  std::vector<std::string> var_files;
  Json instance_vars;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("file", self.file);
    visit("team", self.team, kOmitEmpty);
    visit("vars", self.vars, kOmitEmpty);
    visit("var_files", self.var_files, kOmitEmpty);
    visit("instance_vars", self.instance_vars, kOmitEmpty);
  }
};

struct LoadVarPlan {
  std::string name;
  std::string file;
  std::string format;
  bool reveal = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("file", self.file);
    visit("format", self.format, kOmitEmpty);
    visit("reveal", self.reveal, kOmitEmpty);
  }
};

struct InParallelPlan {
  std::vector<Plan> steps;
  int limit = 0;  ///< 0: none
  bool fail_fast = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("steps", self.steps);
    visit("limit", self.limit, kOmitEmpty);
    visit("fail_fast", self.fail_fast, kOmitEmpty);
  }
};

struct AcrossVar {
  std::string name;
  Json values;
  Json max_in_flight;  ///< "all", a number, or null for 1
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("values", self.values, kOmitEmpty);
    visit("max_in_flight", self.max_in_flight, kOmitEmpty);
  }
};

struct AcrossPlan {
  std::vector<AcrossVar> vars;
  std::string substep_template;  ///< the plan of one sub-step as JSON text, vars not filled in
  bool fail_fast = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("vars", self.vars);
    visit("substep_template", self.substep_template);
    visit("fail_fast", self.fail_fast, kOmitEmpty);
  }
};

/// A step and the step that follows on one of its outcomes.
struct HookPlan {
  Box<Plan> step;
  Box<Plan> next;
};

struct TimeoutPlan {
  Box<Plan> step;
  std::string duration;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("step", self.step);
    visit("duration", self.duration);
  }
};

struct TryPlan {
  Box<Plan> step;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("step", self.step);
  }
};

struct ArtifactInputPlan {
  std::int64_t artifact_id = 0;
  std::string name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("artifact_id", self.artifact_id);
    visit("name", self.name);
  }
};

struct ArtifactOutputPlan {
  std::string name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
  }
};

/// Names the member that holds a hook's second step.
template <const char* kNext>
struct NamedHook : HookPlan {
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("step", self.step);
    visit(kNext, self.next);
  }
};
inline constexpr char kOnSuccessName[] = "on_success";
inline constexpr char kOnFailureName[] = "on_failure";
inline constexpr char kOnErrorName[] = "on_error";
inline constexpr char kOnAbortName[] = "on_abort";
inline constexpr char kEnsureName[] = "ensure";

struct Plan {
  std::string id;
  std::vector<int> attempts;  ///< which try this is, outermost retry first; empty outside retries

  std::optional<GetPlan> get;
  std::optional<PutPlan> put;
  std::optional<CheckPlan> check;
  std::optional<TaskPlan> task;
  std::optional<RunPlan> run;
  std::optional<SetPipelinePlan> set_pipeline;
  std::optional<LoadVarPlan> load_var;
  std::optional<std::vector<Plan>> do_steps;
  std::optional<InParallelPlan> in_parallel;
  std::optional<AcrossPlan> across;
  std::optional<NamedHook<kOnSuccessName>> on_success;
  std::optional<NamedHook<kOnFailureName>> on_failure;
  std::optional<NamedHook<kOnAbortName>> on_abort;
  std::optional<NamedHook<kOnErrorName>> on_error;
  std::optional<NamedHook<kEnsureName>> ensure;
  std::optional<TryPlan> try_step;
  std::optional<TimeoutPlan> timeout;
  std::optional<std::vector<Plan>> retry;
  std::optional<ArtifactInputPlan> artifact_input;
  std::optional<ArtifactOutputPlan> artifact_output;

  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("attempts", self.attempts, kOmitEmpty);
    visit("get", self.get, kOmitEmpty);
    visit("put", self.put, kOmitEmpty);
    visit("check", self.check, kOmitEmpty);
    visit("task", self.task, kOmitEmpty);
    visit("run", self.run, kOmitEmpty);
    visit("set_pipeline", self.set_pipeline, kOmitEmpty);
    visit("load_var", self.load_var, kOmitEmpty);
    visit("do", self.do_steps, kOmitEmpty);
    visit("in_parallel", self.in_parallel, kOmitEmpty);
    visit("across", self.across, kOmitEmpty);
    visit("on_success", self.on_success, kOmitEmpty);
    visit("on_failure", self.on_failure, kOmitEmpty);
    visit("on_abort", self.on_abort, kOmitEmpty);
    visit("on_error", self.on_error, kOmitEmpty);
    visit("ensure", self.ensure, kOmitEmpty);
    visit("try", self.try_step, kOmitEmpty);
    visit("timeout", self.timeout, kOmitEmpty);
    visit("retry", self.retry, kOmitEmpty);
    visit("artifact_input", self.artifact_input, kOmitEmpty);
    visit("artifact_output", self.artifact_output, kOmitEmpty);
  }
};

/// Calls `visit` with the plan and every plan inside it, outer before inner; across templates are
/// text and are not entered.
void ForEachPlan(Plan& plan, const std::function<void(Plan&)>& visit);

/// Plan to and from its JSON text; the text is what the database keeps.
std::string PlanText(const Plan& plan);
Result<Plan> ParsePlan(std::string_view text);

/// What everybody who may see the build sees: no sources, params or task configs. Upstream:
/// atc.Plan.Public().
Json PublicPlan(const Plan& plan);

}  // namespace pinion::protocol
