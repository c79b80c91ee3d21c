#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/clock.h"

namespace pinion::simulation {

/// The one source of chance of a run (splitmix64): equal seeds give equal runs on every machine.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  std::uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15U;
    std::uint64_t z = state_;
    z = (z ^ (z >> 30U)) * 0xbf58476d1ce4e5b9U;
    z = (z ^ (z >> 27U)) * 0x94d049bb133111ebU;
    return z ^ (z >> 31U);
  }
  /// 0 up to `bound` - 1; bound ≥ 1.
  std::uint64_t Below(std::uint64_t bound) { return Next() % bound; }
  int Between(int least, int most) {
    return least + static_cast<int>(Below(static_cast<std::uint64_t>(most - least) + 1));
  }
  bool OneIn(std::uint64_t times) { return Below(times) == 0; }
  Duration Time(Duration least, Duration most) {
    return least + Duration(static_cast<std::int64_t>(
                       Below(static_cast<std::uint64_t>((most - least).count()) + 1)));
  }
  template <class T>
  const T& Pick(const std::vector<T>& values) {
    return values[Below(values.size())];
  }

 private:
  std::uint64_t state_;
};

/// A number that depends on the text alone.
inline std::uint64_t HashText(std::string_view text, std::uint64_t hash = 0xcbf29ce484222325U) {
  for (const char c : text) {
    hash ^= static_cast<unsigned char>(c);
    hash *= 0x100000001b3U;
  }
  return hash;
}

}  // namespace pinion::simulation
