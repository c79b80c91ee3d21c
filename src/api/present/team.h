#pragma once

#include <string>
#include <vector>

#include "api/present/info.h"
#include "identity/roles.h"

namespace pinion::api::present {

struct Team {
  std::int64_t id = 0;
  std::string name;
  identity::TeamAuth auth;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id, kOmitEmpty);
    visit("name", self.name, kOmitEmpty);
    visit("auth", self.auth, kOmitEmpty);
  }
};

struct SetTeamResponse {
  std::vector<std::string> errors;
  std::vector<ConfigWarning> warnings;
  Team team;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("errors", self.errors, kOmitEmpty);
    visit("warnings", self.warnings, kOmitEmpty);
    visit("team", self.team);
  }
};

}  // namespace pinion::api::present
