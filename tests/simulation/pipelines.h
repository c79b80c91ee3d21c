#pragma once

#include <string>

#include "random.h"

namespace pinion::simulation {

/// A valid pipeline, as its author would write it; its resources are r0, r1, … of base type "mock",
/// its tasks are the fake worker's "sim" program.
std::string RandomPipeline(Random& random);

}  // namespace pinion::simulation
