#pragma once

#include "engine/resource_caches.h"

namespace pinion::engine {

/// The resource type that workers carry out themselves.
inline constexpr std::string_view kRegistryImage = "registry-image";

struct PulledImage {
  Artifact artifact;
  protocol::Metadata metadata;
};

/// Fetches an image by the worker's own puller, layers shared, without a container. Nothing if the
/// chosen worker cannot (upstream's), or refuses what the source or params ask for: then the type's
/// `in` does it.
Task<std::optional<PulledImage>> PullImage(LeafContext context, CacheKey key, Json source,
                                           Json params, protocol::Version version);

}  // namespace pinion::engine
