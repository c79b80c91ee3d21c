#pragma once

#include <string>
#include <string_view>

#include "protocol/plan.h"

/// Build events as clients read them (upstream: atc/event). An event is its name, its version and
/// its data; the id is its position in the build's stream, given by the store.
namespace pinion::protocol {

/// Which step an event belongs to.
struct Origin {
  std::string id;      ///< plan id; empty for the build itself
  std::string source;  ///< "stdout", "stderr" or empty
};

struct Event {
  std::string name;     ///< "log", "status", "initialize-task", …
  std::string version;  ///< "5.1"
  Json data;
};

Event StatusEvent(std::string_view status, std::int64_t time);
Event LogEvent(const Origin& origin, std::int64_t time, std::string_view payload);
Event ErrorEvent(const Origin& origin, std::int64_t time, std::string_view message);

/// `kind` is "get", "put" or "check" (initialize-get 2.0, …) or "" for generic steps (1.0).
Event InitializeEvent(std::string_view kind, const Origin& origin, std::int64_t time,
                      std::string_view name = {});
Event StartEvent(std::string_view kind, const Origin& origin, std::int64_t time);
Event FinishEvent(const Origin& origin, std::int64_t time, bool succeeded);
Event FinishGetEvent(const Origin& origin, std::int64_t time, int exit_status,
                     const std::optional<Version>& version, const Metadata& metadata);
Event FinishPutEvent(const Origin& origin, std::int64_t time, int exit_status,
                     const std::optional<Version>& version, const Metadata& metadata);
Event InitializeTaskEvent(const Origin& origin, std::int64_t time, const TaskConfig& config);
Event StartTaskEvent(const Origin& origin, std::int64_t time, const TaskConfig& config);
Event FinishTaskEvent(const Origin& origin, std::int64_t time, int exit_status);
Event SelectedWorkerEvent(const Origin& origin, std::int64_t time, std::string_view worker);
Event WaitingForWorkerEvent(const Origin& origin, std::int64_t time);
Event ImageCheckEvent(const Origin& origin, std::int64_t time, const Plan& plan);
Event ImageGetEvent(const Origin& origin, std::int64_t time, const Plan& plan);
Event SetPipelineChangedEvent(const Origin& origin, std::int64_t time, bool changed);
Event AcrossSubstepsEvent(const Origin& origin, std::int64_t time, const std::vector<Plan>& steps,
                          const std::vector<JsonArray>& values);

/// The data of one server-sent event: {"data":…,"event":…,"version":…,"event_id":"N"}.
std::string EnvelopeText(const Event& event, std::uint64_t id);

}  // namespace pinion::protocol
