#pragma once

#include <string>
#include <string_view>

namespace pinion::cli {

/// A terminal's way to show text: the escape codes before and after it.
struct Style {
  std::string_view on;
  std::string_view off;
};

namespace style {
inline constexpr Style kPlain{"", ""};
inline constexpr Style kBold{"1", "22"};
inline constexpr Style kFaint{"2", "22"};
inline constexpr Style kPending{"37", "0"};
inline constexpr Style kStarted{"33", "0"};
inline constexpr Style kSucceeded{"32", "0"};
inline constexpr Style kFailed{"31", "0"};
inline constexpr Style kErrored{"31;1", "0;22"};
inline constexpr Style kAborted{"35", "0"};
inline constexpr Style kOn{"36", "0"};
inline constexpr Style kAlarm{"5;37;41;1", "25;0;0;22"};
}  // namespace style

/// The style of a build's status; alarming for unknown ones.
Style StatusStyle(std::string_view status);

std::string Paint(Style style, std::string_view text, bool colours);

}  // namespace pinion::cli
