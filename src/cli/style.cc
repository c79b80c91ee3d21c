#include "cli/style.h"

#include <array>
#include <utility>

namespace pinion::cli {

Style StatusStyle(std::string_view status) {
  static constexpr std::array<std::pair<std::string_view, Style>, 6> kStyles{{
      {"pending", style::kPending},
      {"started", style::kStarted},
      {"succeeded", style::kSucceeded},
      {"failed", style::kFailed},
      {"errored", style::kErrored},
      {"aborted", style::kAborted},
  }};
  for (const auto& [name, look] : kStyles) {
    if (name == status) return look;
  }
  return style::kAlarm;
}

std::string Paint(Style style, std::string_view text, bool colours) {
  if (!colours || style.on.empty()) return std::string(text);
  std::string painted = "\x1b[";
  painted.append(style.on).append("m").append(text).append("\x1b[").append(style.off).append("m");
  return painted;
}

}  // namespace pinion::cli
