#pragma once

#include <string>
#include <vector>

#include "world.h"

namespace pinion::simulation {

/// What holds after every commit: limits and serial groups. Texts of what does not.
std::vector<std::string> CheckLimits(store::Transaction& transaction);
/// What holds when everything has come to rest: see README.md.
std::vector<std::string> CheckAtRest(World& world);
/// What holds when all pipelines are paused and everything was collected.
std::vector<std::string> CheckNothingLeft(World& world);

}  // namespace pinion::simulation
