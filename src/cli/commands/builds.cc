#include <algorithm>
#include <ostream>

#include "base/options.h"
#include "base/text.h"
#include "base/units.h"
#include "cli/commands/build_lookup.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/time_text.h"

namespace pinion::cli {
namespace {

constexpr const char* kTimeFormat = "%Y-%m-%d@%H:%M:%S%z";
constexpr const char* kInputFormat = "%Y-%m-%d %H:%M:%S";

struct BuildsOptions {
  bool all_teams = false, current_team = false, json = false;
  int count = 50;
  std::string job_text, since, until;
  std::optional<std::string> pipeline_text;
  std::vector<std::string> teams;

  std::optional<PartRef> job;
  std::optional<PipelineRef> pipeline;
  std::int64_t from = 0, to = 0;

  void AddTo(Options& options) {
    options.Add({.name = "all-teams", .doc = "Builds of all teams of the user", .short_name = 'a'},
                all_teams);
    options.Add({.name = "count", .doc = "How many builds at most", .short_name = 'c'}, count);
    options.Add({.name = "current-team", .doc = "Builds of the target's team"}, current_team);
    AddJob(options, job_text, "Builds of this job");
    options.Add({.name = "json", .doc = "Print JSON"}, json);
    options.Add({.name = "pipeline", .doc = "Builds of this pipeline", .short_name = 'p'},
                pipeline_text);
    options.Add({.name = "team", .doc = "Builds of this team; may be repeated", .short_name = 'n'},
                teams);
    options.Add({.name = "since", .doc = "Started at 'yyyy-mm-dd HH:mm:ss' or later"}, since);
    options.Add({.name = "until", .doc = "Started at 'yyyy-mm-dd HH:mm:ss' or earlier"}, until);
  }

  void Check() {
    const auto time = [](const std::string& text, std::string_view name) -> std::int64_t {
      if (text.empty()) return 0;
      const auto parsed = ParseLocalTime(text, kInputFormat);
      if (!parsed) {
        throw CommandError(std::string(name) +
                           " time should be in the format: yyyy-mm-dd HH:mm:ss");
      }
      return *parsed;
    };
    from = time(since, "Since");
    to = time(until, "Until");
    if (!since.empty() && !until.empty() && from > to) {
      throw CommandError("Cannot have --since after --until");
    }
    if (pipeline && job) throw CommandError("Cannot specify both --pipeline and --job");
    if (current_team && all_teams) {
      throw CommandError("Cannot specify both --all-teams and --current-team");
    }
    if (!teams.empty() && all_teams) {
      throw CommandError("Cannot specify both --all-teams and --team");
    }
  }
};

QueryItems PageQuery(const BuildsOptions& given) {
  QueryItems query;
  if (given.from > 0) query.emplace_back("from", std::to_string(given.from));
  if (given.to > 0) query.emplace_back("to", std::to_string(given.to));
  if (given.count > 0) query.emplace_back("limit", std::to_string(given.count));
  if (!given.since.empty() || !given.until.empty()) query.emplace_back("timestamps", "true");
  return query;
}

/// The builds of the target's team, or those that the user may see when no team is asked for.
JsonArray OfTeam(Target& target, const BuildsOptions& given, bool team_asked) {
  Call call{.path = "/api/v1/builds"};
  std::string missing;
  if (given.pipeline) {
    call.path = target.PipelinePath(*given.pipeline, "/builds");
    call.query = given.pipeline->Query();
    missing = "pipeline not found";
  } else if (given.job) {
    call = JobCall(target, *given.job, "GET", "/builds");
    missing = "pipeline/job not found";
  } else if (team_asked) {
    call.path = target.TeamPath("/builds");
  }
  const QueryItems page = PageQuery(given);
  call.query.insert(call.query.end(), page.begin(), page.end());
  try {
    const Json builds = target.api->AskJson(call);
    return builds.IsArray() ? builds.AsArray() : JsonArray();
  } catch (const NotFoundAnswer& answer) {
    if (missing.empty()) throw;
    throw PlainError(missing);
  }
}

JsonArray Collect(Target& target, const BuildsOptions& given) {
  std::vector<std::string> teams;
  if (given.all_teams) {
    const Json all = target.api->AskJson({.path = "/api/v1/teams"});
    for (const Json& team : all.IsArray() ? all.AsArray() : JsonArray())
      teams.emplace_back(team.StringAt("name"));
  } else {
    if (given.current_team) teams.push_back(target.team);
    teams.insert(teams.end(), given.teams.begin(), given.teams.end());
  }
  if (teams.empty()) return OfTeam(target, given, false);
  JsonArray builds;
  for (const std::string& team : teams) {
    target.team = team;
    for (Json& build : OfTeam(target, given, true))
      builds.push_back(std::move(build));
  }
  return builds;
}

std::string NameOf(const Json& build) {
  std::vector<std::string> parts;
  if (!build.StringAt("pipeline_name").empty()) {
    parts.push_back(RefOf(build, "pipeline_name", "pipeline_instance_vars").Text());
  }
  for (const char* member : {"job_name", "resource_name"}) {
    if (!build.StringAt(member).empty()) parts.emplace_back(build.StringAt(member));
  }
  parts.emplace_back(build.StringAt("name"));
  return Join(parts, "/");
}

Row RowOf(const Context& context, const Json& build) {
  const std::int64_t start = build.IntegerAt("start_time");
  const std::int64_t end = build.IntegerAt("end_time");
  const auto seconds = [](std::int64_t value) { return DurationText(std::chrono::seconds(value)); };
  std::string duration =
      end == 0 ? seconds(context.clock.UnixSeconds() - start) + "+" : seconds(end - start);
  if (start == 0) duration = "n/a";
  const Json* created_by = build.Find("created_by");
  return {std::to_string(build.IntegerAt("id")),
          NameOf(build),
          StatusCell(std::string(build.StringAt("status"))),
          start == 0 ? "n/a" : LocalTime(start, kTimeFormat),
          end == 0 ? "n/a" : LocalTime(end, kTimeFormat),
          std::move(duration),
          std::string(build.StringAt("team_name")),
          created_by && created_by->IsString() ? created_by->AsString() : "system"};
}

}  // namespace

int Builds(Context& context, const Command& command, const Words& words) {
  BuildsOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  if (!given.job_text.empty()) given.job = ParsePartRef(given.job_text, "job");
  if (given.pipeline_text) given.pipeline = ParsePipelineRef(*given.pipeline_text);
  Target target = OpenTarget(context);
  given.Check();
  JsonArray builds = Collect(target, given);
  if (given.json) {
    PrintJson(context, builds, Shape::kBuild);
    return 0;
  }
  if (given.count >= 0 && builds.size() > static_cast<std::size_t>(given.count)) {
    builds.resize(static_cast<std::size_t>(given.count));
  }
  Table table{{"id", "name", "status", "start", "end", "duration", "team", "created by"}, {}};
  for (const Json& build : builds)
    table.rows.push_back(RowOf(context, build));
  table.Print(context);
  return 0;
}

}  // namespace pinion::cli
