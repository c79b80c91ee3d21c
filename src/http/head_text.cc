#include "http/head_text.h"

#include <array>
#include <charconv>
#include <ctime>

#include "base/text.h"

namespace pinion::http {

bool HasToken(std::string_view list, std::string_view token) {
  for (const std::string_view item : Split(list, ',')) {
    if (ToLower(Trim(item)) == token) return true;
  }
  return false;
}

void AppendFields(std::string& out, const Headers& headers) {
  for (const auto& [name, value] : headers) {
    if (name.empty() || name.find_first_of("\r\n: \t") != std::string::npos ||
        name.find('\0') != std::string::npos) {
      throw Failure(ErrorKind::kInternal, "\"" + name + "\" is no name for a header");
    }
    if (value.find_first_of("\r\n") != std::string::npos || value.find('\0') != std::string::npos) {
      throw Failure(ErrorKind::kInternal,
                    "the value of header " + name + " has a line break in it");
    }
    out.append(name).append(": ").append(value).append("\r\n");
  }
}

std::string ChunkSize(std::size_t bytes) {
  std::array<char, 20> text;
  const auto end = std::to_chars(text.data(), text.data() + text.size(), bytes, 16).ptr;
  return std::string(text.data(), end) + "\r\n";
}

std::string HttpDate(WallTime time) {
  const std::time_t seconds =
      std::chrono::floor<std::chrono::seconds>(time).time_since_epoch().count();
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  // Not strftime: names of days and months must not follow the process's locale.
  static constexpr std::string_view kDays[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
  static constexpr std::string_view kMonths[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                 "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
  const auto two = [](int number) {
    return std::string{static_cast<char>('0' + number / 10 % 10),
                       static_cast<char>('0' + number % 10)};
  };
  std::string text(kDays[parts.tm_wday]);
  text += ", " + two(parts.tm_mday) + " ";
  text += kMonths[parts.tm_mon];
  text += " " + std::to_string(parts.tm_year + 1900) + " " + two(parts.tm_hour) + ":" +
          two(parts.tm_min) + ":" + two(parts.tm_sec) + " GMT";
  return text;
}

}  // namespace pinion::http
