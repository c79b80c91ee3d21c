#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "http/message.h"

namespace pinion::api {

/// The instance vars of a pipeline in a query: `vars.<ref>=<JSON>`, where <ref> is a dotted path
/// whose segments may be quoted, and `vars=<JSON object>`. As stored: "" for none, else JSON with
/// sorted keys. kInvalid for broken JSON and for paths that contradict each other.
Result<std::string> InstanceVarsOf(const http::Query& query);

/// Instance vars given as JSON, as stored.
Result<std::string> InstanceVarsText(const Json& vars);

/// "&vars.branch=%22main%22" for a link; empty for none.
std::string InstanceVarsQuery(std::string_view stored);

}  // namespace pinion::api
