#include "engine/interruption.h"

namespace pinion::engine {

Interruption::Interruption(const Interruption* parent) : parent_(parent) {
  if (!parent_) return;
  on_parent_.emplace(parent_->token(), [this] {
    if (!cause_) cause_ = parent_->cause();
    source_.request_stop();
  });
}

void Interruption::Interrupt(Outcome cause) {
  if (!cause_) cause_ = cause;
  source_.request_stop();
}

Outcome Interruption::cause() const {
  return cause_.value_or(Outcome::kAborted);
}

void Interruption::SetTimeLimit(Timers& timers, Duration limit) {
  timer_ = timers.After(limit, [this] { Interrupt(Outcome::kTimedOut); });
}

}  // namespace pinion::engine
