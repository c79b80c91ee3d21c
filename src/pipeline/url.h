#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace pinion::pipeline {

/// The scheme of a URL in lower case, empty for a relative one. Nothing if the text is no URL.
std::optional<std::string> UrlScheme(std::string_view text);
/// The host of an absolute URL, without port and user; empty if it has none.
std::string UrlHost(std::string_view text);

}  // namespace pinion::pipeline
