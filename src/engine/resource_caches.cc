#include "engine/resource_caches.h"

#include "base/encoding.h"
#include "base/units.h"
#include "engine/steps.h"
#include "store/resources.h"
#include "store/versions.h"
#include "store/volumes.h"

namespace pinion::engine {
namespace {

/// The links from a type's own image down to a base type.
Task<void> AppendLinks(LeafContext context, const protocol::TypeImage& image,
                       std::vector<store::ScopeLink>& links) {
  const protocol::TypeImage* current = &image;
  while (current->get_plan) {
    const protocol::GetPlan& get = *current->get_plan->get;
    const Json source = co_await FillIn(context, get.source);
    links.push_back({.type = get.type, .source = source, .params = get.params});
    current = &get.image;
  }
}

}  // namespace

Task<std::vector<store::ScopeLink>> ScopeChainOf(LeafContext context, std::string type, Json source,
                                                 const protocol::TypeImage& image) {
  std::vector<store::ScopeLink> links{{.type = std::move(type), .source = std::move(source)}};
  co_await AppendLinks(context, image, links);
  co_return links;
}

std::string ScopeKeyFor(const EngineServices& services, const std::vector<store::ScopeLink>& chain,
                        ResourceId resource) {
  return store::ScopeKey(chain, services.global_resources ? ResourceId() : resource);
}

CacheKey MakeCacheKey(std::string_view scope_key, const Json& params,
                      const protocol::Version& version, std::string_view image) {
  Json sorted = params;
  if (sorted.IsObject()) sorted.AsObject().SortByName();
  std::string text =
      std::string(scope_key) + "\n" + store::VersionText(version) + "\n" + ToText(sorted);
  if (!image.empty()) text += "\n" + std::string(image);
  return {ToHex(Sha256(text))};
}

Task<std::optional<CachedVolume>> FindCache(BuildRun& run, CacheKey key,
                                            protocol::Version version) {
  co_return co_await run.InDatabase(
      true,
      [key = key.text, version,
       build = run.build().id](store::Transaction& transaction) -> std::optional<CachedVolume> {
        const auto cache =
            store::UseResourceCache(transaction, key, store::VersionText(version), build);
        const auto volumes = store::FindResourceCacheVolumes(transaction, cache.id);
        if (volumes.empty()) return std::nullopt;
        const auto metadata = FromText<protocol::Metadata>(cache.metadata);
        return CachedVolume{.worker = volumes.front().worker_name,
                            .volume = volumes.front().handle,
                            .metadata = metadata.value_or(protocol::Metadata())};
      });
}

Task<void> KeepCache(BuildRun& run, CacheKey key, protocol::Version version, Artifact artifact,
                     protocol::Metadata metadata) {
  co_await run.InDatabase(true, [key = key.text, version, artifact, metadata,
                                 build = run.build().id](store::Transaction& transaction) {
    const auto cache =
        store::UseResourceCache(transaction, key, store::VersionText(version), build);
    store::SetResourceCacheMetadata(transaction, cache.id, store::MetadataText(metadata));
    store::SetVolumeResourceCache(transaction, artifact.volume, cache.id);
  });
}

void SaveOutput(store::Transaction& transaction, const EngineServices& services,
                const store::BuildRow& build, const protocol::PutPlan& plan,
                const std::vector<store::ScopeLink>& chain, const protocol::Version& version,
                const protocol::Metadata& metadata) {
  const auto resource = store::FindResourceByName(transaction, build.pipeline, plan.resource);
  if (!resource) return;  // removed from the pipeline meanwhile: there is nobody to tell
  const ScopeId scope =
      resource->scope ? resource->scope
                      : store::FindOrCreateScope(
                            transaction, ScopeKeyFor(services, chain, resource->id), plan.type);
  store::SavePut(transaction, build.id, plan.name, resource->id, scope, version, metadata);
}

void SetTimeLimit(Interruption& interruption, Timers& timers, const std::string& timeout) {
  if (timeout.empty()) return;
  interruption.SetTimeLimit(timers, ValueOrThrow(ParseDuration(timeout)));
}

}  // namespace pinion::engine
