#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cli/context.h"

namespace pinion::cli {

struct ConfigWarning {
  std::string type;
  std::string message;
};

/// The member `warnings` of an answer.
std::vector<ConfigWarning> WarningsOf(const Json& answer);
/// On the standard error, with where to read on.
void ShowWarnings(Context& context, const std::vector<ConfigWarning>& warnings);
void ShowErrors(Context& context, std::string_view header, const std::vector<std::string>& errors);

}  // namespace pinion::cli
