#include <algorithm>
#include <array>
#include <ostream>

#include "base/files.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/prompt.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/warnings.h"
#include "pipeline/validate.h"

namespace pinion::cli {
namespace {

/// A list of members that a connector knows: flag --CONNECTOR-FLAG, key KEY in role files.
struct MemberKind {
  std::string_view connector;
  std::string_view flag;
  std::string_view key;
  std::string_view doc;
  bool is_group;
  std::string_view suffix = "";  ///< added to each of them
};

/// In the order in which members are listed.
constexpr std::array<MemberKind, 28> kKinds{{
    {"bitbucket-cloud", "bitbucket-cloud-user", "users", "Bitbucket Cloud user", false},
    {"bitbucket-cloud", "bitbucket-cloud-team", "teams", "Bitbucket Cloud team", true},
    {"cf", "cf-user", "users", "Cloud Foundry user", false},
    {"cf", "cf-org", "orgs", "Cloud Foundry org", true},
    {"cf", "cf-space-with-any-role", "spaces_with_any_role", "Cloud Foundry space, any role", true},
    {"cf", "cf-space", "spaces", "Cloud Foundry space, developers (old form)", true, ":developer"},
    {"cf", "cf-space-with-developer-role", "spaces_with_developer_role",
     "Cloud Foundry space, developers", true, ":developer"},
    {"cf", "cf-space-with-auditor-role", "spaces_with_auditor_role",
     "Cloud Foundry space, auditors", true, ":auditor"},
    {"cf", "cf-space-with-manager-role", "spaces_with_manager_role",
     "Cloud Foundry space, managers", true, ":manager"},
    {"cf", "cf-space-guid", "space_guids", "Cloud Foundry space by its id", true},
    {"cf", "", "spaceguids", "", true},
    {"gitea", "gitea-user", "users", "Gitea user", false},
    {"gitea", "gitea-org", "orgs", "Gitea org", true},
    {"gitea", "gitea-team", "teams", "Gitea team, ORG:TEAM", true},
    {"github", "github-user", "users", "GitHub user", false},
    {"github", "github-org", "orgs", "GitHub org", true},
    {"github", "github-team", "teams", "GitHub team, ORG:TEAM", true},
    {"gitlab", "gitlab-user", "users", "GitLab user", false},
    {"gitlab", "gitlab-group", "groups", "GitLab group", true},
    {"ldap", "ldap-user", "users", "LDAP user", false},
    {"ldap", "ldap-group", "groups", "LDAP group", true},
    {"microsoft", "microsoft-user", "users", "Microsoft user", false},
    {"microsoft", "microsoft-group", "groups", "Microsoft group", true},
    {"oauth", "oauth-user", "users", "OAuth2 user", false},
    {"oauth", "oauth-group", "groups", "OAuth2 group", true},
    {"oidc", "oidc-user", "users", "OIDC user", false},
    {"oidc", "oidc-group", "groups", "OIDC group", true},
    {"saml", "saml-user", "users", "SAML user", false},
}};
constexpr MemberKind kSamlGroup{"saml", "saml-group", "groups", "SAML group", true};
constexpr MemberKind kLocalUser{"local", "local-user", "users", "Local user", false};

std::vector<MemberKind> AllKinds() {
  std::vector<MemberKind> kinds(kKinds.begin(), kKinds.end());
  kinds.push_back(kSamlGroup);
  kinds.push_back(kLocalUser);
  return kinds;
}

struct Members {
  JsonArray users;
  JsonArray groups;
  bool empty() const { return users.empty() && groups.empty(); }
  void Add(const MemberKind& kind, const std::string& name) {
    if (name.empty()) return;
    std::string member =
        std::string(kind.connector) + ":" + ToLower(name + std::string(kind.suffix));
    (kind.is_group ? groups : users).emplace_back(std::move(member));
  }
  Json ToJson() const { return JsonObject{{"users", users}, {"groups", groups}}; }
};

/// The roles of a file: a list under `roles`, each with a name and its members by connector.
JsonObject RolesOfFile(const std::string& path) {
  const auto text = ReadFile(path, 16 << 20);
  if (!text) throw CommandError(text.error().message);
  const Json file = ParseYamlValue(*text, "the file " + path);
  const Json* roles = file.Find("roles");
  JsonObject auth;
  for (const Json& role : roles && roles->IsArray() ? roles->AsArray() : JsonArray()) {
    const std::string name(role.StringAt("name"));
    if (name.empty()) throw CommandError("a role in the file " + path + " has no name");
    Members members;
    for (const MemberKind& kind : AllKinds()) {
      const Json* connector = role.Find(kind.connector);
      const Json* list = connector ? connector->Find(kind.key) : nullptr;
      if (!list || list->IsNull()) continue;
      if (!list->IsArray()) {
        throw CommandError("role " + name + " in the file " + path + ": " +
                           std::string(kind.connector) + "." + std::string(kind.key) +
                           " is no list");
      }
      for (const Json& member : list->AsArray())
        members.Add(kind, member.IsString() ? member.AsString() : ToText(member));
    }
    if (!members.empty()) auth.Set(name, members.ToJson());
  }
  if (auth.empty()) throw CommandError("auth config for the team must not be empty");
  auth.SortByName();
  return auth;
}

void ShowList(Context& context, std::string_view title, const Json* list) {
  context.out << "  " << title << ":\n";
  if (!list || !list->IsArray() || list->AsArray().empty()) {
    context.out << "    " << Paint(style::kFaint, "none", context.colours) << '\n';
    return;
  }
  for (const Json& member : list->AsArray())
    context.out << "  - " << member.AsString() << '\n';
}

void ShowRoles(Context& context, const std::string& team, const JsonObject& auth) {
  context.out << "setting team: " << context.Bold(team) << '\n';
  for (const auto& [role, members] : auth) {
    context.out << "\nrole " << context.Bold(role) << ":\n";
    ShowList(context, "users", members.Find("users"));
    context.out << '\n';
    ShowList(context, "groups", members.Find("groups"));
  }
}

}  // namespace

int SetTeam(Context& context, const Command& command, const Words& words) {
  std::string name, file;
  bool non_interactive = false;
  const std::vector<MemberKind> kinds = AllKinds();
  std::vector<std::vector<std::string>> given(kinds.size());
  Options options;
  options.Add({.name = "team-name", .doc = "The team", .short_name = 'n', .required = true}, name);
  AddNonInteractive(options, non_interactive, 0);
  options.Add({.name = "config",
               .doc = "File with the roles of the team",
               .short_name = 'c',
               .value_name = "FILE"},
              file);
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    if (!kinds[i].flag.empty()) options.Add({.name = kinds[i].flag, .doc = kinds[i].doc}, given[i]);
  }
  ParseWords(context, command, options, words);
  if (name.find('/') != std::string::npos) throw CommandError("team name cannot contain '/'");
  std::vector<ConfigWarning> warnings;
  if (const auto problem = pipeline::CheckIdentifier(name, "team")) {
    if (problem->is_error) throw CommandError(problem->message);
    warnings.push_back({"invalid_identifier", problem->message});
  }
  Target target = OpenTarget(context);
  JsonObject auth;
  if (!file.empty()) {
    auth = RolesOfFile(file);
  } else {
    Members members;
    for (std::size_t i = 0; i < kinds.size(); ++i) {
      for (const std::string& member : given[i])
        members.Add(kinds[i], member);
    }
    if (members.empty()) {
      throw CommandError("auth config for the team does not have users and groups configured");
    }
    auth.Set("owner", members.ToJson());
  }
  ShowRoles(context, name, auth);
  ShowWarnings(context, warnings);
  if (!non_interactive && !Confirm(context, "\napply team configuration?")) {
    throw PlainError("bailing out");
  }
  Call call{.method = "PUT", .path = Path("/api/v1/teams/:team", {name})};
  call.body = ToText(JsonObject{{"auth", auth}});
  const http::Response answer = target.api->Ask(call);
  const auto json = ParseJson(answer.body);
  if (json) ShowWarnings(context, WarningsOf(*json));
  context.out << (answer.status == 201 ? "team created" : "team updated") << '\n';
  return 0;
}

}  // namespace pinion::cli
