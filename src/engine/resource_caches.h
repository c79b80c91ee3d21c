#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/interruption.h"
#include "engine/steps.h"
#include "store/scopes.h"

namespace pinion::engine {

/// What a scope is made of: a type, its (filled in) source and the chain of images behind a custom
/// type.
Task<std::vector<store::ScopeLink>> ScopeChainOf(LeafContext context, std::string type, Json source,
                                                 const protocol::TypeImage& image);

/// The key of a resource's scope: its own, or that of all with the same chain where the server
/// shares them. No resource (types, images): always shared.
std::string ScopeKeyFor(const EngineServices& services, const std::vector<store::ScopeLink>& chain,
                        ResourceId resource);

/// What identifies fetched content: scope, version, params, and the content of a custom type's
/// image (`image`, "" for base types): another version of the type may fetch another thing.
struct CacheKey {
  std::string text;
};
CacheKey MakeCacheKey(std::string_view scope_key, const Json& params,
                      const protocol::Version& version, std::string_view image);

struct CachedVolume {
  std::string worker;
  std::string volume;
  protocol::Metadata metadata;
};

/// The content on some running worker; marks it as used by this build, so that it is not collected
/// under it.
Task<std::optional<CachedVolume>> FindCache(BuildRun& run, CacheKey key, protocol::Version version);
/// Makes a fetched volume the cache of its worker.
Task<void> KeepCache(BuildRun& run, CacheKey key, protocol::Version version, Artifact artifact,
                     protocol::Metadata metadata);

/// The version that a put made: onto the resource and as the build's output.
void SaveOutput(store::Transaction& transaction, const EngineServices& services,
                const store::BuildRow& build, const protocol::PutPlan& plan,
                const std::vector<store::ScopeLink>& chain, const protocol::Version& version,
                const protocol::Metadata& metadata);

/// Interrupts by kTimedOut after a step's own `timeout`; kInvalid Failure if that is no duration.
void SetTimeLimit(Interruption& interruption, Timers& timers, const std::string& timeout);

}  // namespace pinion::engine
