#include "async/timers.h"

#include <boost/asio/steady_timer.hpp>

namespace pinion {

void Timers::Handle::Cancel() {
  if (Timers* timers = std::exchange(timers_, nullptr)) timers->pending_.erase({when_, id_});
  // The system timer stays set: waking for nothing once is cheaper than setting it each time.
}

Timers::Handle Timers::At(SteadyTime when, std::move_only_function<void()> action) {
  const std::uint64_t id = ++next_id_;
  const auto [entry, added] = pending_.emplace(Key(when, id), std::move(action));
  if (entry == pending_.begin()) Rearm();
  return {this, when, id};
}

Timers::Handle Timers::After(Duration delay, std::move_only_function<void()> action) {
  return At(clock_.Steady() + delay, std::move(action));
}

Task<void> Timers::SleepUntil(SteadyTime when, std::stop_token stop) {
  Handle handle;
  co_await SuspendUntilStop<bool>(
      std::move(stop), [&](Waker<bool> waker) { handle = At(when, [waker] { waker(true); }); });
}

Task<void> Timers::Sleep(Duration delay, std::stop_token stop) {
  return SleepUntil(clock_.Steady() + delay, std::move(stop));
}

std::optional<SteadyTime> Timers::Next() const {
  if (pending_.empty()) return std::nullopt;
  return pending_.begin()->first.first;
}

void Timers::FireDue() {
  // One by one: an action may cancel others or add more.
  const SteadyTime now = clock_.Steady();
  while (!pending_.empty() && pending_.begin()->first.first <= now) {
    auto action = std::move(pending_.begin()->second);
    pending_.erase(pending_.begin());
    action();
  }
}

namespace {

class SystemTimers final : public Timers {
 public:
  SystemTimers(const Executor& executor, const Clock& clock)
      : Timers(clock), timer_(executor), alive_(std::make_shared<bool>(true)) {}
  ~SystemTimers() override { *alive_ = false; }

 private:
  void Rearm() override {
    const auto next = Next();
    if (!next) return;
    timer_.expires_at(std::chrono::steady_clock::time_point(
        std::chrono::ceil<std::chrono::steady_clock::duration>(next->time_since_epoch())));
    timer_.async_wait([this, alive = alive_](const boost::system::error_code& error) {
      if (error || !*alive) return;  // set anew, or gone
      FireDue();
      Rearm();
    });
  }

  boost::asio::steady_timer timer_;
  std::shared_ptr<bool> alive_;
};

}  // namespace

std::unique_ptr<Timers> MakeSystemTimers(const Executor& executor, const Clock& clock) {
  return std::make_unique<SystemTimers>(executor, clock);
}

Deadline::Deadline(Timers& timers, Duration limit, std::stop_token parent)
    : stop_(std::move(parent)) {
  if (limit == Duration::zero()) return;
  timer_ = timers.After(limit, [this] {
    expired_ = !stop_.stop_requested();
    stop_.RequestStop();
  });
}

}  // namespace pinion
