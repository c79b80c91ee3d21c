#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pinion::api {

/// A redirect target that stays on this site: "/path?query". Nothing for anything that a browser
/// could take for another host, however often it is encoded.
std::optional<std::string> SafeRedirect(std::string_view target);

/// The target with one more query parameter.
std::string WithParameter(std::string target, std::string_view name, std::string_view value);

}  // namespace pinion::api
