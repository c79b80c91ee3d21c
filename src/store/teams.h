#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "store/database.h"

namespace pinion::store {

struct TeamRow {
  TeamId id;
  std::string name;
  bool admin = false;
  std::string auth;  ///< JSON: {role: {"users": […], "groups": […]}}
};

std::vector<TeamRow> ListTeams(Transaction& transaction);
/// Compared as written.
std::optional<TeamRow> FindTeam(Transaction& transaction, std::string_view name);
/// kConflict if the name is taken.
TeamRow CreateTeam(Transaction& transaction, std::string_view name, std::string_view auth,
                   bool admin = false);
void SetTeamAuth(Transaction& transaction, TeamId team, std::string_view auth);
/// kConflict if the name is taken.
void RenameTeam(Transaction& transaction, TeamId team, std::string_view name);
/// With everything it owns. kConflict for the last admin team.
void DestroyTeam(Transaction& transaction, TeamId team);
/// Makes the admin team "main" if it is not there; gives it this auth.
TeamRow EnsureMainTeam(Transaction& transaction, std::string_view auth);

}  // namespace pinion::store
