#include "engine/steps.h"
#include "protocol/events.h"

namespace pinion::engine {

// Prototypes are not run yet, by upstream neither: the step says so and succeeds, so that pipelines
// that were written for them can be set and tried.
Task<Conclusion> RunPrototype(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::RunPlan& plan = *context.plan.run;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("", origin, run.now()));
  run.EmitOnce(context.plan.id, Stage::kStarted, protocol::StartEvent("", origin, run.now()));
  run.Say(context.plan.id,
          "\x1b[1;33mWARNING: prototypes are not supported yet, nothing is run\x1b[0m\n\n"
          "would run " +
              plan.message + " on prototype " + plan.type + "\n");
  run.EmitOnce(context.plan.id, Stage::kFinished, protocol::FinishEvent(origin, run.now(), true));
  co_return Conclusion();
}

}  // namespace pinion::engine
