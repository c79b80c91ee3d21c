#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "http/message.h"

namespace pinion::api {

inline constexpr std::string_view kAuthCookie = "skymarshal_auth";
inline constexpr std::string_view kCsrfCookie = "skymarshal_csrf";
inline constexpr std::string_view kLoginCookie = "pinion_login";

/// The value of a request's cookie, without quotes around it.
std::optional<std::string> FindCookie(const http::Request& request, std::string_view name);

/// Adds a Set-Cookie: HttpOnly, SameSite=Lax, Path=/. `max_age` in seconds.
void SetCookie(http::Headers& headers, std::string_view name, std::string_view value,
               std::int64_t max_age, bool secure);
void ClearCookie(http::Headers& headers, std::string_view name, bool secure);

}  // namespace pinion::api
