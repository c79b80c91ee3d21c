#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace pinion::cli {

/// A time in unix seconds as strftime() formats it, in local time or UTC.
std::string LocalTime(std::int64_t seconds, const char* format);
std::string UtcTime(std::int64_t seconds, const char* format);
/// As Go prints times: "2006-01-02 15:04:05 -0700 MST", local.
std::string GoTime(std::int64_t seconds);
/// Local time in strptime()'s format, the whole text.
std::optional<std::int64_t> ParseLocalTime(const std::string& text, const char* format);
/// RFC 3339, fractions dropped; nothing for Go's zero time.
std::optional<std::int64_t> ParseRfc3339(const std::string& text);

}  // namespace pinion::cli
