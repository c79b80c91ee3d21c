#pragma once

#include "engine/steps.h"

namespace pinion::engine {

struct CheckOutput {
  int exit_status = 0;
  std::vector<protocol::Version> versions;  ///< oldest first
};

/// Runs the check of `context.plan` in a container, its source filled in; the step's own time limit
/// throws Cancelled. Failures: no image, no worker, output that is no list of versions.
Task<CheckOutput> RunCheckScript(LeafContext context, Json source,
                                 std::optional<protocol::Version> from);

}  // namespace pinion::engine
