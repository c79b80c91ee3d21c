#include "cli/time_text.h"

#include <array>
#include <cstdlib>
#include <ctime>

namespace pinion::cli {
namespace {

std::string Formatted(const std::tm& time, const char* format) {
  std::array<char, 128> buffer{};
  const std::size_t size = std::strftime(buffer.data(), buffer.size(), format, &time);
  return {buffer.data(), size};
}

}  // namespace

std::string LocalTime(std::int64_t seconds, const char* format) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::localtime_r(&time, &parts);
  return Formatted(parts, format);
}

std::string UtcTime(std::int64_t seconds, const char* format) {
  const std::time_t time = seconds;
  std::tm parts{};
  ::gmtime_r(&time, &parts);
  return Formatted(parts, format);
}

std::string GoTime(std::int64_t seconds) {
  return LocalTime(seconds, "%Y-%m-%d %H:%M:%S %z %Z");
}

std::optional<std::int64_t> ParseLocalTime(const std::string& text, const char* format) {
  std::tm parts{};
  const char* end = ::strptime(text.c_str(), format, &parts);
  if (!end || *end != 0) return std::nullopt;
  parts.tm_isdst = -1;
  return std::mktime(&parts);
}

std::optional<std::int64_t> ParseRfc3339(const std::string& text) {
  std::tm parts{};
  const char* rest = ::strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &parts);
  if (!rest || parts.tm_year <= -1899) return std::nullopt;
  if (*rest == '.') {
    ++rest;
    while (*rest >= '0' && *rest <= '9')
      ++rest;
  }
  std::int64_t offset = 0;
  if (*rest == '+' || *rest == '-') {
    const std::string zone(rest + 1);
    if (zone.size() != 5 || zone[2] != ':') return std::nullopt;
    offset = std::atoi(zone.substr(0, 2).c_str()) * 3600 + std::atoi(zone.substr(3).c_str()) * 60;
    if (*rest == '-') offset = -offset;
  } else if (*rest != 'Z') {
    return std::nullopt;
  }
  return ::timegm(&parts) - offset;
}

}  // namespace pinion::cli
