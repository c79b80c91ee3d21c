#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

/// What the fuzz targets share. A target defines LLVMFuzzerTestOneInput; what must hold is said
/// with Require.
namespace pinion::fuzz {

/// Ends the process with the reason if something that must hold does not: the fuzzer keeps the
/// input.
inline void Require(bool holds, std::string_view what, std::string_view detail = {}) {
  if (holds) return;
  std::fprintf(stderr, "violated: %.*s\n%.*s\n", static_cast<int>(what.size()), what.data(),
               static_cast<int>(std::min<std::size_t>(detail.size(), 4000)), detail.data());
  std::abort();
}

/// Takes an input apart. Choices are taken from its end, so that texts at its start stay readable.
class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size)
      : rest_(reinterpret_cast<const char*>(data), size) {}

  /// A number below `bound`; 0 when the input is used up.
  unsigned Choice(unsigned bound) {
    if (rest_.empty()) return 0;
    const auto byte = static_cast<unsigned char>(rest_.back());
    rest_.remove_suffix(1);
    return byte % bound;
  }
  /// What is left.
  std::string_view Rest() const { return rest_; }
  /// The text up to the first `separator`, which is dropped; all that is left if there is none.
  std::string_view Until(std::string_view separator) {
    const std::size_t end = rest_.find(separator);
    const std::string_view part = rest_.substr(0, end);
    rest_.remove_prefix(end == std::string_view::npos ? rest_.size() : end + separator.size());
    return part;
  }

 private:
  std::string_view rest_;
};

}  // namespace pinion::fuzz
