#include "identity/roles.h"

#include <algorithm>
#include <array>

#include "base/text.h"

namespace pinion::identity {

namespace {

constexpr std::array<std::pair<Role, std::string_view>, 4> kNames = {{
    {Role::kViewer, "viewer"},
    {Role::kPipelineOperator, "pipeline-operator"},
    {Role::kMember, "member"},
    {Role::kOwner, "owner"},
}};

bool SameText(std::string_view a, std::string_view b) {
  return a.size() == b.size() && ToLower(a) == ToLower(b);
}

bool Lists(const std::vector<std::string>& entries, const std::string& connector,
           const std::string& name) {
  if (name.empty()) return false;
  const std::string wanted = connector + ":" + name;
  return std::ranges::any_of(entries, [&](const auto& entry) { return SameText(entry, wanted); });
}

bool Matches(const Person& person, const std::string& connector, const RoleAuth& auth) {
  if (auth.users.empty() && auth.groups.empty()) return true;
  if (Lists(auth.users, connector, person.user_id)) return true;
  if (Lists(auth.users, connector, person.username)) return true;
  return std::ranges::any_of(person.groups, [&](const std::string& group) {
    return Lists(auth.groups, connector, group);
  });
}

}  // namespace

std::string_view Name(Role role) {
  for (const auto& [value, name] : kNames) {
    if (value == role) return name;
  }
  return "none";
}

std::optional<Role> ParseRole(std::string_view name) {
  for (const auto& [value, known] : kNames) {
    if (known == name) return value;
  }
  return std::nullopt;
}

Result<void> CheckTeamAuth(const TeamAuth& auth) {
  if (auth.empty()) return Fail(ErrorKind::kInvalid, "auth config for the team must not be empty");
  for (const auto& [name, role] : auth) {
    if (!ParseRole(name)) {
      return Fail(
          ErrorKind::kInvalid,
          "unknown role '" + name + "'; roles are owner, member, pipeline-operator and viewer");
    }
    // A role that lists nobody is everybody's: that must not slip in through an empty list.
    if (role.users.empty() && role.groups.empty()) {
      return Fail(ErrorKind::kInvalid, "role '" + name + "' lists neither users nor groups");
    }
  }
  return {};
}

std::vector<std::string> RolesOf(const Person& person, const TeamAuth& auth) {
  const std::string connector =
      SameText(person.connector, "cloudfoundry") ? "cf" : person.connector;
  std::vector<std::string> roles;
  for (const auto& [name, role] : auth) {
    if (Matches(person, connector, role)) roles.push_back(name);
  }
  return roles;
}

}  // namespace pinion::identity
