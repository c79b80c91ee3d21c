#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace pinion {

/// A database id of one kind of thing; ids of different kinds do not mix. 0 means "none".
template <class Tag>
struct Id {
  std::int64_t value = 0;

  explicit operator bool() const { return value != 0; }
  friend auto operator<=>(const Id&, const Id&) = default;
};

using TeamId = Id<struct TeamTag>;
using UserId = Id<struct UserTag>;
using PipelineId = Id<struct PipelineTag>;
using JobId = Id<struct JobTag>;
using ResourceId = Id<struct ResourceTag>;
using ResourceTypeId = Id<struct ResourceTypeTag>;
/// One distinct (type, source): what is checked, and what owns versions. Upstream: resource config
/// scope.
using ScopeId = Id<struct ScopeTag>;
/// A version within a scope. Upstream: resource_config_version.
using VersionId = Id<struct VersionTag>;
using BuildId = Id<struct BuildTag>;
using ArtifactId = Id<struct ArtifactTag>;

}  // namespace pinion

template <class Tag>
struct std::hash<pinion::Id<Tag>> {
  std::size_t operator()(pinion::Id<Tag> id) const { return std::hash<std::int64_t>()(id.value); }
};
