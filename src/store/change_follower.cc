#include "store/change_follower.h"

namespace pinion::store {
namespace {

constexpr std::size_t kPage = 500;
constexpr Duration kSweep = std::chrono::minutes(3);
constexpr Duration kRetry = std::chrono::seconds(1);

}  // namespace

ChangeFollower::ChangeFollower(Database& database, Executor executor, Timers& timers, Logger log)
    : database_(database),
      executor_(executor),
      timers_(timers),
      log_(log.With({{"component", "change-follower"}})),
      tasks_(executor, log_, "change follower") {}

ChangeFollower::~ChangeFollower() = default;

void ChangeFollower::Subscribe(Consumer consumer) {
  consumers_.push_back(std::move(consumer));
}

Task<void> ChangeFollower::Start() {
  // The notification may come from any thread and after this object's end.
  const std::weak_ptr<Signal> look = look_;
  database_.OnChange([look, executor = executor_] {
    boost::asio::post(executor, [look] {
      if (const auto signal = look.lock()) signal->Set();
    });
  });
  cursor_ = co_await database_.Read(
      Pool::kEngine, [](Transaction& transaction) { return EndOfChanges(transaction); });
  tasks_.Spawn(Follow());
}

Task<void> ChangeFollower::Follow() {
  const std::stop_token stop = tasks_.stop_token();
  while (true) {
    sweep_ = timers_.After(kSweep, [look = look_] { look->Set(); });
    co_await look_->Wait(stop);
    std::optional<Error> error;
    try {
      co_await CatchUp();
    } catch (const Failure& failure) {
      error = failure.error();
    }
    if (!error) continue;
    log_.Warn("the change feed could not be read, trying again", {{"error", error->message}});
    co_await timers_.Sleep(kRetry, stop);
    look_->Set();
  }
}

Task<void> ChangeFollower::CatchUp() {
  const auto permit = co_await reading_.Acquire(tasks_.stop_token());
  bool more = true;
  while (more) {
    const ChangePage page =
        co_await database_.Read(Pool::kEngine, [cursor = cursor_](Transaction& transaction) {
          return ReadChanges(transaction, cursor, kPage);
        });
    cursor_ = page.next;
    more = page.more;
    if (page.changes.empty() && !page.trimmed) continue;
    for (const Consumer& consumer : consumers_)
      consumer(page.changes, page.trimmed);
  }
}

Task<void> ChangeFollower::Stop() {
  sweep_.Cancel();
  tasks_.RequestStop();
  co_await tasks_.Join();
}

}  // namespace pinion::store
