#include "protocol/events.h"

#include <utility>

namespace pinion::protocol {
namespace {

Json OriginJson(const Origin& origin) {
  JsonObject object;
  if (!origin.id.empty()) object.Set("id", origin.id);
  if (!origin.source.empty()) object.Set("source", origin.source);
  return object;
}

/// Events that began as lists of facts put the time first; those of steps put the origin first.
JsonObject TimeThenOrigin(const Origin& origin, std::int64_t time) {
  return {{"time", time}, {"origin", OriginJson(origin)}};
}

JsonObject OriginThenTime(const Origin& origin, std::int64_t time) {
  JsonObject object{{"origin", OriginJson(origin)}};
  if (time != 0) object.Set("time", time);
  return object;
}

/// The part of a task that clients are told: no params, no image source.
Json TaskConfigShadow(const TaskConfig& config) {
  JsonObject run{{"path", config.run.path}, {"args", nullptr}, {"dir", config.run.dir}};
  if (!config.run.args.empty()) run.Set("args", ToJson(config.run.args));
  JsonArray inputs;
  for (const TaskInput& input : config.inputs) {
    inputs.push_back(JsonObject{{"name", input.name}, {"path", input.path}});
  }
  JsonObject object{
      {"platform", config.platform}, {"image", config.rootfs_uri}, {"run", std::move(run)}};
  object.Set("inputs", inputs.empty() ? Json() : Json(std::move(inputs)));
  return object;
}

Event FinishResourceEvent(std::string name, const Origin& origin, std::int64_t time,
                          int exit_status, const std::optional<Version>& version,
                          const Metadata& metadata) {
  JsonObject data{{"origin", OriginJson(origin)},
                  {"time", time},
                  {"exit_status", exit_status},
                  {"version", ToJson(version)}};
  if (!metadata.empty()) data.Set("metadata", ToJson(metadata));
  return {std::move(name), "5.1", std::move(data)};
}

Event TaskEvent(std::string name, std::string version, const Origin& origin, std::int64_t time,
                const TaskConfig& config) {
  JsonObject data = TimeThenOrigin(origin, time);
  data.Set("config", TaskConfigShadow(config));
  return {std::move(name), std::move(version), std::move(data)};
}

Event ImageEvent(std::string name, const Origin& origin, std::int64_t time, const Plan& plan) {
  JsonObject data = TimeThenOrigin(origin, time);
  data.Set("plan", PublicPlan(plan));
  return {std::move(name), "1.1", std::move(data)};
}

std::string WithKind(std::string_view what, std::string_view kind) {
  std::string name(what);
  if (!kind.empty()) name.append("-").append(kind);
  return name;
}

}  // namespace

Event StatusEvent(std::string_view status, std::int64_t time) {
  return {"status", "1.0", JsonObject{{"status", status}, {"time", time}}};
}

Event LogEvent(const Origin& origin, std::int64_t time, std::string_view payload) {
  JsonObject data = TimeThenOrigin(origin, time);
  data.Set("payload", payload);
  return {"log", "5.1", std::move(data)};
}

Event ErrorEvent(const Origin& origin, std::int64_t time, std::string_view message) {
  return {"error", "4.1",
          JsonObject{{"message", message}, {"origin", OriginJson(origin)}, {"time", time}}};
}

Event InitializeEvent(std::string_view kind, const Origin& origin, std::int64_t time,
                      std::string_view name) {
  JsonObject data = OriginThenTime(origin, time);
  if (kind == "check") data.Set("name", name);
  const bool second = kind == "get" || kind == "put";
  return {WithKind("initialize", kind), second ? "2.0" : "1.0", std::move(data)};
}

Event StartEvent(std::string_view kind, const Origin& origin, std::int64_t time) {
  return {WithKind("start", kind), "1.0", OriginThenTime(origin, time)};
}

Event FinishEvent(const Origin& origin, std::int64_t time, bool succeeded) {
  return {"finish", "1.0",
          JsonObject{{"origin", OriginJson(origin)}, {"time", time}, {"succeeded", succeeded}}};
}

Event FinishGetEvent(const Origin& origin, std::int64_t time, int exit_status,
                     const std::optional<Version>& version, const Metadata& metadata) {
  return FinishResourceEvent("finish-get", origin, time, exit_status, version, metadata);
}

Event FinishPutEvent(const Origin& origin, std::int64_t time, int exit_status,
                     const std::optional<Version>& version, const Metadata& metadata) {
  return FinishResourceEvent("finish-put", origin, time, exit_status, version, metadata);
}

Event InitializeTaskEvent(const Origin& origin, std::int64_t time, const TaskConfig& config) {
  return TaskEvent("initialize-task", "4.0", origin, time, config);
}

Event StartTaskEvent(const Origin& origin, std::int64_t time, const TaskConfig& config) {
  return TaskEvent("start-task", "5.0", origin, time, config);
}

Event FinishTaskEvent(const Origin& origin, std::int64_t time, int exit_status) {
  return {"finish-task", "4.0",
          JsonObject{{"time", time}, {"exit_status", exit_status}, {"origin", OriginJson(origin)}}};
}

Event SelectedWorkerEvent(const Origin& origin, std::int64_t time, std::string_view worker) {
  JsonObject data = TimeThenOrigin(origin, time);
  data.Set("selected_worker", worker);
  return {"selected-worker", "1.0", std::move(data)};
}

Event WaitingForWorkerEvent(const Origin& origin, std::int64_t time) {
  return {"waiting-for-worker", "1.0", TimeThenOrigin(origin, time)};
}

Event ImageCheckEvent(const Origin& origin, std::int64_t time, const Plan& plan) {
  return ImageEvent("image-check", origin, time, plan);
}

Event ImageGetEvent(const Origin& origin, std::int64_t time, const Plan& plan) {
  return ImageEvent("image-get", origin, time, plan);
}

Event SetPipelineChangedEvent(const Origin& origin, std::int64_t /*time*/, bool changed) {
  return {"set-pipeline-changed", "1.0",
          JsonObject{{"origin", OriginJson(origin)}, {"changed", changed}}};
}

Event AcrossSubstepsEvent(const Origin& origin, std::int64_t time, const std::vector<Plan>& steps,
                          const std::vector<JsonArray>& values) {
  JsonArray substeps;
  substeps.reserve(steps.size());
  for (std::size_t i = 0; i < steps.size(); ++i) {
    substeps.push_back(JsonObject{{"step", PublicPlan(steps[i])},
                                  {"values", i < values.size() ? values[i] : JsonArray()}});
  }
  JsonObject data = TimeThenOrigin(origin, time);
  data.Set("substeps", std::move(substeps));
  return {"across-substeps", "1.0", std::move(data)};
}

std::string EnvelopeText(const Event& event, std::uint64_t id) {
  std::string text = R"({"data":)";
  AppendText(text, event.data);
  text += R"(,"event":)";
  AppendQuoted(text, event.name);
  text += R"(,"version":)";
  AppendQuoted(text, event.version);
  text += R"(,"event_id":")" + std::to_string(id) + R"("})";
  return text;
}

}  // namespace pinion::protocol
