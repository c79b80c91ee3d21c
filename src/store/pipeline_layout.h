#pragma once

#include <string>

#include "pipeline/model.h"
#include "store/pipelines.h"

namespace pinion::store {

/// A validated pipeline as SavePipeline takes it. `instance_vars` is JSON with sorted keys, "" for
/// none.
NewPipeline LayOut(const pipeline::Pipeline& pipeline, std::string name, std::string instance_vars);

}  // namespace pinion::store
