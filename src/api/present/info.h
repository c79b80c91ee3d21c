#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json_fields.h"

namespace pinion::api::present {

struct Info {
  std::string version;
  std::string worker_version;
  std::map<std::string, bool> feature_flags;
  std::string external_url;
  std::string cluster_name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("version", self.version);
    visit("worker_version", self.worker_version);
    visit("feature_flags", self.feature_flags);
    visit("external_url", self.external_url, kOmitEmpty);
    visit("cluster_name", self.cluster_name, kOmitEmpty);
  }
};

struct UserInfo {
  std::string sub;
  std::string name;
  std::string user_id;
  std::string user_name;
  std::string email;
  bool is_admin = false;
  bool is_system = false;
  std::map<std::string, std::vector<std::string>> teams;
  std::string connector;
  std::string display_user_id;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("sub", self.sub);
    visit("name", self.name);
    visit("user_id", self.user_id);
    visit("user_name", self.user_name);
    visit("email", self.email);
    visit("is_admin", self.is_admin);
    visit("is_system", self.is_system);
    visit("teams", self.teams);
    visit("connector", self.connector);
    visit("display_user_id", self.display_user_id);
  }
};

struct User {
  std::int64_t id = 0;
  std::string username;
  std::string connector;
  std::int64_t last_login = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("id", self.id, kOmitEmpty);
    visit("username", self.username, kOmitEmpty);
    visit("connector", self.connector, kOmitEmpty);
    visit("last_login", self.last_login, kOmitEmpty);
  }
};

/// What is odd about an input that is accepted all the same.
struct ConfigWarning {
  std::string type;
  std::string message;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("type", self.type);
    visit("message", self.message);
  }
};

/// The answer to set-pipeline and to renaming.
struct SaveConfigResponse {
  std::vector<std::string> errors;
  std::vector<ConfigWarning> warnings;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("errors", self.errors, kOmitEmpty);
    visit("warnings", self.warnings, kOmitEmpty);
  }
};

struct RenameRequest {
  std::string name;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("name", self.name);
  }
};

}  // namespace pinion::api::present
