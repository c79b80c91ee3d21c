#include "api/watch_budget.h"

#include <gtest/gtest.h>

#include "async/loop.h"
#include "async/task_group.h"

namespace pinion::api {
namespace {

using namespace std::chrono_literals;

Task<void> Send(WatchBudget& budget, int times, int& sent, std::stop_token stop) {
  for (int i = 0; i < times; ++i) {
    co_await budget.Take(1000, stop);
    ++sent;
  }
}

class WatchBudgetTest : public testing::Test {
 protected:
  void Advance(Duration time) {
    clock_.Set(clock_.Steady() + time);
    for (int i = 0; i < 10; ++i) {
      timers_.FireDue();
      loop_.Poll();
    }
  }

  Loop loop_{"test"};
  VirtualClock clock_;
  Timers timers_{clock_};
  WatchBudget budget_{timers_, 1e6};  // 1,000 bytes a millisecond, 20 ms of them at once
  TaskGroup tasks_{loop_.executor(), Logger(), "watchers"};
};

TEST_F(WatchBudgetTest, WatchersShareItInTurn) {
  int first = 0;
  int second = 0;
  tasks_.Spawn(Send(budget_, 1000, first, {}));
  tasks_.Spawn(Send(budget_, 1000, second, {}));
  for (int i = 0; i < 100; ++i)
    Advance(1ms);
  EXPECT_NEAR(first + second, 120, 3);
  EXPECT_GE(second, 48);
  for (int i = 0; i < 3000; ++i)
    Advance(1ms);
  EXPECT_EQ(first + second, 2000);
  EXPECT_EQ(tasks_.size(), 0U);
}

TEST_F(WatchBudgetTest, WhoLeavesDoesNotWait) {
  int sent = 0;
  std::stop_source leaves;
  tasks_.Spawn(Send(budget_, 1000, sent, leaves.get_token()));
  Advance(1ms);
  leaves.request_stop();
  Advance(0ms);
  EXPECT_EQ(tasks_.size(), 0U);
  EXPECT_LT(sent, 30);
}

}  // namespace
}  // namespace pinion::api
