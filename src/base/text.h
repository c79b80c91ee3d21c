#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pinion {

/// The parts between separators; one empty part for empty text.
std::vector<std::string_view> Split(std::string_view text, char separator);
std::string_view Trim(std::string_view text);
/// The whole text as a decimal number that may be negative; nothing if it is none, or too large.
std::optional<std::int64_t> ParseNumber(std::string_view text);
std::string ToLower(std::string_view text);
std::string Join(const std::vector<std::string>& parts, std::string_view separator);

/// The candidate nearest to `word` by edit distance, empty if none is near: for "did you mean".
std::string_view Nearest(std::string_view word, const std::vector<std::string_view>& candidates);

}  // namespace pinion
