#include "pipeline/yaml_scalar.h"

#include <re2/re2.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <map>
#include <optional>

#include "base/encoding.h"
#include "pipeline/yaml.h"

namespace pinion::pipeline {
namespace {

constexpr std::string_view kTagPrefix = "tag:yaml.org,2002:";

const std::map<std::string_view, Json>& Words() {
  static const auto* words = [] {
    auto* map = new std::map<std::string_view, Json>;
    for (const std::string_view word :
         {"y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"}) {
      map->emplace(word, true);
    }
    for (const std::string_view word :
         {"n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"}) {
      map->emplace(word, false);
    }
    for (const std::string_view word : {"", "~", "null", "Null", "NULL"}) {
      map->emplace(word, nullptr);
    }
    const double infinity = std::numeric_limits<double>::infinity();
    for (const std::string_view word : {".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"}) {
      map->emplace(word, infinity);
    }
    for (const std::string_view word : {"-.inf", "-.Inf", "-.INF"})
      map->emplace(word, -infinity);
    for (const std::string_view word : {".nan", ".NaN", ".NAN"}) {
      map->emplace(word, std::numeric_limits<double>::quiet_NaN());
    }
    return map;
  }();
  return *words;
}

/// Digits after an optional sign; prefixes 0x, 0o, 0b, and 0 for octal.
std::optional<Json> ParseInteger(std::string_view text) {
  bool negative = false;
  if (text.starts_with('-') || text.starts_with('+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  int base = 10;
  if (text.size() > 1 && text[0] == '0') {
    const char mark = static_cast<char>(text[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'b' ? 2 : 8;
    text.remove_prefix(mark == 'x' || mark == 'b' || mark == 'o' ? 2 : 1);
  }
  if (text.empty()) return std::nullopt;
  std::uint64_t value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size()) return std::nullopt;
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (negative) {
    if (value > kMost + 1) return std::nullopt;
    return Json(static_cast<std::int64_t>(~value + 1));
  }
  if (value > kMost) return Json(static_cast<double>(value));
  return Json(static_cast<std::int64_t>(value));
}

std::optional<Json> ParseFloat(std::string_view text) {
  static const re2::RE2 kFloat(R"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)");
  if (!re2::RE2::FullMatch({text.data(), text.size()}, kFloat)) return std::nullopt;
  if (text.starts_with('+')) text.remove_prefix(1);
  double value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ptr != text.data() + text.size()) return std::nullopt;
  if (parsed.ec == std::errc::result_out_of_range) {
    // Too small is zero to a Go reader, too large is text.
    if (text.find("e-") == std::string_view::npos && text.find("E-") == std::string_view::npos) {
      return std::nullopt;
    }
    return Json(0.0);
  }
  return Json(value);
}

Json ResolvePlain(std::string_view text) {
  const auto& words = Words();
  if (const auto word = words.find(text); word != words.end()) return word->second;
  const char first = text.front();
  if (first == '.') return ParseFloat(text).value_or(Json(text));
  if (first != '+' && first != '-' && (first < '0' || first > '9')) return text;
  std::string digits;
  for (const char c : text) {
    if (c != '_') digits += c;
  }
  if (auto integer = ParseInteger(digits)) return *integer;
  if (auto number = ParseFloat(digits)) return *number;
  return text;
}

std::unexpected<Error> Misfit(std::string_view text, std::string_view tag) {
  return Fail(ErrorKind::kInvalid,
              "'" + std::string(text.substr(0, 40)) + "' is no !!" + std::string(tag));
}

}  // namespace

Result<Json> ResolveScalar(std::string_view tag, std::string_view text, bool plain) {
  if (tag.empty()) return plain ? ResolvePlain(text) : Json(text);
  if (!tag.starts_with(kTagPrefix)) return Json(text);
  const std::string_view name = tag.substr(kTagPrefix.size());
  if (name == "binary") {
    const auto bytes = FromBase64(text);
    if (!bytes) return Misfit(text, name);
    return Json(*bytes);
  }
  const bool resolvable = name == "bool" || name == "int" || name == "float" || name == "null";
  if (!resolvable) return Json(text);
  Json value = ResolvePlain(text);
  const bool fits = name == "bool"   ? value.IsBool()
                    : name == "int"  ? value.IsInteger()
                    : name == "null" ? value.IsNull()
                                     : value.IsNumber();
  if (!fits) return Misfit(text, name);
  if (name == "float") return Json(value.AsDouble());
  return value;
}

bool NeedsQuotes(std::string_view text) {
  if (text == "<<") return true;
  if (!ResolvePlain(text).IsString()) return true;
  // What other readers take for a number to the base 60, or for a date.
  static const re2::RE2 kBase60(R"([-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?)");
  static const re2::RE2 kDate(
      R"([0-9]{4}-(?:0?[1-9]|1[0-2])-(?:0?[1-9]|[12][0-9]|3[01]))"
      R"((?:(?:[Tt]| )(?:[01]?[0-9]|2[0-3]):[0-5]?[0-9]:[0-5]?[0-9](?:\.[0-9]+)?)"
      R"((?:Z|[-+][0-9]{2}:[0-9]{2})?)?)");
  const re2::StringPiece piece(text.data(), text.size());
  return re2::RE2::FullMatch(piece, kBase60) || re2::RE2::FullMatch(piece, kDate);
}

std::string FloatText(double value, int bits) {
  if (bits == 32) value = static_cast<float>(value);  // what is too large becomes infinite
  if (std::isnan(value)) return ".nan";
  if (std::isinf(value)) return value < 0 ? "-.inf" : ".inf";
  // Shortest digits in scientific form, "-1.25e+06", taken apart and laid out anew.
  char buffer[64];
  const auto end =
      bits == 32
          ? std::to_chars(buffer, buffer + sizeof(buffer), static_cast<float>(value),
                          std::chars_format::scientific)
          : std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string text(buffer, end.ptr);
  const std::size_t mark = text.find('e');
  const int exponent = std::stoi(text.substr(mark + 1));
  std::string sign;
  std::string digits;
  for (const char c : text.substr(0, mark)) {
    if (c == '-') sign = "-";
    if (c >= '0' && c <= '9') digits += c;
  }
  if (exponent < -4 || exponent >= 6) return text;
  if (exponent < 0) {
    return sign + "0." + std::string(static_cast<std::size_t>(-exponent - 1), '0') + digits;
  }
  const auto whole = static_cast<std::size_t>(exponent) + 1;
  if (digits.size() <= whole) return sign + digits + std::string(whole - digits.size(), '0');
  return sign + digits.substr(0, whole) + "." + digits.substr(whole);
}

bool IsLetter(char32_t code) {
  if (code < 0x80) return (code | 0x20) >= 'a' && (code | 0x20) <= 'z';
  static const re2::RE2 kLetter(R"(\pL)");
  std::string utf8;
  if (code < 0x800) {
    utf8 += static_cast<char>(0xC0 | (code >> 6));
  } else {
    if (code < 0x10000) {
      utf8 += static_cast<char>(0xE0 | (code >> 12));
    } else {
      utf8 += static_cast<char>(0xF0 | (code >> 18));
      utf8 += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    }
    utf8 += static_cast<char>(0x80 | (code >> 6 & 0x3F));
  }
  utf8 += static_cast<char>(0x80 | (code & 0x3F));
  return re2::RE2::FullMatch(utf8, kLetter);
}

std::u32string CodePoints(std::string_view text) {
  std::u32string codes;
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const std::size_t length = lead < 0xC0 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
    char32_t code = length == 1 ? lead : lead & (0xFFu >> (length + 1));
    if (i + length > text.size()) {
      codes += lead;
      ++i;
      continue;
    }
    for (std::size_t k = 1; k < length; ++k) {
      code = code << 6 | (static_cast<unsigned char>(text[i + k]) & 0x3Fu);
    }
    codes += code;
    i += length;
  }
  return codes;
}

}  // namespace pinion::pipeline
