#include "pipeline/url.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"

namespace pinion::pipeline {
namespace {

bool IsLetter(char c) {
  return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}
bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

/// Splits the scheme off. False if what is before the colon cannot be one.
bool TakeScheme(std::string_view& text, std::string& scheme) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (IsLetter(c)) continue;
    if (c == ':') {
      if (i == 0) return false;
      scheme = ToLower(text.substr(0, i));
      text.remove_prefix(i + 1);
      return true;
    }
    const bool later = IsDigit(c) || c == '+' || c == '-' || c == '.';
    if (i == 0 || !later) return true;
  }
  return true;
}

bool ValidAuthority(std::string_view authority) {
  const std::size_t at = authority.rfind('@');
  std::string_view host = at == std::string_view::npos ? authority : authority.substr(at + 1);
  std::string_view port;
  if (host.starts_with('[')) {
    const std::size_t end = host.rfind(']');
    if (end == std::string_view::npos) return false;
    port = host.substr(end + 1);
  } else if (const std::size_t colon = host.rfind(':'); colon != std::string_view::npos) {
    port = host.substr(colon);
    host = host.substr(0, colon);
  }
  if (!port.empty() && (port[0] != ':' || !std::ranges::all_of(port.substr(1), IsDigit))) {
    return false;
  }
  return host.find_first_of(" \"<>\\^`{|}") == std::string_view::npos;
}

}  // namespace

std::optional<std::string> UrlScheme(std::string_view text) {
  for (const char c : text) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) return std::nullopt;
  }
  const std::size_t fragment = text.find('#');
  if (fragment != std::string_view::npos) {
    if (!PercentDecode(text.substr(fragment + 1))) return std::nullopt;
    text = text.substr(0, fragment);
  }
  std::string scheme;
  if (!TakeScheme(text, scheme)) return std::nullopt;
  text = text.substr(0, text.find('?'));
  if (!text.starts_with('/')) {
    if (!scheme.empty()) return scheme;  // opaque, as in mailto:x
    // A first segment with a colon would be taken for a scheme.
    if (text.substr(0, text.find('/')).find(':') != std::string_view::npos) return std::nullopt;
  }
  if (text.starts_with("//") && (!scheme.empty() || !text.starts_with("///"))) {
    text.remove_prefix(2);
    const std::string_view authority = text.substr(0, text.find('/'));
    if (!ValidAuthority(authority)) return std::nullopt;
    text.remove_prefix(authority.size());
  }
  if (!PercentDecode(text)) return std::nullopt;
  return scheme;
}

std::string UrlHost(std::string_view text) {
  const std::size_t start = text.find("://");
  if (start == std::string_view::npos) return {};
  text.remove_prefix(start + 3);
  text = text.substr(0, text.find_first_of("/?#"));
  if (const std::size_t at = text.rfind('@'); at != std::string_view::npos) {
    text.remove_prefix(at + 1);
  }
  if (text.starts_with('[')) return std::string(text.substr(0, text.find(']') + 1));
  return std::string(text.substr(0, text.find(':')));
}

}  // namespace pinion::pipeline
