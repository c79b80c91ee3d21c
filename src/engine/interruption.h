#pragma once

#include <functional>
#include <optional>
#include <stop_token>

#include "async/timers.h"

namespace pinion::engine {

/// How a step ended. The order of badness is not the order of values: see Worse().
enum class Outcome {
  kSucceeded,
  kFailed,    ///< its process said so by a non-zero exit status
  kErrored,   ///< something around it went wrong
  kTimedOut,  ///< a time limit around it passed; the `timeout` modifier turns it into a failure
  kAborted,   ///< somebody aborted the build, or a fail-fast sibling stopped it
};

/// A scope in which steps can be interrupted, with the cause: the build, a timeout, a fail-fast
/// group. Scopes nest; an interruption reaches every scope inside. One loop's thread; parents
/// outlive children.
class Interruption {
 public:
  explicit Interruption(const Interruption* parent = nullptr);
  Interruption(const Interruption&) = delete;
  Interruption& operator=(const Interruption&) = delete;

  /// What the waits of steps in this scope take.
  std::stop_token token() const { return source_.get_token(); }
  /// Interrupts everything in this scope. The first cause stays. `cause` is kTimedOut or kAborted.
  void Interrupt(Outcome cause);
  bool interrupted() const { return source_.stop_requested(); }
  /// kTimedOut or kAborted once it was interrupted.
  Outcome cause() const;
  /// Interrupts by kTimedOut after that time; once.
  void SetTimeLimit(Timers& timers, Duration limit);

 private:
  const Interruption* parent_;
  std::stop_source source_;
  std::optional<Outcome> cause_;
  Timers::Handle timer_;
  std::optional<std::stop_callback<std::function<void()>>> on_parent_;
};

}  // namespace pinion::engine
