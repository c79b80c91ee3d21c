#pragma once

#include <optional>
#include <string>

#include "engine/container.h"
#include "engine/interruption.h"
#include "engine/steps.h"

namespace pinion::engine {

/// The key of the scope that a type and its (filled in) source belong to, with the chain of images
/// behind a custom type.
Task<std::string> ScopeKeyOf(LeafContext context, std::string type, Json source,
                             const protocol::TypeImage& image);

/// What identifies fetched content: scope, version and params.
struct CacheKey {
  std::string text;
};
CacheKey MakeCacheKey(std::string_view scope_key, const Json& params,
                      const protocol::Version& version);

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
void SaveOutput(store::Transaction& transaction, const store::BuildRow& build,
                const protocol::PutPlan& plan, const std::string& scope_key,
                const protocol::Version& version, const protocol::Metadata& metadata);

/// Interrupts by kTimedOut after a step's own `timeout`; kInvalid Failure if that is no duration.
void SetTimeLimit(Interruption& interruption, Timers& timers, const std::string& timeout);

}  // namespace pinion::engine
