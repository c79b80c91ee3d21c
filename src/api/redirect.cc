#include "api/redirect.h"

#include <algorithm>

#include "base/encoding.h"

namespace pinion::api {

std::optional<std::string> SafeRedirect(std::string_view target) {
  // What hides behind layers of encoding counts as what it ends up as.
  std::string text(target);
  bool settled = false;
  for (int layer = 0; layer < 5 && !settled; ++layer) {
    auto decoded = PercentDecode(text);
    if (!decoded) return std::nullopt;
    settled = *decoded == text;
    text = std::move(*decoded);
  }
  if (!settled) return std::nullopt;
  const bool plain = std::ranges::none_of(
      text, [](unsigned char c) { return c < 0x20 || c == 0x7f || c == '\\'; });
  if (!plain) return std::nullopt;
  const std::size_t start = text.find_first_not_of('/');
  std::string path = "/" + (start == std::string::npos ? std::string() : text.substr(start));
  std::string safe;
  for (const unsigned char c : path) {
    // A header value: what is no plain character goes encoded.
    if (c > 0x20 && c < 0x7f && c != '"' && c != '<' && c != '>') {
      safe += static_cast<char>(c);
    } else {
      safe += PercentEncode(std::string_view(reinterpret_cast<const char*>(&c), 1));
    }
  }
  return safe;
}

std::string WithParameter(std::string target, std::string_view name, std::string_view value) {
  const std::size_t hash = target.find('#');
  if (hash != std::string::npos) target.resize(hash);
  target += target.find('?') == std::string::npos ? '?' : '&';
  target += PercentEncode(name) + "=" + PercentEncode(value);
  return target;
}

}  // namespace pinion::api
