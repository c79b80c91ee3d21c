#pragma once

#include <cstdint>
#include <filesystem>

#include "base/error.h"
#include "linux/fd.h"

namespace pinion::linux {

/// A network namespace and the user namespace that owns it, held by descriptors: they vanish with
/// the last descriptor and process that uses them.
struct NamespacePair {
  UniqueFd network;
  UniqueFd user;  ///< none: the host's user namespace owns it
};

/// A new network namespace, owned by the host's users. Blocks.
Result<NamespacePair> MakeNetworkNamespace();

/// A new user namespace, whose ids 0 to `count` are the host's from `base` on, and a new network
/// namespace that it owns. `helper` is a program that, started with the word "namespaces", makes
/// both, writes a byte and waits for the end of its input: threads cannot make user namespaces.
/// Blocks for about a millisecond.
Result<NamespacePair> MakeMappedNamespaces(const std::filesystem::path& helper, std::uint32_t base,
                                           std::uint32_t count);

}  // namespace pinion::linux
