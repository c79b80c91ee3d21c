#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json_fields.h"

namespace pinion::identity {

/// What somebody may do in a team; each role includes the ones before it.
enum class Role { kNone, kViewer, kPipelineOperator, kMember, kOwner };

std::string_view Name(Role role);
std::optional<Role> ParseRole(std::string_view name);

/// Who has one role of a team: entries "connector:name" and "connector:group".
struct RoleAuth {
  std::vector<std::string> users;
  std::vector<std::string> groups;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("users", self.users);
    visit("groups", self.groups);
  }
  friend bool operator==(const RoleAuth&, const RoleAuth&) = default;
};

/// A team's auth by role name, as the API sends it.
using TeamAuth = std::map<std::string, RoleAuth>;

/// kInvalid for an empty auth or an unknown role.
Result<void> CheckTeamAuth(const TeamAuth& auth);

/// Who somebody is, as an identity provider said.
struct Person {
  std::string connector;  ///< "local", "github", …
  std::string user_id;    ///< the provider's stable id
  std::string username;   ///< the preferred user name, or the display name
  std::vector<std::string> groups;
};

/// The names of the roles that this auth gives to the person. Compared without case; a role without
/// users and groups is everybody's; connector "cloudfoundry" counts as "cf".
std::vector<std::string> RolesOf(const Person& person, const TeamAuth& auth);

}  // namespace pinion::identity
