#include <algorithm>
#include <ostream>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/target.h"

namespace pinion::cli {
namespace {

JsonArray ListWorkers(Target& target) {
  const Json workers = target.api->AskJson({.path = "/api/v1/workers"});
  return workers.IsArray() ? workers.AsArray() : JsonArray();
}

/// Whether the worker speaks the server's version: same major number, minor as new or newer.
bool IsCompatible(std::string_view worker, std::string_view wanted) {
  if (wanted.empty()) return true;
  if (worker.empty()) return false;
  const auto number = [](std::string_view version, std::size_t part) {
    const auto parts = Split(version, '.');
    return part < parts.size() ? std::atoi(std::string(parts[part]).c_str()) : 0;
  };
  return number(worker, 0) == number(wanted, 0) && number(worker, 1) >= number(wanted, 1);
}

Cell AgeCell(const Context& context, std::int64_t start) {
  const std::int64_t age = context.clock.UnixSeconds() - start;
  if (start <= 0 || age < 0) return {"n/a", style::kFaint};
  const auto text = [](std::int64_t value, char unit) { return std::to_string(value) + unit; };
  if (age >= 86400) return text(age / 86400, 'd');
  if (age >= 3600) return text(age / 3600, 'h') + text(age % 3600 / 60, 'm');
  if (age >= 60) return text(age / 60, 'm') + text(age % 60, 's');
  return text(age, 's');
}

std::string Joined(const Json* list, std::string_view member = "") {
  std::vector<std::string> parts;
  if (list && list->IsArray()) {
    for (const Json& item : list->AsArray()) {
      if (!member.empty()) {
        parts.emplace_back(item.StringAt(member));
      } else if (item.IsString()) {
        parts.push_back(item.AsString());
      }
    }
  }
  return Join(parts, ", ");
}

Table TableOf(const Context& context, const JsonArray& workers, bool details, bool outdated) {
  Table table{{"name", "containers", "platform", "tags", "team", "state", "version", "age"}, {}};
  if (details) {
    table.headers.insert(table.headers.end(),
                         {"garden address", "baggageclaim url", "active tasks", "resource types"});
  }
  for (const Json& worker : workers) {
    const auto text = [&worker](std::string_view member) {
      return std::string(worker.StringAt(member));
    };
    Cell version = OrNone(text("version"));
    if (outdated) version.style = style::kFailed;
    Row row{text("name"),
            std::to_string(worker.IntegerAt("active_containers")),
            text("platform"),
            OrNone(Joined(worker.Find("tags"))),
            OrNone(text("team")),
            text("state"),
            version,
            AgeCell(context, worker.IntegerAt("start_time"))};
    if (details) {
      row.push_back(OrNone(text("addr")));
      row.push_back(OrNone(text("baggageclaim_url")));
      row.push_back(std::to_string(worker.IntegerAt("active_tasks")));
      row.push_back(OrNone(Joined(worker.Find("resource_types"), "type")));
    }
    table.rows.push_back(std::move(row));
  }
  return table;
}

}  // namespace

int Workers(Context& context, const Command& command, const Words& words) {
  bool details = false, json = false;
  Options options;
  options.Add({.name = "details", .doc = "More columns", .short_name = 'd'}, details);
  AddJson(options, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  JsonArray workers = ListWorkers(target);
  if (json) {
    PrintJson(context, workers, Shape::kWorker);
    return 0;
  }
  std::ranges::sort(workers, {}, [](const Json& worker) { return worker.StringAt("name"); });
  const std::string wanted(target.Info().StringAt("worker_version"));
  JsonArray running, outdated, stalled;
  for (const Json& worker : workers) {
    if (worker.StringAt("state") == "stalled") {
      stalled.push_back(worker);
    } else {
      (IsCompatible(worker.StringAt("version"), wanted) ? running : outdated).push_back(worker);
    }
  }
  Table table = TableOf(context, running, details, false);
  const Table outdated_table = TableOf(context, outdated, details, true);
  const Table stalled_table = TableOf(context, stalled, details, false);
  if (!context.out_is_terminal) {
    for (const Table* more : {&outdated_table, &stalled_table})
      table.rows.insert(table.rows.end(), more->rows.begin(), more->rows.end());
    table.Print(context);
    return 0;
  }
  table.Print(context);
  if (!outdated.empty()) {
    context.out << "\n\nthe following workers need to be updated to version "
                << context.Bold(wanted) << ":\n\n";
    outdated_table.Print(context);
  }
  if (!stalled.empty()) {
    context.out << "\n\nthe following workers have not checked in recently:\n\n";
    stalled_table.Print(context);
    context.out << "\nthese stalled workers can be cleaned up by running:\n\n    "
                << context.Bold(context.program_name + " -t " + context.target +
                                " prune-worker -w (name)")
                << "\n\n";
  }
  return 0;
}

int LandWorker(Context& context, const Command& command, const Words& words) {
  std::string name;
  Options options;
  options.Add({.name = "worker", .doc = "Name of the worker", .short_name = 'w', .required = true},
              name);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  std::string team;
  for (const Json& worker : ListWorkers(target)) {
    if (worker.StringAt("name") == name) team = worker.StringAt("team");
  }
  Call call{.method = "PUT", .path = Path("/api/v1/workers/:name/land", {name})};
  call.body = ToText(Shaped(JsonObject{{"team", team}}, Shape::kWorker));
  target.api->Ask(call);
  context.out << "landed '" << name << "'\n";
  return 0;
}

int PruneWorker(Context& context, const Command& command, const Words& words) {
  std::string name;
  bool all_stalled = false;
  Options options;
  options.Add({.name = "worker", .doc = "Name of the worker", .short_name = 'w'}, name);
  options.Add({.name = "all-stalled", .doc = "Every stalled worker", .short_name = 'a'},
              all_stalled);
  ParseWords(context, command, options, words);
  if (name.empty() && !all_stalled) {
    throw PlainError("Either a worker name or --all-stalled are required");
  }
  std::vector<std::string> names;
  if (!name.empty()) names.push_back(name);
  Target target = OpenTarget(context);
  if (all_stalled) {
    for (const Json& worker : ListWorkers(target)) {
      if (worker.StringAt("state") == "stalled") names.emplace_back(worker.StringAt("name"));
    }
    if (names.empty()) {
      context.out << Paint(style::kFailed, "WARNING: No stalled workers found.\n", context.colours);
    }
  }
  for (const std::string& worker : names) {
    try {
      target.api->Ask({.method = "PUT", .path = Path("/api/v1/workers/:name/prune", {worker})});
    } catch (const UnexpectedAnswer& answer) {
      const auto json = ParseJson(answer.body);
      if (answer.status != 400 || !json) throw;
      throw CommandError(std::string(json->StringAt("stderr")));
    }
    context.out << "pruned '" << worker << "'\n";
  }
  return 0;
}

}  // namespace pinion::cli
