#include "pipeline/format.h"

#include <utility>

#include "pipeline/reader.h"
#include "pipeline/yaml.h"

namespace pinion::pipeline {
namespace {

/// Configurations nest little deeper than the YAML they were read from.
constexpr JsonLimits kConfigLimits{.bytes = 64 << 20, .depth = 512};

/// Builds an object whose members are left out when they say nothing.
class Members {
 public:
  Members& Always(std::string_view name, Json value) {
    object_.Set(name, std::move(value));
    return *this;
  }
  Members& Text(std::string_view name, const std::string& value) {
    if (!value.empty()) object_.Set(name, value);
    return *this;
  }
  Members& Flag(std::string_view name, bool value) {
    if (value) object_.Set(name, true);
    return *this;
  }
  Members& Number(std::string_view name, int value) {
    if (value != 0) object_.Set(name, value);
    return *this;
  }
  Members& Texts(std::string_view name, const std::vector<std::string>& values) {
    if (!values.empty()) object_.Set(name, pinion::ToJson(values));
    return *this;
  }
  Members& Map(std::string_view name, const std::map<std::string, std::string>& values) {
    if (!values.empty()) object_.Set(name, pinion::ToJson(values));
    return *this;
  }
  /// A mapping of any values; an empty one says nothing.
  Members& Object(std::string_view name, const Json& value) {
    if (value.IsObject() && !value.AsObject().empty()) object_.Set(name, value);
    return *this;
  }
  Members& Any(std::string_view name, const Json& value) {
    if (!value.IsNull()) object_.Set(name, value);
    return *this;
  }
  Members& Hook(std::string_view name, const Box<Step>& step) {
    if (step) object_.Set(name, ToJson(*step));
    return *this;
  }
  template <class T>
  Members& List(std::string_view name, const std::vector<T>& items) {
    if (items.empty()) return *this;
    JsonArray array;
    for (const T& item : items)
      array.push_back(ToJson(item));
    object_.Set(name, std::move(array));
    return *this;
  }
  JsonObject& object() { return object_; }

 private:
  JsonObject object_;
};

JsonArray StepsJson(const std::vector<Step>& steps) {
  JsonArray array;
  array.reserve(steps.size());
  for (const Step& step : steps)
    array.push_back(ToJson(step));
  return array;
}

Json VersionJson(const VersionSelector& version) {
  if (version.latest) return "latest";
  if (version.every) return "every";
  return version.pinned ? pinion::ToJson(*version.pinned) : Json("");
}

Json LimitsJson(const protocol::ContainerLimits& limits) {
  return pinion::ToJson(limits);
}

void AddCore(Members& members, const GetStep& step) {
  members.Always("get", step.name).Text("resource", step.resource);
  if (step.version) members.Always("version", VersionJson(*step.version));
  members.Object("params", step.params)
      .Texts("passed", step.passed)
      .Flag("trigger", step.trigger)
      .Texts("tags", step.tags)
      .Text("timeout", step.timeout);
}

void AddCore(Members& members, const PutStep& step) {
  members.Always("put", step.name)
      .Text("resource", step.resource)
      .Object("params", step.params)
      .Any("inputs", step.inputs)
      .Texts("tags", step.tags)
      .Object("get_params", step.get_params)
      .Text("timeout", step.timeout)
      .Flag("no_get", step.no_get);
}

void AddCore(Members& members, const TaskStep& step) {
  members.Always("task", step.name)
      .Flag("privileged", step.privileged)
      .Flag("hermetic", step.hermetic)
      .Text("file", step.file);
  if (step.container_limits) {
    members.Always("container_limits", LimitsJson(*step.container_limits));
  }
  if (step.config) members.Always("config", TaskConfigToJson(*step.config));
  members.Map("params", step.params)
      .Object("vars", step.vars)
      .Texts("tags", step.tags)
      .Map("input_mapping", step.input_mapping)
      .Map("output_mapping", step.output_mapping)
      .Text("image", step.image)
      .Text("timeout", step.timeout);
}

void AddCore(Members& members, const RunStep& step) {
  members.Always("run", step.message)
      .Always("type", step.type)
      .Object("params", step.params)
      .Flag("privileged", step.privileged)
      .Texts("tags", step.tags);
  if (step.container_limits) {
    members.Always("container_limits", LimitsJson(*step.container_limits));
  }
  members.Text("timeout", step.timeout);
}

void AddCore(Members& members, const SetPipelineStep& step) {
  members.Always("set_pipeline", step.name)
      .Text("file", step.file)
      .Text("team", step.team)
      .Object("vars", step.vars)
      .Texts("var_files", step.var_files)
      .Object("instance_vars", step.instance_vars);
}

void AddCore(Members& members, const LoadVarStep& step) {
  members.Always("load_var", step.name)
      .Text("file", step.file)
      .Text("format", step.format)
      .Flag("reveal", step.reveal);
}

void AddCore(Members& members, const TryStep& step) {
  members.Always("try", step.step ? ToJson(*step.step) : Json());
}

void AddCore(Members& members, const DoStep& step) {
  members.Always("do", StepsJson(step.steps)).Texts("tags", step.tags);
}

void AddCore(Members& members, const InParallelStep& step) {
  Members inner;
  inner.List("steps", step.steps).Number("limit", step.limit).Flag("fail_fast", step.fail_fast);
  members.Always("in_parallel", std::move(inner.object())).Texts("tags", step.tags);
}

Json AcrossJson(const Across& across) {
  JsonArray vars;
  for (const AcrossVar& var : across.vars) {
    Members members;
    members.Always("var", var.var)
        .Any("values", var.values)
        .Any("max_in_flight", var.max_in_flight);
    vars.push_back(std::move(members.object()));
  }
  return vars;
}

template <class Type>
Json TypeJson(const Type& type) {
  Members members;
  members.Always("name", type.name)
      .Always("type", type.type)
      .Always("source", type.source)
      .Object("defaults", type.defaults)
      .Flag("privileged", type.privileged)
      .Text("check_every", type.check_every)
      .Texts("tags", type.tags)
      .Object("params", type.params);
  return std::move(members.object());
}

/// Reads a part as the only one of its section.
template <class Part>
Result<Part> PartFromJson(std::string_view section, const Json& json,
                          std::vector<Part> Pipeline::* parts) {
  JsonObject pipeline;
  pipeline.Set(section, JsonArray{json});
  auto read = ConfigFromJson(Json(std::move(pipeline)));
  if (!read) return std::unexpected(std::move(read).error());
  return std::move((*read.*parts).front());
}

template <class Part>
Result<Part> ParsePart(std::string_view text, Result<Part> (*from_json)(const Json&)) {
  const auto json = ParseJson(text, kConfigLimits);
  if (!json) return std::unexpected(json.error());
  return from_json(*json);
}

}  // namespace

Json ToJson(const Step& step) {
  Members members;
  if (step.unknown_fields.IsObject()) members.object() = step.unknown_fields.AsObject();
  members.Hook("ensure", step.ensure)
      .Hook("on_error", step.on_error)
      .Hook("on_abort", step.on_abort)
      .Hook("on_failure", step.on_failure)
      .Hook("on_success", step.on_success);
  if (step.across) {
    members.Always("across", AcrossJson(*step.across)).Flag("fail_fast", step.across->fail_fast);
  }
  if (step.attempts) members.Always("attempts", *step.attempts);
  std::visit([&](const auto& core) { AddCore(members, core); }, step.core);
  if (step.timeout) members.Always("timeout", *step.timeout);
  members.object().SortByName();
  return std::move(members.object());
}

Json ToJson(const Group& group) {
  Members members;
  members.Always("name", group.name).Texts("jobs", group.jobs).Texts("resources", group.resources);
  return std::move(members.object());
}

Json ToJson(const VarSource& source) {
  return JsonObject{{"name", source.name}, {"type", source.type}, {"config", source.config}};
}

Json ToJson(const Display& display) {
  Members members;
  members.Text("background_image", display.background_image)
      .Text("background_filter", display.background_filter);
  return std::move(members.object());
}

Json ToJson(const Resource& resource) {
  Members members;
  members.Always("name", resource.name)
      .Text("old_name", resource.old_name)
      .Flag("public", resource.is_public)
      .Text("webhook_token", resource.webhook_token)
      .Always("type", resource.type)
      .Always("source", resource.source)
      .Text("check_every", resource.check_every)
      .Text("check_timeout", resource.check_timeout)
      .Texts("tags", resource.tags)
      .Map("version", resource.version.value_or(protocol::Version()))
      .Text("icon", resource.icon)
      .Flag("expose_build_created_by", resource.expose_build_created_by);
  return std::move(members.object());
}

Json ResourceTypeToJson(const protocol::ResourceType& type) {
  return TypeJson(type);
}

Json ToJson(const Prototype& prototype) {
  return TypeJson(prototype);
}

Json ToJson(const Job& job) {
  Members members;
  members.Always("name", job.name)
      .Text("old_name", job.old_name)
      .Flag("public", job.is_public)
      .Flag("disable_manual_trigger", job.disable_manual_trigger)
      .Flag("disable_reruns", job.disable_reruns)
      .Flag("serial", job.serial)
      .Flag("interruptible", job.interruptible)
      .Texts("serial_groups", job.serial_groups)
      .Number("max_in_flight", job.max_in_flight)
      .Texts("tags", job.tags)
      .Number("build_logs_to_retain", job.build_logs_to_retain);
  if (job.build_log_retention) {
    Members retention;
    retention.Number("builds", job.build_log_retention->builds)
        .Number("minimum_succeeded_builds", job.build_log_retention->minimum_succeeded_builds)
        .Number("days", job.build_log_retention->days);
    members.Always("build_log_retention", std::move(retention.object()));
  }
  members.Hook("on_success", job.on_success)
      .Hook("on_failure", job.on_failure)
      .Hook("on_abort", job.on_abort)
      .Hook("on_error", job.on_error)
      .Hook("ensure", job.ensure)
      .Always("plan", job.plan.empty() ? Json() : Json(StepsJson(job.plan)));
  return std::move(members.object());
}

Json TaskConfigToJson(const protocol::TaskConfig& config) {
  Json json = pinion::ToJson(config);
  const protocol::TaskRun& run = config.run;
  if (run.path.empty() && run.args.empty() && run.dir.empty() && run.user.empty()) {
    json.AsObject().Erase("run");
  }
  return json;
}

Json ConfigToJson(const Pipeline& pipeline) {
  Members members;
  members.List("groups", pipeline.groups)
      .List("var_sources", pipeline.var_sources)
      .List("resources", pipeline.resources);
  if (!pipeline.resource_types.empty()) {
    JsonArray types;
    for (const auto& type : pipeline.resource_types)
      types.push_back(ResourceTypeToJson(type));
    members.Always("resource_types", std::move(types));
  }
  members.List("prototypes", pipeline.prototypes).List("jobs", pipeline.jobs);
  if (pipeline.display) members.Always("display", ToJson(*pipeline.display));
  members.Any("user_data", pipeline.user_data);
  return std::move(members.object());
}

Result<Pipeline> ConfigFromJson(const Json& json) {
  ParsedPipeline parsed = ReadPipeline(NodeFromJson(json), {.refuse_unknown_keys = false});
  if (!parsed.issues.empty()) return Fail(ErrorKind::kInvalid, IssuesText(parsed.issues));
  return std::move(parsed.pipeline);
}

Result<Job> JobFromJson(const Json& json) {
  return PartFromJson("jobs", json, &Pipeline::jobs);
}

Result<Resource> ResourceFromJson(const Json& json) {
  return PartFromJson("resources", json, &Pipeline::resources);
}

Result<protocol::ResourceType> ResourceTypeFromJson(const Json& json) {
  return PartFromJson("resource_types", json, &Pipeline::resource_types);
}

Result<Prototype> PrototypeFromJson(const Json& json) {
  return PartFromJson("prototypes", json, &Pipeline::prototypes);
}

Result<Job> ParseJob(std::string_view text) {
  return ParsePart(text, JobFromJson);
}

Result<Resource> ParseResource(std::string_view text) {
  return ParsePart(text, ResourceFromJson);
}

Result<protocol::ResourceType> ParseResourceType(std::string_view text) {
  return ParsePart(text, ResourceTypeFromJson);
}

Result<Prototype> ParsePrototype(std::string_view text) {
  return ParsePart(text, PrototypeFromJson);
}

std::string PipelineToYaml(const Pipeline& pipeline) {
  return EmitYaml(ConfigToJson(pipeline));
}

Result<std::string> FormatPipeline(std::string_view text) {
  auto parsed = ReadPipeline(text, {.refuse_unknown_keys = false});
  if (!parsed) return std::unexpected(std::move(parsed).error());
  if (!parsed->issues.empty()) return Fail(ErrorKind::kInvalid, IssuesText(parsed->issues));
  return PipelineToYaml(parsed->pipeline);
}

}  // namespace pinion::pipeline
