#include <gtest/gtest.h>

#include "async/loop.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "async/thread_pool.h"
#include "async/timers.h"

namespace pinion {
namespace {

using namespace std::chrono_literals;

Task<int> Add(ThreadPool& pool, int a, int b) {
  co_return co_await pool.Run([=] { return a + b; });
}

TEST(ThreadPoolTest, BringsValuesAndExceptionsBackToTheLoop) {
  Loop loop("test");
  ThreadPool pool("pool", 2, 10);
  EXPECT_EQ(loop.RunUntilDone(Add(pool, 2, 3)), 5);
  const auto fail = [](ThreadPool& p) -> Task<void> {
    co_await p.Run([] { throw Failure(ErrorKind::kConflict, "no"); });
  };
  EXPECT_THROW(loop.RunUntilDone(fail(pool)), Failure);
}

TEST(TimersTest, VirtualTimeFiresInOrderAndCancelsOnStop) {
  Loop loop("test");
  VirtualClock clock;
  Timers timers(clock);
  TaskGroup group(loop.executor(), Logger(), "test");
  std::vector<int> order;
  const auto sleeper = [](Timers& t, Duration delay, int id, std::vector<int>& out,
                          std::stop_token stop) -> Task<void> {
    co_await t.Sleep(delay, stop);
    out.push_back(id);
  };
  group.Spawn(sleeper(timers, 2s, 2, order, group.stop_token()));
  group.Spawn(sleeper(timers, 1s, 1, order, group.stop_token()));
  group.Spawn(sleeper(timers, 1h, 3, order, group.stop_token()));
  loop.Poll();
  clock.Set(clock.Steady() + 2s);
  timers.FireDue();
  loop.Poll();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
  EXPECT_EQ(group.size(), 1U);
  group.RequestStop();
  loop.RunUntilDone(group.Join());
  EXPECT_EQ(order.size(), 2U);
  EXPECT_FALSE(timers.Next());
}

TEST(TaskGroupTest, LiveTasksAreCountedByTheNamesOfTheirGroups) {
  Loop loop("test");
  VirtualClock clock;
  Timers timers(clock);
  TaskGroup first(loop.executor(), Logger(), "counted");
  TaskGroup second(loop.executor(), Logger(), "counted");
  const auto sleeper = [](Timers& t, std::stop_token stop) -> Task<void> {
    co_await t.Sleep(1s, stop);
  };
  first.Spawn(sleeper(timers, first.stop_token()));
  second.Spawn(sleeper(timers, second.stop_token()));
  loop.Poll();
  EXPECT_EQ(TaskGroup::Live()["counted"], 2);
  second.RequestStop();
  loop.RunUntilDone(second.Join());
  EXPECT_EQ(TaskGroup::Live()["counted"], 1) << "a task that was cancelled is gone";
  clock.Set(clock.Steady() + 1s);
  timers.FireDue();
  loop.RunUntilDone(first.Join());
  EXPECT_FALSE(TaskGroup::Live().contains("counted"));
}

TEST(DeadlineTest, TellsItsOwnExpiryFromTheParentsStop) {
  VirtualClock clock;
  Timers timers(clock);
  std::stop_source parent;
  Deadline deadline(timers, 5s, parent.get_token());
  Deadline none(timers, 0s, parent.get_token());
  clock.Set(clock.Steady() + 5s);
  timers.FireDue();
  EXPECT_TRUE(deadline.expired());
  EXPECT_TRUE(deadline.token().stop_requested());
  EXPECT_FALSE(none.token().stop_requested());
  parent.request_stop();
  EXPECT_TRUE(none.token().stop_requested());
  EXPECT_FALSE(none.expired());
}

TEST(SemaphoreTest, ServesInOrderAndLosesNoPermitOnStop) {
  Loop loop("test");
  Semaphore semaphore(1);
  std::stop_source stop;
  const auto acquire = [](Semaphore& s, std::stop_token t) -> Task<Semaphore::Permit> {
    co_return co_await s.Acquire(t);
  };
  auto held = loop.RunUntilDone(acquire(semaphore, {}));
  TaskGroup group(loop.executor(), Logger(), "test");
  int got = 0;
  const auto waiter = [](Semaphore& s, std::stop_token t, int& count) -> Task<void> {
    const auto permit = co_await s.Acquire(t);
    ++count;
  };
  group.Spawn(waiter(semaphore, stop.get_token(), got));
  group.Spawn(waiter(semaphore, {}, got));
  loop.Poll();
  stop.request_stop();
  held.Release();  // in the same turn as the stop
  loop.RunUntilDone(group.Join());
  EXPECT_EQ(got, 1);
  held = loop.RunUntilDone(acquire(semaphore, {}));
}

TEST(SignalTest, ManySetsWakeOnce) {
  Loop loop("test");
  Signal signal;
  signal.Set();
  signal.Set();
  loop.RunUntilDone(signal.Wait({}));
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(loop.RunUntilDone(signal.Wait(stop.get_token())), Cancelled);
}

TEST(LoopTest, AStopBeforeTheRunEndsIt) {
  Loop loop("test");
  loop.Stop();
  loop.Run();
}

TEST(SystemTimersTest, Fire) {
  Loop loop("test");
  SystemClock clock;
  const auto timers = MakeSystemTimers(loop.executor(), clock);
  loop.RunUntilDone(timers->Sleep(1ms, {}));
}

}  // namespace
}  // namespace pinion
