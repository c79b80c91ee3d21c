#pragma once

#include <chrono>
#include <cstdint>

namespace pinion {

/// Time of day, for what people and other systems read. It can step.
using WallTime = std::chrono::sys_time<std::chrono::nanoseconds>;
/// Time that only goes forward, for deadlines and durations.
using SteadyTime = std::chrono::time_point<std::chrono::steady_clock, std::chrono::nanoseconds>;
using Duration = std::chrono::nanoseconds;

/// Where time comes from. Everything that asks for the time takes a Clock&, so that tests and the
/// simulation decide it. Thread-safe.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual WallTime Now() const = 0;
  virtual SteadyTime Steady() const = 0;

  /// Whole unix seconds, as the API and the database hold times.
  std::int64_t UnixSeconds() const;
};

/// The machine's clocks.
class SystemClock final : public Clock {
 public:
  WallTime Now() const override;
  SteadyTime Steady() const override;
};

}  // namespace pinion
