#pragma once

#include <functional>
#include <memory>
#include <string>

#include "engine/interruption.h"
#include "protocol/plan.h"

namespace pinion::engine {

class BuildRun;
class Scope;

/// Runs a plan to its end within a scope: the one entry for every kind of step. It never throws:
/// what goes wrong is told in the build's log and comes back as an outcome. Composite steps are in
/// control_steps.cc, leaves in one file each; a leaf that has concluded in a former life of the
/// process gives the same outcome again without doing anything (BuildRun::Concluded).
Task<Outcome> RunStep(BuildRun& run, Scope& scope, const protocol::Plan& plan,
                      const Interruption& interruption);

}  // namespace pinion::engine
