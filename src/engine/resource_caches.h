#pragma once

#include <optional>
#include <string>

#include "engine/container.h"
#include "engine/interruption.h"

namespace pinion::engine {

/// What identifies fetched content: type (with its own image), source, version and params.
struct CacheKey {
  std::string text;
};
CacheKey MakeCacheKey(const protocol::GetPlan& plan, const Json& source, const Json& params,
                      const protocol::Version& version);

struct CachedVolume {
  std::string worker;
  std::string volume;
  protocol::Metadata metadata;
};

/// The content on some running worker, preferably one that steps with these tags can use; marks it
/// as used by this build, so that it is not collected under it.
Task<std::optional<CachedVolume>> FindCache(BuildRun& run, CacheKey key,
                                            std::vector<std::string> tags);
/// Makes a fetched volume the cache of its worker.
Task<void> KeepCache(BuildRun& run, CacheKey key, Artifact artifact, protocol::Metadata metadata);

/// Metadata that a get found, onto the resource's version.
void UpdateVersionMetadata(store::Transaction& transaction, const store::BuildRow& build,
                           const std::string& resource, const protocol::Version& version,
                           const protocol::Metadata& metadata);
/// The version that a put made: onto the resource and as the build's output.
void SaveOutput(store::Transaction& transaction, const store::BuildRow& build,
                const protocol::PutPlan& plan, const Json& source, const protocol::Version& version,
                const protocol::Metadata& metadata);

/// Interrupts by kTimedOut after a step's own `timeout`; kInvalid Failure if that is no duration.
void SetTimeLimit(Interruption& interruption, Timers& timers, const std::string& timeout);

}  // namespace pinion::engine
