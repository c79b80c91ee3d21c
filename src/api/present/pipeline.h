#pragma once

#include <string>

#include "base/json_fields.h"

namespace pinion::api::present {

struct Pipeline {
  std::int64_t id = 0;
  std::string name;
  Json instance_vars;
  bool paused = false;
  std::string paused_by;
  std::int64_t paused_at = 0;
  bool is_public = false;
  bool archived = false;
  Json groups;
  std::string team_name;
  Json display;
  Json user_data;
  std::int64_t parent_build_id = 0;
  std::int64_t parent_job_id = 0;
  std::int64_t last_updated = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("name", self.name);
    visit("instance_vars", self.instance_vars, kOmitEmpty);
    visit("paused", self.paused);
    visit("paused_by", self.paused_by, kOmitEmpty);
    visit("paused_at", self.paused_at, kOmitEmpty);
    visit("public", self.is_public);
    visit("archived", self.archived);
    visit("groups", self.groups, kOmitEmpty);
    visit("team_name", self.team_name);
    visit("display", self.display, kOmitEmpty);
    visit("user_data", self.user_data, kOmitEmpty);
    visit("parent_build_id", self.parent_build_id, kOmitEmpty);
    visit("parent_job_id", self.parent_job_id, kOmitEmpty);
    visit("last_updated", self.last_updated, kOmitEmpty);
  }
};

}  // namespace pinion::api::present
