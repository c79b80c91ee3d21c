#include "store/components_table.h"

#include <ctime>

#include "api/handlers.h"
#include "async/task_group.h"
#include "store/database.h"
#include "store/workers.h"

namespace pinion::api {

namespace {

std::string Rfc3339(std::optional<std::int64_t> seconds) {
  if (!seconds) return "0001-01-01T00:00:00Z";
  const std::time_t time = *seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

Task<Answer> SetPaused(Call& call, std::string name, bool paused) {
  auto work = [&call, name, paused](store::Transaction& t) {
    call.SignAs(t);
    if (!name.empty()) return store::SetComponentPaused(t, name, paused);
    store::SetAllComponentsPaused(t, paused);
    return true;
  };
  const bool found = co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(found ? 200 : 404);
}

/// What a look at the database tells about the server's health.
struct Seen {
  std::vector<store::ComponentRow> components;
  std::vector<store::WorkerRow> workers;
};

/// A component that ticks is late when it has not run for three of its intervals and a minute.
bool IsStale(const store::ComponentRow& component, std::int64_t now) {
  if (component.paused || component.interval == Duration(0) || !component.last_ran) return false;
  const auto interval = std::chrono::duration_cast<std::chrono::seconds>(component.interval);
  return now - *component.last_ran > 3 * interval.count() + 60;
}

Json WorkersJson(const std::vector<store::WorkerRow>& workers, std::size_t& running) {
  JsonArray unhealthy;
  for (const auto& worker : workers) {
    if (worker.state == store::WorkerState::kRunning) {
      ++running;
    } else {
      unhealthy.push_back(Json(worker.name));
    }
  }
  JsonObject json{{"status", Json(running == 0 ? "unhealthy" : "healthy")},
                  {"total", Json(static_cast<long long>(workers.size()))},
                  {"running", Json(static_cast<long long>(running))}};
  if (!unhealthy.empty()) json.Set("unhealthy_workers", Json(std::move(unhealthy)));
  return Json(std::move(json));
}

/// Of this process; what grows without work being there leaks.
Json CoroutinesJson() {
  JsonObject json;
  for (const auto& [group, number] : TaskGroup::Live())
    json.Set(group, Json(static_cast<long long>(number)));
  return Json(std::move(json));
}

}  // namespace

Task<Answer> GetComponents(Call& call) {
  const auto rows = co_await call.database().Read(
      store::Pool::kApi, [](store::Transaction& t) { return store::ListComponents(t); });
  JsonArray components;
  for (const auto& row : rows) {
    components.push_back(
        JsonObject{{"name", Json(row.name)},
                   {"interval", Json(static_cast<long long>(row.interval.count()))},
                   {"last_ran", Json(Rfc3339(row.last_ran))},
                   {"paused", Json(row.paused)}});
  }
  co_return JsonAnswer(200, Json(std::move(components)));
}

Task<Answer> PauseAllComponents(Call& call) {
  return SetPaused(call, "", true);
}
Task<Answer> UnpauseAllComponents(Call& call) {
  return SetPaused(call, "", false);
}
Task<Answer> PauseComponent(Call& call) {
  return SetPaused(call, call.Param("component_name"), true);
}
Task<Answer> UnpauseComponent(Call& call) {
  return SetPaused(call, call.Param("component_name"), false);
}

Task<Answer> GetHealth(Call& call) {
  std::optional<Seen> seen;
  try {
    seen = co_await call.database().Read(store::Pool::kApi, [](store::Transaction& t) {
      return Seen{store::ListComponents(t), store::ListWorkers(t)};
    });
  } catch (const Failure& failure) {
    call.log.Warn("health: the database does not answer", {{"error", Json(failure.what())}});
  }
  const std::int64_t now = call.services.clock.UnixSeconds();
  JsonObject body{
      {"status", Json("ok")}, {"timestamp", Json(Rfc3339(now))}, {"coroutines", CoroutinesJson()}};
  if (!seen) {
    body.Set("status", "failing");
    body.Set("database",
             JsonObject{{"status", Json("unhealthy")}, {"error", Json("database unreachable")}});
    body.Set("workers", JsonObject{{"status", Json("unhealthy")}, {"total", 0}, {"running", 0}});
    body.Set("components", Json());
    co_return JsonAnswer(503, Json(std::move(body)));
  }
  bool stale = false;
  JsonArray components;
  for (const auto& row : seen->components) {
    const bool late = IsStale(row, now);
    stale = stale || late;
    components.push_back(JsonObject{{"name", Json(row.name)},
                                    {"status", Json(late ? "unhealthy" : "healthy")},
                                    {"paused", Json(row.paused)},
                                    {"last_ran", Json(Rfc3339(row.last_ran))}});
  }
  std::size_t running = 0;
  body.Set("database", JsonObject{{"status", Json("healthy")}});
  body.Set("workers", WorkersJson(seen->workers, running));
  body.Set("components", Json(std::move(components)));
  if (running == 0) {
    body.Set("status", "failing");
  } else if (stale) {
    body.Set("status", "degraded");
  }
  co_return JsonAnswer(running == 0 ? 503 : 200, Json(std::move(body)));
}

}  // namespace pinion::api
