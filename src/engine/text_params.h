#pragma once

#include "base/json.h"

namespace pinion::engine {

/// The JSON of a plan with the params of its tasks, and of their configs, as texts, whatever their
/// values were: a var that was filled in may be a number. What else has such names, like a put's
/// params or a resource's source, stays as it is. Plans are as deep as their reader allows.
Json WithTextParams(const Json& plan);

}  // namespace pinion::engine
