#include <algorithm>
#include <array>
#include <ctime>
#include <ostream>

#include "base/text.h"
#include "base/units.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/time_text.h"

namespace pinion::cli {
namespace {

Cell HealthCell(std::string status) {
  Style look = style::kFaint;
  if (status == "ok" || status == "healthy") look = style::kSucceeded;
  if (status == "degraded") look = style::kStarted;
  if (status == "failing" || status == "unhealthy") look = style::kFailed;
  return {std::move(status), look};
}

std::string UtcText(std::string_view time) {
  const auto seconds = ParseRfc3339(std::string(time));
  return seconds ? UtcTime(*seconds, "%Y-%m-%dT%H:%M:%SZ") : std::string(time);
}

Row WorkersRow(const Json& workers) {
  std::string detail = std::to_string(workers.IntegerAt("running")) + "/" +
                       std::to_string(workers.IntegerAt("total")) + " running";
  std::vector<std::string> unhealthy;
  const Json* list = workers.Find("unhealthy_workers");
  for (const Json& name : list && list->IsArray() ? list->AsArray() : JsonArray())
    unhealthy.push_back(name.IsString() ? name.AsString() : ToText(name));
  if (!unhealthy.empty()) detail += " (unhealthy: " + Join(unhealthy, ", ") + ")";
  return {"workers", HealthCell(std::string(workers.StringAt("status"))), detail};
}

Row ComponentRow(const Json& component) {
  std::vector<std::string> details;
  if (component.BoolAt("paused")) details.push_back("paused");
  const std::string last_ran(component.StringAt("last_ran"));
  if (ParseRfc3339(last_ran)) details.push_back("last ran: " + UtcText(last_ran));
  return {std::string(component.StringAt("name")),
          HealthCell(std::string(component.StringAt("status"))), Join(details, ", ")};
}

}  // namespace

int Health(Context& context, const Command& command, const Words& words) {
  bool json = false;
  Options options;
  AddJson(options, json);
  ParseWords(context, command, options, words);
  Target target = LoadTarget(context, false);
  const http::Response answer = target.api->Send({.path = "/api/v1/health"});
  if (answer.status != 200 && answer.status != 503) {
    throw UnexpectedAnswer(answer.status, StatusText(answer.status), answer.body);
  }
  const auto health = ParseJson(answer.body);
  if (!health) throw CommandError("the answer is no JSON: " + health.error().message);
  if (json) {
    PrintJson(context, *health, Shape::kHealth);
    return 0;
  }
  static const Json kNothing = JsonObject();
  const auto part = [&health](std::string_view name) -> const Json& {
    const Json* found = health->Find(name);
    return found ? *found : kNothing;
  };
  Table table{{"subsystem", "status", "detail"}, {}};
  table.rows.push_back({"overall", HealthCell(std::string(health->StringAt("status"))),
                        UtcText(health->StringAt("timestamp"))});
  const Json& database = part("database");
  table.rows.push_back({"database", HealthCell(std::string(database.StringAt("status"))),
                        std::string(database.StringAt("error"))});
  table.rows.push_back(WorkersRow(part("workers")));
  const Json& components = part("components");
  for (const Json& component : components.IsArray() ? components.AsArray() : JsonArray())
    table.rows.push_back(ComponentRow(component));
  table.Print(context);
  return 0;
}

int ActiveUsers(Context& context, const Command& command, const Words& words) {
  std::string since;
  bool json = false;
  Options options;
  options.Add({.name = "since", .doc = "First day, as yyyy-mm-dd; two months ago by default"},
              since);
  AddJson(options, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const std::int64_t now = context.clock.UnixSeconds();
  std::int64_t from = 0;
  if (since.empty()) {
    const std::time_t time = now;
    std::tm parts{};
    ::localtime_r(&time, &parts);
    parts.tm_mon -= 2;
    parts.tm_isdst = -1;
    from = std::mktime(&parts);
  } else {
    const auto parsed = ParseLocalTime(since, "%Y-%m-%d");
    if (!parsed) throw CommandError("since time should be in the format: yyyy-mm-dd");
    from = *parsed;
  }
  if (from > now) throw CommandError("since time can't be in the future");
  const Json users = target.api->AskJson(
      {.path = "/api/v1/users", .query = {{"since", LocalTime(from, "%Y-%m-%d")}}});
  if (json) {
    PrintJson(context, users, Shape::kUser);
    return 0;
  }
  Table table{{"username", "connector", "last login"}, {}};
  for (const Json& user : users.IsArray() ? users.AsArray() : JsonArray()) {
    table.rows.push_back({std::string(user.StringAt("username")),
                          std::string(user.StringAt("connector")),
                          LocalTime(user.IntegerAt("last_login"), "%Y-%m-%d")});
  }
  table.Print(context);
  return 0;
}

int Userinfo(Context& context, const Command& command, const Words& words) {
  bool json = false;
  Options options;
  AddJson(options, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const Json user = target.api->AskJson({.path = "/api/v1/user"});
  if (json) {
    PrintJson(context, user, Shape::kUserInfo);
    return 0;
  }
  std::vector<std::string> roles;
  const Json* teams = user.Find("teams");
  if (teams && teams->IsObject()) {
    for (const auto& [team, list] : teams->AsObject()) {
      for (const Json& role : list.IsArray() ? list.AsArray() : JsonArray())
        roles.push_back(team + "/" + (role.IsString() ? role.AsString() : ToText(role)));
    }
  }
  std::ranges::sort(roles);
  Table table{{"username", "team/role"}, {}};
  table.rows.push_back({std::string(user.StringAt("display_user_id")), Join(roles, ",")});
  table.Print(context);
  return 0;
}

int GetComponents(Context& context, const Command& command, const Words& words) {
  bool json = false;
  Options options;
  AddJson(options, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const Json answer = target.api->AskJson({.path = "/api/v1/components"});
  JsonArray components = answer.IsArray() ? answer.AsArray() : JsonArray();
  std::ranges::sort(components, {},
                    [](const Json& component) { return ToLower(component.StringAt("name")); });
  if (json) {
    PrintJson(context, components, Shape::kComponent);
    return 0;
  }
  Table table{{"name", "interval", "last ran", "paused"}, {}};
  for (const Json& component : components) {
    const std::string last_ran(component.StringAt("last_ran"));
    const auto seconds = ParseRfc3339(last_ran);
    table.rows.push_back(
        {std::string(component.StringAt("name")),
         DurationText(Duration(component.IntegerAt("interval"))),
         seconds ? LocalTime(*seconds, "%Y-%m-%d %H:%M:%S") : "0001-01-01 00:00:00",
         component.BoolAt("paused") ? "true" : "false"});
  }
  table.Print(context);
  return 0;
}

namespace {

constexpr std::array<std::string_view, 3> kRuntimeComponents{"tracker", "scanner", "scheduler"};
constexpr std::array<std::string_view, 14> kCollectingComponents{"reaper",
                                                                 "collector_artifacts",
                                                                 "collector_builds",
                                                                 "collector_check_sessions",
                                                                 "collector_checks",
                                                                 "collector_containers",
                                                                 "collector_resource_cache_uses",
                                                                 "collector_resource_caches",
                                                                 "collector_task_caches",
                                                                 "collector_resource_configs",
                                                                 "collector_volumes",
                                                                 "collector_workers",
                                                                 "collector_pipelines",
                                                                 "pipeline_pauser"};

int Pause(Context& context, const Command& command, const Words& words, const std::string& verb) {
  bool all = false, runtime = false, collecting = false;
  std::vector<std::string> names;
  Options options;
  options.Add({.name = "all", .doc = "All components", .short_name = 'a'}, all);
  options.Add({.name = "name", .doc = "Name of a component; may be repeated", .short_name = 'n'},
              names);
  options.Add({.name = "runtime-components", .doc = "Tracker, scanner and scheduler"}, runtime);
  options.Add({.name = "gc-components", .doc = "What clears away what is no longer used"},
              collecting);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  if (all) {
    target.api->Ask({.method = "PUT", .path = "/api/v1/components/" + verb});
    context.out << "all components " << verb << "d\n";
    return 0;
  }
  if (runtime) names.insert(names.end(), kRuntimeComponents.begin(), kRuntimeComponents.end());
  if (collecting) {
    names.insert(names.end(), kCollectingComponents.begin(), kCollectingComponents.end());
  }
  if (names.empty()) throw CommandError("--name or --all must be provided");
  for (const std::string& name : names) {
    const Call call{.method = "PUT", .path = Path("/api/v1/components/:name/:verb", {name, verb})};
    if (!target.api->Found(call)) throw CommandError("component '" + name + "' not found");
    context.out << verb << "d '" << name << "'\n";
  }
  return 0;
}

}  // namespace

int PauseComponent(Context& context, const Command& command, const Words& words) {
  return Pause(context, command, words, "pause");
}

int UnpauseComponent(Context& context, const Command& command, const Words& words) {
  return Pause(context, command, words, "unpause");
}

namespace {

/// The answer of a call about the wall; failures say what was tried.
Json AskWall(Target& target, const Call& call, std::string_view what) {
  try {
    return target.api->AskJson(call);
  } catch (const CommandError& error) {
    throw CommandError("failed to " + std::string(what) + " wall message: " + error.what());
  }
}

}  // namespace

int GetWall(Context& context, const Command& command, const Words& words) {
  Options options;
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const Json wall = AskWall(target, {.path = "/api/v1/wall"}, "get");
  if (wall.StringAt("message").empty()) {
    context.out << "No wall message is currently set\n";
    return 0;
  }
  context.out << "Wall Message: " << wall.StringAt("message") << '\n';
  const std::int64_t rest = wall.IntegerAt("TTL");
  if (rest == 0) {
    context.out << "No expiration set\n";
  } else {
    context.out << "Expires in: " << DurationText(Duration(rest)) << '\n';
  }
  return 0;
}

int SetWall(Context& context, const Command& command, const Words& words) {
  std::string message;
  Duration life{0};
  Options options;
  options.Add({.name = "message", .doc = "The message", .short_name = 'm', .required = true},
              message);
  options.Add({.name = "ttl", .doc = "How long it stays; 0 for ever"}, life);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  JsonObject wall{{"message", message}};
  if (life.count() != 0) wall.Set("TTL", static_cast<long long>(life.count()));
  AskWall(target, {.method = "PUT", .path = "/api/v1/wall", .body = ToText(wall)}, "set");
  context.out << "Wall message set successfully\n";
  if (life.count() == 0) {
    context.out << "No expiration set\n";
  } else {
    context.out << "Message will expire in " << DurationText(life) << '\n';
  }
  return 0;
}

int ClearWall(Context& context, const Command& command, const Words& words) {
  Options options;
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  AskWall(target, {.method = "DELETE", .path = "/api/v1/wall"}, "clear");
  context.out << "Wall message cleared successfully\n";
  return 0;
}

}  // namespace pinion::cli
