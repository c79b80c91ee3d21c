#include "identity/access.h"

#include <algorithm>

namespace pinion::identity {

Role Access::RoleIn(std::string_view team) const {
  if (admin) return Role::kOwner;
  const auto found = team_roles.find(std::string(team));
  if (found == team_roles.end()) return Role::kNone;
  Role highest = Role::kNone;
  for (const std::string& name : found->second) {
    if (const auto role = ParseRole(name)) highest = std::max(highest, *role);
  }
  return highest;
}

bool Access::MayInAnyTeam(Role minimum) const {
  if (admin) return true;
  return std::ranges::any_of(team_roles,
                             [&](const auto& team) { return RoleIn(team.first) >= minimum; });
}

Access AnonymousAccess() {
  return {};
}

Access AccessOf(Claims claims, const std::vector<TeamRecord>& teams) {
  Access access;
  access.has_token = true;
  access.authenticated = true;
  access.system = claims.audience == kSystemAudience;
  const Person person = claims.Person();
  access.claims = std::move(claims);
  // A gateway speaks for workers and is nobody in any team, not even where everybody is somebody.
  if (access.system) return access;
  for (const TeamRecord& team : teams) {
    auto roles = RolesOf(person, team.auth);
    if (roles.empty()) continue;
    if (team.admin && std::ranges::find(roles, "owner") != roles.end()) access.admin = true;
    access.team_ids.push_back(team.id);
    access.team_roles[team.name] = std::move(roles);
  }
  return access;
}

}  // namespace pinion::identity
