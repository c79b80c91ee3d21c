#pragma once

#include <algorithm>

#include "async/timers.h"

namespace pinion::api {

/// Keeps watchers of running builds from slowing the builds down, which share the loop with them:
/// together they are sent so many bytes a second and no more. Few watchers never come near it, many
/// fall behind a build that prints as fast as it can and catch up when it has ended. On the loop's
/// thread.
class WatchBudget {
 public:
  WatchBudget(Timers& timers, double bytes_a_second = 400e6)
      : timers_(timers), bytes_a_second_(bytes_a_second) {}

  /// Returns when it is this one's turn to send so many bytes, in the order of the calls. Throws
  /// Cancelled on stop.
  Task<void> Take(std::size_t bytes, std::stop_token stop) {
    const SteadyTime now = timers_.clock().Steady();
    const SteadyTime turn = std::max(free_from_, now - kBurst);
    free_from_ = turn + std::chrono::duration_cast<Duration>(std::chrono::duration<double>(
                            static_cast<double>(bytes) / bytes_a_second_));
    if (turn > now) co_await timers_.SleepUntil(turn, std::move(stop));
  }

 private:
  static constexpr Duration kBurst = std::chrono::milliseconds(20);

  Timers& timers_;
  const double bytes_a_second_;
  SteadyTime free_from_{};
};

}  // namespace pinion::api
