#pragma once

#include <string_view>
#include <vector>

#include "api/present/info.h"
#include "base/error.h"

namespace pinion::api {

/// Whether a name may be one: kInvalid for an empty one; what is only unusual becomes a warning.
Result<void> CheckIdentifier(std::string_view name, std::string_view what,
                             std::vector<present::ConfigWarning>& warnings);

}  // namespace pinion::api
