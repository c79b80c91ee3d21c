#pragma once

#include <string>
#include <vector>

#include "app/server_options.h"
#include "base/json_fields.h"

namespace pinion::app {

/// The folder of resource types: as the options say, else beside the program (a build), else where
/// packages put it. Empty if none exists.
std::string ResourceTypesFolder(const ServerOptions& options);

/// One base resource type as workers announce it; `image` is the archive's path.
struct BaseResourceType {
  std::string type;
  std::string image;
  std::string version;
  bool privileged = false;
  bool unique_version_history = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("type", self.type);
    visit("image", self.image);
    visit("version", self.version);
    visit("privileged", self.privileged);
    visit("unique_version_history", self.unique_version_history);
  }
};

/// Every TYPE/resource_metadata.json in the folder; an unreadable one is an error that names it, as
/// upstream's worker refuses to start then.
Result<std::vector<BaseResourceType>> ReadResourceTypes(const std::string& folder);

}  // namespace pinion::app
