#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "identity/roles.h"
#include "identity/token.h"

namespace pinion::identity {

/// What Access needs to know of every team.
struct TeamRecord {
  TeamId id;
  std::string name;
  bool admin = false;  ///< its owners are administrators
  TeamAuth auth;
};

/// What the sender of one request may do. Plain data, made once a request.
struct Access {
  bool has_token = false;      ///< one was sent
  bool authenticated = false;  ///< and it is good
  bool admin = false;
  bool system = false;  ///< a worker gateway's token
  Claims claims;
  std::map<std::string, std::vector<std::string>> team_roles;  ///< role names, by team name
  std::vector<TeamId> team_ids;                                ///< teams with any role

  /// The highest role in that team; owners of admin teams are owners everywhere.
  Role RoleIn(std::string_view team) const;
  bool MayIn(std::string_view team, Role minimum) const { return RoleIn(team) >= minimum; }
  /// A role of at least `minimum` in some team.
  bool MayInAnyTeam(Role minimum) const;
  /// For the change feed and created_by.
  std::string UserText() const { return claims.DisplayUserId(); }
};

/// The audience of worker gateways' tokens: it makes a token a system token.
inline constexpr std::string_view kSystemAudience = "concourse-worker";

Access AnonymousAccess();
Access AccessOf(Claims claims, const std::vector<TeamRecord>& teams);

}  // namespace pinion::identity
