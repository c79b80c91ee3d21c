#pragma once

#include <functional>
#include <string>

#include "base/clock.h"

namespace pinion {

/// Told of each run of a part that has a loop of its own: when it began, and why it failed ("" if
/// it did not). On the part's loop; short, and it never throws.
using RunListener = std::function<void(SteadyTime begun, const std::string& error)>;

}  // namespace pinion
