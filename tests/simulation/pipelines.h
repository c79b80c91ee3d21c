#pragma once

#include <string>

#include "random.h"

namespace pinion::simulation {

/// A valid pipeline, as its author would write it; its resources are r0, r1, … of base type "mock",
/// its tasks are the fake worker's "sim" program. With `far_worker` some steps run on a worker with
/// the tag "far", apart from all others.
std::string RandomPipeline(Random& random, bool far_worker);

}  // namespace pinion::simulation
