#pragma once

#include <optional>
#include <string>
#include <string_view>

/// The few pages that logging in needs; plain HTML, no script.
namespace pinion::api {

/// Text as HTML content or attribute.
std::string EscapeHtml(std::string_view text);

/// The form; it posts to its own address. `error` may be empty.
std::string LoginPage(std::string_view error);
std::string MessagePage(std::string_view title, std::string_view text);
/// Hands the token to a fly that listens on that port of the reader's machine, and shows it for
/// pasting.
std::string TokenPage(std::string_view token, std::optional<int> port);

}  // namespace pinion::api
