#include "engine/image_pull.h"

#include "fleet/registry.h"
#include "protocol/events.h"
#include "store/versions.h"
#include "store/volumes.h"

namespace pinion::engine {
namespace {

/// The volume's row, as the worker's cache from the start: what a crash leaves half made is found
/// again by the same handle.
store::ResourceCacheId PrepareRow(store::Transaction& transaction, const std::string& key,
                                  const protocol::Version& version, BuildId build,
                                  store::VolumeRow row) {
  const auto cache = store::UseResourceCache(transaction, key, store::VersionText(version), build);
  row.resource_cache = cache.id;
  store::CreateVolume(transaction, row);
  return cache.id;
}

protocol::Metadata MetadataOf(const Json& source, const protocol::Version& version) {
  protocol::Metadata metadata{{"repository", std::string(source.StringAt("repository"))}};
  const auto tag = version.find("tag");
  if (tag != version.end()) metadata.push_back({"tag", tag->second});
  return metadata;
}

}  // namespace

Task<std::optional<PulledImage>> PullImage(LeafContext context, CacheKey key, Json source,
                                           Json params, protocol::Version version) {
  BuildRun& run = context.run;
  const std::string id = context.plan.id;
  const std::function<void()> on_wait = [&run, id] {
    run.Emit(protocol::WaitingForWorkerEvent({.id = id}, run.now()));
  };
  const fleet::Placement placement = co_await run.services().fleet.Choose(
      {.platform = "linux", .tags = context.plan.get->tags, .team = run.build().team}, on_wait,
      context.stop());
  fleet::WorkerClient& worker = placement.worker();
  if (!co_await worker.PullsImages(context.stop())) co_return std::nullopt;
  run.EmitOnce(id, Stage::kSelectedWorker,
               protocol::SelectedWorkerEvent({.id = id}, run.now(), worker.name()));

  const store::VolumeRow row{.handle = ContainerHandle(run, id) + "-image",
                             .worker_name = worker.name(),
                             .type = std::string(store::volume_types::kResource)};
  const store::ResourceCacheId cache = co_await run.InDatabase(
      true,
      [key = key.text, version, build = run.build().id, row](store::Transaction& transaction) {
        return PrepareRow(transaction, key, version, build, row);
      });
  JsonObject strategy{{"type", kRegistryImage}, {"source", source}, {"version", ToJson(version)}};
  if (!params.IsNull()) strategy.Set("params", params);
  std::optional<Error> error;
  std::exception_ptr stopped;
  try {
    protocol::baggageclaim::VolumeRequest request{.handle = row.handle,
                                                  .strategy = std::move(strategy)};
    co_await worker.CreateVolume(std::move(request), context.stop());
  } catch (const Failure& failure) {
    error = failure.error();
  } catch (...) {
    stopped = std::current_exception();
  }
  const protocol::Metadata metadata = MetadataOf(source, version);
  const bool made = !error && !stopped;
  co_await run.InDatabase(true, [row, cache, metadata, made](store::Transaction& transaction) {
    if (!made) {
      store::SetVolumeDestroying(transaction, row.handle);
      return;
    }
    store::SetVolumeCreated(transaction, row.handle);
    store::SetResourceCacheMetadata(transaction, cache, store::MetadataText(metadata));
  });
  if (stopped) std::rethrow_exception(stopped);
  if (error && error->kind == ErrorKind::kInvalid) {
    // The resource type's own get tries it; whatever that says, this was the first cause.
    run.Say(id, error->message + "\n");
    co_return std::nullopt;
  }
  if (error) throw Failure(std::move(*error));
  co_return PulledImage{.artifact = {.worker = worker.name(),
                                     .volume = row.handle,
                                     .from_cache = true,
                                     .content = key.text},
                        .metadata = metadata};
}

}  // namespace pinion::engine
