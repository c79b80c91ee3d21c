#include "base/clock.h"

namespace pinion {

std::int64_t Clock::UnixSeconds() const {
  return std::chrono::floor<std::chrono::seconds>(Now()).time_since_epoch().count();
}

WallTime SystemClock::Now() const {
  return std::chrono::system_clock::now();
}

SteadyTime SystemClock::Steady() const {
  return std::chrono::steady_clock::now();
}

}  // namespace pinion
