#include <ostream>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/prompt.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/warnings.h"

namespace pinion::cli {
namespace {

std::string Joined(const Json& auth, std::string_view member) {
  std::vector<std::string> parts;
  const Json* list = auth.Find(member);
  if (list && list->IsArray()) {
    for (const Json& item : list->AsArray())
      parts.push_back(item.IsString() ? item.AsString() : ToText(item));
  }
  return Join(parts, ",");
}

/// A row for every role of the team.
void AddRoles(Table& table, const Json& team) {
  const Json* auth = team.Find("auth");
  if (!auth || !auth->IsObject()) return;
  for (const auto& [role, members] : auth->AsObject()) {
    const std::string users = Joined(members, "users");
    const std::string groups = Joined(members, "groups");
    Cell users_cell = OrNone(users);
    if (users.empty() && groups.empty()) users_cell.text = "all";
    table.rows.push_back(
        {std::string(team.StringAt("name")) + "/" + role, users_cell, OrNone(groups)});
  }
}

}  // namespace

int Teams(Context& context, const Command& command, const Words& words) {
  bool json = false, details = false;
  Options options;
  AddJson(options, json);
  options.Add({.name = "details", .doc = "Say who belongs to them", .short_name = 'd'}, details);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const Json teams = target.api->AskJson({.path = "/api/v1/teams"});
  if (json) {
    PrintJson(context, teams, Shape::kTeam);
    return 0;
  }
  Table table;
  table.headers = details ? std::vector<std::string>{"name/role", "users", "groups"}
                          : std::vector<std::string>{"name"};
  for (const Json& team : teams.IsArray() ? teams.AsArray() : JsonArray()) {
    if (details) {
      AddRoles(table, team);
    } else {
      table.rows.push_back({std::string(team.StringAt("name"))});
    }
  }
  table.SortByFirstColumn();
  table.Print(context);
  return 0;
}

int GetTeam(Context& context, const Command& command, const Words& words) {
  std::string name;
  bool json = false;
  Options options;
  options.Add({.name = "team-name", .doc = "The team", .short_name = 'n', .required = true}, name);
  options.Add({.name = "json", .doc = "Print JSON", .short_name = 'j'}, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  target.UseTeam(name);
  const Json team = target.found_team();
  if (json) {
    PrintJson(context, team, Shape::kTeam);
    return 0;
  }
  Table table{{"name/role", "users", "groups"}, {}};
  AddRoles(table, team);
  table.SortByFirstColumn();
  table.Print(context);
  return 0;
}

int RenameTeam(Context& context, const Command& command, const Words& words) {
  std::string old_name, new_name;
  Options options;
  options.Add({.name = "old-name", .doc = "Its name now", .short_name = 'o', .required = true},
              old_name);
  options.Add({.name = "new-name", .doc = "Its new name", .short_name = 'n', .required = true},
              new_name);
  ParseWords(context, command, options, words);
  if (old_name.find('/') != std::string::npos) {
    throw CommandError("old team name cannot contain '/'");
  }
  if (new_name.find('/') != std::string::npos) {
    throw CommandError("new team name cannot contain '/'");
  }
  Target target = OpenTarget(context);
  Call call{.method = "PUT", .path = Path("/api/v1/teams/:team/rename", {old_name})};
  call.body = ToText(JsonObject{{"name", new_name}});
  try {
    ShowWarnings(context, WarningsOf(target.api->AskJson(call)));
  } catch (const NotFoundAnswer&) {
    throw PlainError("Team '" + old_name + "' not found\n");
  }
  context.out << "Team successfully renamed to " << new_name << '\n';
  return 0;
}

int DestroyTeam(Context& context, const Command& command, const Words& words) {
  std::string name;
  bool non_interactive = false;
  Options options;
  options.Add({.name = "team-name", .doc = "The team", .short_name = 'n', .required = true}, name);
  AddNonInteractive(options, non_interactive, 0);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  context.out << "!!! this will remove all data for team `" << name << "`\n\n";
  if (!non_interactive) {
    const auto typed = AskText(context, "please type the team name to confirm");
    if (typed != name) throw CommandError("incorrect team name; bailing out");
  }
  try {
    target.api->Ask({.method = "DELETE", .path = Path("/api/v1/teams/:team", {name})});
  } catch (const Forbidden& forbidden) {
    if (!forbidden.reason.empty()) throw;
    context.out << '\n'
                << Paint(style::kFailed, "could not destroy `" + name + "`", context.colours)
                << "\n\neither your team is not an admin or it is the last admin team\n";
    return 1;
  }
  context.out << "\n`" << name << "` deleted\n";
  return 0;
}

}  // namespace pinion::cli
