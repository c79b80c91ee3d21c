#include <ostream>

#include "base/options.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/time_text.h"

namespace pinion::cli {
namespace {

Json ListPipelines(Target& target, bool all_teams) {
  return target.api->AskJson(
      {.path = all_teams ? "/api/v1/pipelines" : target.TeamPath("/pipelines")});
}

JsonArray Where(const Json& list, std::string_view member, bool wanted) {
  JsonArray kept;
  if (!list.IsArray()) return kept;
  for (const Json& item : list.AsArray()) {
    if (item.BoolAt(member) == wanted) kept.push_back(item);
  }
  return kept;
}

}  // namespace

int Pipelines(Context& context, const Command& command, const Words& words) {
  bool all = false, archived = false, json = false;
  std::string team;
  Options options;
  options.Add({.name = "all", .doc = "List those of all teams", .short_name = 'a'}, all);
  options.Add({.name = "include-archived", .doc = "List archived ones too"}, archived);
  options.Add({.name = "json", .doc = "Print JSON"}, json);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  if (all && !team.empty()) throw CommandError("Cannot specify both --all and --team");
  target.UseTeam(team);
  Json pipelines = ListPipelines(target, all);
  if (!archived) pipelines = Where(pipelines, "archived", false);
  if (json) {
    PrintJson(context, pipelines, Shape::kPipeline);
    return 0;
  }
  Table table;
  table.headers = {"id", "name"};
  if (all) table.headers.push_back("team");
  table.headers.insert(table.headers.end(), {"paused", "public"});
  if (archived) table.headers.push_back("archived");
  table.headers.push_back("last updated");
  for (const Json& pipeline : pipelines.IsArray() ? pipelines.AsArray() : JsonArray()) {
    Row row{std::to_string(pipeline.IntegerAt("id")), RefOf(pipeline).Text()};
    if (all) row.push_back(std::string(pipeline.StringAt("team_name")));
    row.push_back(YesNo(pipeline.BoolAt("paused")));
    row.push_back(YesNo(pipeline.BoolAt("public")));
    if (archived) row.push_back(YesNo(pipeline.BoolAt("archived")));
    row.push_back(GoTime(pipeline.IntegerAt("last_updated")));
    table.rows.push_back(std::move(row));
  }
  table.Print(context);
  return 0;
}

int PausedPipelines(Context& context, const Command& command, const Words& words) {
  bool all = false, json = false;
  Options options;
  options.Add({.name = "all", .doc = "List those of all teams", .short_name = 'a'}, all);
  options.Add({.name = "json", .doc = "Print JSON"}, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const Json pipelines = Where(ListPipelines(target, all), "paused", true);
  if (json) {
    PrintJson(context, pipelines, Shape::kPipeline);
    return 0;
  }
  Table table;
  table.headers = {"id", "name"};
  if (all) table.headers.push_back("team");
  table.headers.insert(table.headers.end(), {"paused", "paused_by", "paused_at"});
  for (const Json& pipeline : pipelines.AsArray()) {
    Row row{std::to_string(pipeline.IntegerAt("id")), RefOf(pipeline).Text()};
    if (all) row.push_back(std::string(pipeline.StringAt("team_name")));
    const std::int64_t at = pipeline.IntegerAt("paused_at");
    row.push_back("yes");
    row.push_back(OrNotAvailable(std::string(pipeline.StringAt("paused_by"))));
    row.push_back(at == 0 ? "n/a" : GoTime(at));
    table.rows.push_back(std::move(row));
  }
  table.Print(context);
  return 0;
}

}  // namespace pinion::cli
