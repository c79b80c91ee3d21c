#include "engine/steps.h"
#include "protocol/events.h"

namespace pinion::engine {

Task<Artifact> FetchImage(LeafContext context, const protocol::Plan* check,
                          const protocol::Plan& get) {
  BuildRun& run = context.run;
  const protocol::Origin origin{.id = context.plan.id};
  Scope fetched(&context.scope);
  // Announced once: under ids that no step has.
  if (check) {
    run.EmitOnce(check->id + "#", Stage::kInitialized,
                 protocol::ImageCheckEvent(origin, run.now(), *check));
    const Outcome outcome = co_await RunStep(run, fetched, *check, context.interruption);
    ThrowIfStopped(context.stop());
    if (outcome != Outcome::kSucceeded) throw Failure(ErrorKind::kInvalid, "image check failed");
  }
  run.EmitOnce(get.id + "#", Stage::kInitialized, protocol::ImageGetEvent(origin, run.now(), get));
  const Outcome outcome = co_await RunStep(run, fetched, get, context.interruption);
  ThrowIfStopped(context.stop());
  if (outcome != Outcome::kSucceeded) throw Failure(ErrorKind::kInvalid, "image fetching failed");
  const Artifact* artifact = fetched.FindArtifact(get.get->name);
  if (!artifact) throw Failure(ErrorKind::kInternal, "the image's get left no artifact");
  co_return *artifact;
}

}  // namespace pinion::engine
