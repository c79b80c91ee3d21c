#pragma once

#include <filesystem>
#include <string>

#include "base/error.h"
#include "protocol/garden.h"
#include "worker/containers/users.h"

namespace pinion::worker {

/// A process as the container's init reads it (see supervisor/protocol.h), and its user.
struct InitSpec {
  std::string text;
  ContainerUser user;
};

/// Puts container and process together: environment (PATH, HOME and USER when nobody set them),
/// user, folder. Errors: kInvalid for bytes that cannot be passed on, kNotFound for the user.
/// Blocks.
Result<InitSpec> MakeInitSpec(const protocol::garden::ContainerSpec& container,
                              const protocol::garden::ProcessSpec& process,
                              const std::filesystem::path& rootfs);

}  // namespace pinion::worker
