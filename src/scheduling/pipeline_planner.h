#pragma once

#include <memory>

#include "pipeline/planner.h"
#include "scheduling/interfaces.h"

namespace pinion::scheduling {

/// Plans from the pipeline's configuration as it is stored. Parsed configurations are kept, at most
/// `kept` of them: large pipelines are not parsed for each build. Thread-safe.
std::unique_ptr<BuildPlanner> MakePipelinePlanner(pipeline::BaseDefaults base_defaults,
                                                  std::size_t kept = 64);

}  // namespace pinion::scheduling
