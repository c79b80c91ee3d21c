#include "base/units.h"

#include <array>
#include <charconv>
#include <limits>

namespace pinion {
namespace {

struct Unit {
  std::string_view name;
  std::int64_t nanoseconds;
};

constexpr std::array<Unit, 8> kUnits = {{{"ns", 1},
                                         {"us", 1'000},
                                         {"\xC2\xB5s", 1'000},  // micro sign
                                         {"\xCE\xBCs", 1'000},  // Greek letter mu
                                         {"ms", 1'000'000},
                                         {"s", 1'000'000'000},
                                         {"m", 60'000'000'000},
                                         {"h", 3'600'000'000'000}}};

std::unexpected<Error> BadDuration(std::string_view text) {
  return Fail(ErrorKind::kInvalid, "invalid duration '" + std::string(text) +
                                       "': use numbers with units, such as 30s, 5m or 1h30m");
}

std::string Trimmed(std::int64_t value, std::int64_t unit) {
  std::string text = std::to_string(value / unit);
  std::int64_t rest = value % unit;
  if (rest == 0) return text;
  text += '.';
  for (std::int64_t scale = unit / 10; rest != 0; scale /= 10) {
    text += static_cast<char>('0' + rest / scale);
    rest %= scale;
  }
  return text;
}

}  // namespace

Result<Duration> ParseDuration(std::string_view text) {
  std::string_view rest = text;
  const bool negative = rest.starts_with('-');
  if (negative || rest.starts_with('+')) rest.remove_prefix(1);
  if (rest == "0") return Duration(0);
  if (rest.empty()) return BadDuration(text);
  long double total = 0;
  while (!rest.empty()) {
    long double number = 0;
    const std::size_t digits = rest.find_first_not_of("0123456789.");
    if (digits == 0 || digits == std::string_view::npos) return BadDuration(text);
    const auto parsed = std::from_chars(rest.data(), rest.data() + digits, number);
    if (parsed.ec != std::errc() || parsed.ptr != rest.data() + digits) return BadDuration(text);
    rest.remove_prefix(digits);
    const std::size_t end = rest.find_first_of("0123456789.");
    const std::string_view name = rest.substr(0, end);
    std::int64_t scale = 0;
    for (const Unit& unit : kUnits) {
      if (unit.name == name) scale = unit.nanoseconds;
    }
    if (scale == 0) return BadDuration(text);
    total += number * static_cast<long double>(scale);
    rest.remove_prefix(name.size());
  }
  if (total > static_cast<long double>(std::numeric_limits<std::int64_t>::max())) {
    return BadDuration(text);
  }
  const auto value = static_cast<std::int64_t>(total);
  return Duration(negative ? -value : value);
}

std::string DurationText(Duration duration) {
  std::int64_t value = duration.count();
  if (value == 0) return "0s";
  std::string text = value < 0 ? "-" : "";
  if (value < 0) value = -value;
  if (value < 1'000) return text + std::to_string(value) + "ns";
  if (value < 1'000'000) return text + Trimmed(value, 1'000) + "\xC2\xB5s";
  if (value < 1'000'000'000) return text + Trimmed(value, 1'000'000) + "ms";
  const std::int64_t hours = value / 3'600'000'000'000;
  const std::int64_t minutes = value / 60'000'000'000 % 60;
  if (hours > 0) text += std::to_string(hours) + "h";
  if (hours > 0 || minutes > 0) text += std::to_string(minutes) + "m";
  return text + Trimmed(value % 60'000'000'000, 1'000'000'000) + "s";
}

std::string BytesText(ByteSize size) {
  constexpr std::string_view kLetters = "KMG";
  std::int64_t number = size.bytes;
  std::string unit;
  for (std::size_t i = 0; i < kLetters.size() && number != 0 && number % 1024 == 0; ++i) {
    number /= 1024;
    unit = kLetters[i];
  }
  return std::to_string(number) + unit;
}

Result<std::int64_t> ParseBytes(std::string_view text) {
  const auto bad = [&] {
    return Fail(ErrorKind::kInvalid,
                "invalid size '" + std::string(text) + "': use bytes, or a number with K, M or G");
  };
  std::int64_t number = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), number);
  if (parsed.ec != std::errc() || number < 0) return bad();
  std::string unit;
  for (const char* c = parsed.ptr; c != text.data() + text.size(); ++c) {
    unit += static_cast<char>(*c >= 'a' && *c <= 'z' ? *c - 32 : *c);
  }
  if (unit.ends_with('B')) unit.pop_back();
  if (unit.ends_with('I') && unit.size() == 2) unit.pop_back();
  unsigned shift = 0;
  if (unit == "K") {
    shift = 10;
  } else if (unit == "M") {
    shift = 20;
  } else if (unit == "G") {
    shift = 30;
  } else if (!unit.empty()) {
    return bad();
  }
  if (number > std::numeric_limits<std::int64_t>::max() >> shift) return bad();
  return number << shift;
}

}  // namespace pinion
