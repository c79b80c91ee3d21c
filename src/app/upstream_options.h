#pragma once

#include <map>
#include <string>

namespace pinion::app {

/// Every option of upstream's `quickstart` and whether it takes a value: deployments that set one
/// which has no meaning here still start, with a warning.
std::map<std::string, bool> UpstreamOptions();

}  // namespace pinion::app
