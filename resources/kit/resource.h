#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

/// What every built-in resource type's program is made of. One program serves check, in and out,
/// told by the name it is started as. It runs as its container's process: errors end it, so they
/// are thrown.
namespace pinion::resource {

/// A request of upstream's resource protocol, as read from standard input.
struct Request {
  std::string action;  ///< "check", "in" or "out"
  std::string folder;  ///< destination of `in`, sources of `out`
  Json source = JsonObject();
  Json params = JsonObject();
  Json version;  ///< null if none was given
};

/// A line on standard error, where the user reads it; a bold red "error:" before failures.
void Say(std::string_view text);

/// Members of `object` that are not in `known` are mistakes: kInvalid names them.
void RefuseUnknown(const Json& object, std::string_view what,
                   const std::vector<std::string_view>& known);

/// Reads the request, calls `run` and prints its answer; a Failure is said and makes the exit
/// status 1.
int Main(int argc, char** argv, Json (*run)(const Request&));

}  // namespace pinion::resource
