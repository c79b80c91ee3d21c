#include "engine/resource_caches.h"
#include "engine/steps.h"
#include "store/artifacts.h"

namespace pinion::engine {
namespace {

constexpr std::size_t kFileBytesMax = 10 << 20;

}  // namespace

Task<std::string> ReadArtifactFile(LeafContext context, std::string path) {
  const std::size_t slash = path.find('/');
  if (slash == std::string::npos) {
    throw Failure(ErrorKind::kInvalid,
                  "'" + path + "' does not specify where the file lives: write ARTIFACT/PATH");
  }
  const std::string name = path.substr(0, slash);
  const std::string file = path.substr(slash + 1);
  const Artifact* artifact = context.scope.FindArtifact(name);
  if (!artifact) {
    throw Failure(ErrorKind::kNotFound,
                  "unknown artifact '" + name + "': no step before made it (file " + path + ")");
  }
  const Artifact found = *artifact;
  const auto worker = context.run.Worker(found.worker);
  try {
    co_return co_await worker->ReadFile(found.volume, file, kFileBytesMax, context.stop());
  } catch (const Failure& failure) {
    if (failure.error().kind != ErrorKind::kNotFound) throw;
  }
  throw Failure(ErrorKind::kNotFound, "file not found: '" + file + "' in artifact '" + name + "'");
}

Task<Conclusion> RunArtifactInput(LeafContext context) {
  const protocol::ArtifactInputPlan& plan = *context.plan.artifact_input;
  const ArtifactId id{plan.artifact_id};
  const auto row = co_await context.run.InDatabase(
      false, [id, team = context.run.build().team](store::Transaction& transaction) {
        return store::FindArtifact(transaction, team, id);
      });
  if (!row) {
    throw Failure(ErrorKind::kNotFound,
                  "artifact " + std::to_string(id.value) + " for input '" + plan.name +
                      "' does not exist: it may have been collected; upload it again");
  }
  Conclusion conclusion;
  conclusion.artifacts[plan.name] = {
      .worker = row->worker, .volume = row->volume, .from_cache = true};
  co_return conclusion;
}

Task<Conclusion> RunArtifactOutput(LeafContext context) {
  const protocol::ArtifactOutputPlan& plan = *context.plan.artifact_output;
  const Artifact* artifact = context.scope.FindArtifact(plan.name);
  if (!artifact) {
    throw Failure(ErrorKind::kNotFound, "output '" + plan.name + "' was made by no step");
  }
  Conclusion conclusion;
  conclusion.also = [build = context.run.build(), name = plan.name,
                     found = *artifact](store::Transaction& transaction) {
    store::CreateArtifact(transaction, build.team, name, build.id, found.worker, found.volume);
  };
  co_return conclusion;
}

}  // namespace pinion::engine
