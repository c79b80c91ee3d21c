#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>

#include "async/task.h"
#include "base/clock.h"

namespace pinion {

/// All timers of one loop. The heap is ours so that a virtual clock can drive it: tests and the
/// simulation advance time by hand, the server sets one system timer for the earliest entry.
/// For the loop's thread only. Must outlive every handle.
class Timers {
 public:
  explicit Timers(const Clock& clock) : clock_(clock) {}
  virtual ~Timers() = default;

  const Clock& clock() const { return clock_; }

  /// A pending call; destroying it cancels the call.
  class Handle {
   public:
    Handle() = default;
    Handle(Timers* timers, SteadyTime when, std::uint64_t id)
        : timers_(timers), when_(when), id_(id) {}
    Handle(Handle&& other) noexcept { *this = std::move(other); }
    Handle& operator=(Handle&& other) noexcept {
      Cancel();
      timers_ = std::exchange(other.timers_, nullptr);
      when_ = other.when_;
      id_ = other.id_;
      return *this;
    }
    ~Handle() { Cancel(); }
    void Cancel();

   private:
    Timers* timers_ = nullptr;
    SteadyTime when_{};
    std::uint64_t id_ = 0;
  };

  /// Calls `action` on the loop at that time, or soon if it has passed. The action must not throw.
  [[nodiscard]] Handle At(SteadyTime when, std::move_only_function<void()> action);
  [[nodiscard]] Handle After(Duration delay, std::move_only_function<void()> action);

  /// Returns at that time; throws Cancelled on stop.
  Task<void> SleepUntil(SteadyTime when, std::stop_token stop);
  Task<void> Sleep(Duration delay, std::stop_token stop);

  /// The earliest pending time, if any.
  std::optional<SteadyTime> Next() const;
  /// Runs everything that is due; whoever drives the clock calls it.
  void FireDue();

 protected:
  /// The earliest time changed: the system timer must be set anew.
  virtual void Rearm() {}

 private:
  using Key = std::pair<SteadyTime, std::uint64_t>;

  const Clock& clock_;
  std::map<Key, std::move_only_function<void()>> pending_;
  std::uint64_t next_id_ = 0;
};

/// Timers driven by the system's clock on a loop.
std::unique_ptr<Timers> MakeSystemTimers(const Executor& executor, const Clock& clock);

/// A clock and its timers that stand still until Advance(); both clocks move together.
class VirtualClock final : public Clock {
 public:
  WallTime Now() const override { return now_ + wall_offset_; }
  SteadyTime Steady() const override { return SteadyTime(now_.time_since_epoch()); }
  void Set(SteadyTime time) { now_ = WallTime(time.time_since_epoch()); }
  /// A step of the time of day alone, as an administrator or a bad time server makes it.
  void StepWallTime(Duration by) { wall_offset_ += by; }

 private:
  WallTime now_{std::chrono::seconds(1'700'000'000)};
  Duration wall_offset_{0};
};

/// A deadline that requests a stop: hand token() to what must not take longer than `limit`.
class Deadline {
 public:
  /// A limit of zero means none.
  Deadline(Timers& timers, Duration limit, std::stop_token parent);
  std::stop_token token() const { return stop_.token(); }
  /// True if it was the time that stopped it, not the parent.
  bool expired() const { return expired_; }

 private:
  LinkedStop stop_;
  bool expired_ = false;
  Timers::Handle timer_;
};

}  // namespace pinion
