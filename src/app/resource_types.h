#pragma once

#include <string>
#include <vector>

#include "app/server_options.h"
#include "store/workers.h"

namespace pinion::app {

/// The folder of resource types: as the options say, else beside the program (a build), else where
/// packages put it. Empty if none exists.
std::string ResourceTypesFolder(const ServerOptions& options);

/// Every TYPE/resource_metadata.json in the folder; an unreadable one is an error that names it, as
/// upstream's worker refuses to start then.
Result<std::vector<store::WorkerResourceType>> ReadResourceTypes(const std::string& folder);

}  // namespace pinion::app
