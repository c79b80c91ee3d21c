#pragma once

#include <optional>
#include <string>
#include <vector>

#include "api/present/build.h"

namespace pinion::api::present {

struct Resource {
  std::string name;
  std::int64_t pipeline_id = 0;
  std::string pipeline_name;
  Json pipeline_instance_vars;
  std::string team_name;
  std::string type;
  std::int64_t last_checked = 0;
  std::string icon;
  Json pinned_version;
  bool pinned_in_config = false;
  std::string pin_comment;
  std::optional<BuildSummary> build;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("pipeline_id", self.pipeline_id);
    visit("pipeline_name", self.pipeline_name);
    visit("pipeline_instance_vars", self.pipeline_instance_vars, kOmitEmpty);
    visit("team_name", self.team_name);
    visit("type", self.type);
    visit("last_checked", self.last_checked, kOmitEmpty);
    visit("icon", self.icon, kOmitEmpty);
    visit("pinned_version", self.pinned_version, kOmitEmpty);
    visit("pinned_in_config", self.pinned_in_config, kOmitEmpty);
    visit("pin_comment", self.pin_comment, kOmitEmpty);
    visit("build", self.build, kOmitEmpty);
  }
};

struct ResourceVersion {
  std::int64_t id = 0;
  Json metadata;
  Json version;
  bool enabled = true;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id);
    visit("metadata", self.metadata, kOmitEmpty);
    visit("version", self.version);
    visit("enabled", self.enabled);
  }
};

struct CheckRequestBody {
  Json from;
  bool shallow = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("from", self.from);
    visit("shallow", self.shallow);
  }
};

struct ResourceIdentifier {
  std::string name;
  std::string pipeline_name;
  std::string team_name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
    visit("pipeline_name", self.pipeline_name);
    visit("team_name", self.team_name);
  }
};

}  // namespace pinion::api::present
