#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/json.h"

namespace pinion::pipeline {

/// The vars of an instance by dotted name, nested ones flattened, sorted by name. Lists and empty
/// objects are values, the members of objects inside them sorted. Empty for what is no object.
std::vector<std::pair<std::string, Json>> FlatInstanceVars(const Json& vars);

/// `k:v,…`: how people write the vars of an instance. Texts are quoted where they must be.
std::string InstanceVarsText(const Json& vars);

}  // namespace pinion::pipeline
