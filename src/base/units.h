#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/error.h"

namespace pinion {

/// Go's duration syntax, as Concourse's YAML and flags have it: "300ms", "1h30m", "-1.5h", "0".
Result<Duration> ParseDuration(std::string_view text);
/// As Go prints it: "1h30m0s", "1.5s", "300ms", "0s".
std::string DurationText(Duration duration);

/// A memory size: digits with an optional K, M or G (then optionally i and B; any case), binary
/// units.
Result<std::int64_t> ParseBytes(std::string_view text);

/// A number of bytes, where a plain number would not say its unit.
struct ByteSize {
  std::int64_t bytes = 0;
};
/// As ParseBytes reads it: "4G", "512M", "100".
std::string BytesText(ByteSize size);

}  // namespace pinion
