#include "checking/checker.h"
#include "engine/resource_caches.h"
#include "engine/resource_script.h"
#include "protocol/events.h"

namespace pinion::engine {

Task<Conclusion> RunCheck(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::CheckPlan& plan = *context.plan.check;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("check", origin, run.now(), plan.name));
  co_return Conclusion{};
}

}  // namespace pinion::engine
