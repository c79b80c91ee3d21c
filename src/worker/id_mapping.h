#pragma once

#include <cstdint>

/// How user and group ids inside unprivileged containers stand for ids of the host.
namespace pinion::worker {

/// Id `i` of an unprivileged container is id `kHostIdBase + i` of the host, so root inside is
/// nobody outside. The range lies above every id that distributions hand out. Privileged containers
/// are not mapped.
inline constexpr std::uint32_t kHostIdBase = 0x40000000;
/// Ids from 0 up to this one exist inside a container.
inline constexpr std::uint32_t kIdCount = 0x10000000;

}  // namespace pinion::worker
