#include <ostream>

#include "base/encoding.h"
#include "base/options.h"
#include "cli/commands/commands.h"
#include "cli/errors.h"
#include "cli/flyrc.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/time_text.h"

namespace pinion::cli {
namespace {

/// Tokens carry their expiry: eight bytes after the random ones, the lowest first.
std::string ExpiryText(const std::optional<Token>& token) {
  if (!token || token->type.empty() || token->value.empty()) return "n/a";
  const auto bytes = FromBase64(token->value);
  if (!bytes || bytes->size() != 28) return "n/a: invalid token";
  std::uint64_t seconds = 0;
  for (std::size_t i = bytes->size(); i-- > 20;)
    seconds = seconds << 8 | static_cast<unsigned char>((*bytes)[i]);
  return UtcTime(static_cast<std::int64_t>(seconds), "%a, %d %b %Y %H:%M:%S UTC");
}

FlyRc LoadFile(Context& context) {
  FlyRc file(FlyRcPath(context.environment));
  file.Load();
  return file;
}

}  // namespace

int Targets(Context& context, const Command& command, const Words& words) {
  Options options;
  ParseWords(context, command, options, words);
  const FlyRc file = LoadFile(context);
  Table table{{"name", "url", "team", "expiry"}, {}};
  for (const auto& [name, target] : file.targets) {
    table.rows.push_back({name, target.api, target.team, ExpiryText(target.token)});
  }
  table.SortByFirstColumn();
  table.Print(context);
  return 0;
}

int DeleteTarget(Context& context, const Command& command, const Words& words) {
  bool all = false;
  Options options;
  options.Add({.name = "all", .doc = "Forget every target", .short_name = 'a'}, all);
  ParseWords(context, command, options, words);
  RequireTarget(context);
  FlyRc file = LoadFile(context);
  if (all) {
    file.targets.clear();
  } else {
    file.targets.erase(context.target);
  }
  file.Save();
  context.out << (all ? "deleted all targets" : "deleted target: " + context.target) << '\n';
  return 0;
}

int EditTarget(Context& context, const Command& command, const Words& words) {
  std::string name, url, team;
  Options options;
  options.Add({.name = "target-name", .doc = "New name of the target"}, name);
  options.Add({.name = "concourse-url", .doc = "New URL of the server", .short_name = 'u'}, url);
  options.Add({.name = "team-name", .doc = "New team", .short_name = 'n'}, team);
  ParseWords(context, command, options, words);
  RequireTarget(context);
  if (name.empty() && url.empty() && team.empty()) {
    throw CommandError("error: no attributes specified to update");
  }
  FlyRc file = LoadFile(context);
  SavedTarget target = file.targets[context.target];
  if (!url.empty()) target.api = url;
  if (!team.empty()) target.team = team;
  if (!name.empty()) file.targets.erase(context.target);
  file.targets[name.empty() ? context.target : name] = std::move(target);
  file.Save();
  context.out << "Updated target: " << context.target << '\n';
  return 0;
}

}  // namespace pinion::cli
