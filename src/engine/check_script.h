#pragma once

#include "checking/interfaces.h"
#include "engine/steps.h"

namespace pinion::engine {

struct CheckOutput {
  int exit_status = 0;
  checking::CheckResult result;
};

/// Runs the check of `context.plan` in a container, its source filled in, going on from `from`; the
/// step's own time limit throws Cancelled. Failures: no image, no worker, output that is no list of
/// versions.
Task<CheckOutput> RunCheckScript(LeafContext context, Json source, checking::CheckStart from);

}  // namespace pinion::engine
