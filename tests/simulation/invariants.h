#pragma once

#include <string>
#include <vector>

#include "world.h"

namespace pinion::simulation {

/// The ids of the steps that must have succeeded before the step of that id begins, by the plan's
/// JSON: those before it in a `do`, and what it is the on_success hook of.
std::vector<std::string> StepsBefore(const Json& plan, const std::string& id);
/// What holds after every commit: limits and serial groups. Texts of what does not.
std::vector<std::string> CheckLimits(store::Transaction& transaction);
/// What holds when everything has come to rest: see README.md.
std::vector<std::string> CheckAtRest(World& world);
/// What holds when all pipelines are paused and everything was collected.
std::vector<std::string> CheckNothingLeft(World& world);

}  // namespace pinion::simulation
