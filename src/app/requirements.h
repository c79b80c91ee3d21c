#pragma once

#include <string>
#include <vector>

#include "app/server_options.h"

namespace pinion::app {

/// One thing that this machine must have, as found.
struct Requirement {
  std::string name;
  bool met = false;
  std::string detail;  ///< what was found, or what is missing
  std::string cure;    ///< how to get it; empty when met
};

/// Looks at everything that a server with a local worker needs, changing nothing but a probe file
/// in the state folder. `quickstart` refuses to start when one is not met, `doctor` prints them
/// all.
std::vector<Requirement> CheckRequirements(const ServerOptions& options);

}  // namespace pinion::app
