#include "api/cookies.h"

#include "base/text.h"

namespace pinion::api {

std::optional<std::string> FindCookie(const http::Request& request, std::string_view name) {
  for (const auto& [header, value] : request.headers) {
    if (ToLower(header) != "cookie") continue;
    for (const std::string_view part : Split(value, ';')) {
      const std::string_view pair = Trim(part);
      const std::size_t equals = pair.find('=');
      if (equals == std::string_view::npos || pair.substr(0, equals) != name) continue;
      std::string_view text = pair.substr(equals + 1);
      // Values with a space ("bearer TOKEN") travel in quotes.
      if (text.size() >= 2 && text.front() == '"' && text.back() == '"') {
        text = text.substr(1, text.size() - 2);
      }
      return std::string(text);
    }
  }
  return std::nullopt;
}

void SetCookie(http::Headers& headers, std::string_view name, std::string_view value,
               std::int64_t max_age, bool secure) {
  std::string text(name);
  text += "=\"";
  text += value;
  text += "\"; Path=/; Max-Age=" + std::to_string(max_age) + "; HttpOnly; SameSite=Lax";
  if (secure) text += "; Secure";
  headers.Add("Set-Cookie", std::move(text));
}

void ClearCookie(http::Headers& headers, std::string_view name, bool secure) {
  std::string text(name);
  text += "=; Path=/; Max-Age=0; HttpOnly; SameSite=Lax";
  if (secure) text += "; Secure";
  headers.Add("Set-Cookie", std::move(text));
}

}  // namespace pinion::api
