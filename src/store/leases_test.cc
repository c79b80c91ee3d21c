#include "store/leases.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "async/loop.h"
#include "async/signal.h"
#include "async/task_group.h"
#include "store/leases_keeper.h"
#include "store/testing.h"

namespace pinion::store {
namespace {

using namespace std::chrono_literals;

class LeasesTest : public testing::DatabaseTest {
 protected:
  Lease Acquire(std::string_view node) {
    return Write([&](Transaction& t) { return AcquireLease(t, node, "web"); });
  }
  bool Holds(std::string_view node, std::int64_t epoch) {
    return Write([&](Transaction& t) { return HoldsLease(t, node, epoch); });
  }
};
PINION_FOR_EACH_DATABASE(LeasesTest);

TEST_P(LeasesTest, ANewLifeFencesTheFormer) {
  const Lease first = Acquire("a");
  EXPECT_TRUE(Holds("a", first.epoch));
  EXPECT_FALSE(Holds("b", first.epoch));
  const Lease second = Acquire("a");
  EXPECT_GT(second.epoch, first.epoch);
  EXPECT_FALSE(Holds("a", first.epoch));
  EXPECT_TRUE(Holds("a", second.epoch));
  EXPECT_FALSE(Write([&](Transaction& t) { return RenewLease(t, first); }));
  EXPECT_TRUE(Write([&](Transaction& t) { return RenewLease(t, second); }));
  Write([&](Transaction& t) { ReleaseLease(t, first); });
  EXPECT_TRUE(Holds("a", second.epoch));
}

TEST_P(LeasesTest, TakingOverGivesAnEpochAboveTheDeadOne) {
  const Lease own = Acquire("own");
  const Lease dead = Acquire("dead");
  ASSERT_GT(dead.epoch, own.epoch);
  const auto taken = Write([&](Transaction& t) { return TakeOverLease(t, dead, own); });
  ASSERT_TRUE(taken);
  EXPECT_GT(taken->last_epoch, dead.epoch);
  EXPECT_FALSE(Holds("dead", dead.epoch));
  EXPECT_TRUE(Holds("own", own.epoch));  // what it ran before stays its own
  EXPECT_TRUE(Holds("own", taken->last_epoch));
  EXPECT_FALSE(Write([&](Transaction& t) { return TakeOverLease(t, dead, *taken); }));
  EXPECT_GT(Acquire("dead").epoch, taken->last_epoch);
}

TEST_P(LeasesTest, OneThatWasRenewedMeanwhileIsNotTaken) {
  const Lease own = Acquire("own");
  const Lease alive = Acquire("alive");
  EXPECT_TRUE(Write([&](Transaction& t) { return RenewLease(t, alive); }));
  EXPECT_FALSE(Write([&](Transaction& t) { return TakeOverLease(t, alive, own); }));
  EXPECT_TRUE(Holds("alive", alive.epoch));
}

TEST_P(LeasesTest, WhoLostItsOwnTakesNothing) {
  const Lease own = Acquire("own");
  const Lease dead = Acquire("dead");
  Acquire("own");
  EXPECT_THROW(Write([&](Transaction& t) { return TakeOverLease(t, dead, own); }), Failure);
  EXPECT_TRUE(Holds("dead", dead.epoch));
}

// An owner that was asleep writes under its old lease while another takes over: either its row is
// in before the take-over and seen by it, or it is refused.
TEST_P(LeasesTest, NoRowOfAnOldOwnerSlipsThroughATakeOver) {
  for (int round = 0; round < 20; ++round) {
    const Lease own = Acquire("own");
    const Lease dead = Acquire("dead");
    std::int64_t seen = 0;
    std::thread old_owner([&] {
      try {
        Write([&](Transaction& t) {
          if (!HoldsLease(t, dead.node, dead.epoch)) throw Failure(ErrorKind::kConflict, "fenced");
          std::this_thread::yield();
          t.Execute("insert into settings (name, value) values ($1, '')",
                    {"row of " + std::to_string(dead.epoch)});
        });
      } catch (const Failure&) {
      }
    });
    Write([&](Transaction& t) {
      ASSERT_TRUE(TakeOverLease(t, dead, own));
      seen = t.QueryOne("select count(*) from settings where name like 'row of %'")->Integer(0);
    });
    old_owner.join();
    const std::int64_t now = Read([](Transaction& t) {
      return t.QueryOne("select count(*) from settings where name like 'row of %'")->Integer(0);
    });
    EXPECT_EQ(now, seen);
  }
}

TEST(LeaseWatchTest, WaitsOnItsOwnClock) {
  VirtualClock clock;
  LeaseWatch watch(clock, 10s);
  Lease lease{.node = "a", .epoch = 1, .last_epoch = 1, .counter = 1};
  EXPECT_TRUE(watch.Observe({lease}).empty());
  clock.StepWallTime(1h);
  EXPECT_TRUE(watch.Observe({lease}).empty());
  clock.Set(clock.Steady() + 9s);
  lease.counter = 2;
  EXPECT_TRUE(watch.Observe({lease}).empty());
  clock.Set(clock.Steady() + 9s);
  EXPECT_TRUE(watch.Observe({lease}).empty());
  clock.Set(clock.Steady() + 1s);
  EXPECT_EQ(watch.Observe({lease}).size(), 1U);
  EXPECT_TRUE(watch.Observe({}).empty());
  EXPECT_TRUE(watch.Observe({lease}).empty());  // known anew
}

class LeaseKeeperTest : public testing::DatabaseTest {
 protected:
  /// A node on the virtual clock.
  struct Node {
    Node(LeaseKeeperTest& test, std::string name, LeaseOptions options = {},
         std::function<Task<void>()> let_go = {})
        : loop(test.loop_),
          keeper(*test.inline_, test.timers_, Logger(), std::move(name), "web", options,
                 {.take_over = [this](Transaction&, const Lease& dead,
                                      const Lease&) { taken = dead.node; },
                  .taken_over = [this] { ++take_overs; },
                  .lost = [this] { lost = true; },
                  .let_go = std::move(let_go)}),
          tasks(test.loop_.executor(), Logger(), "node") {}
    ~Node() { Kill(); }
    void Start() {
      loop.RunUntilDone(keeper.Acquire({}));
      tasks.Spawn(keeper.Run(tasks.stop_token()));
    }
    void Kill() {
      tasks.RequestStop();
      loop.RunUntilDone(tasks.Join());
    }

    Loop& loop;
    LeaseKeeper keeper;
    std::string taken;
    int take_overs = 0;
    bool lost = false;
    TaskGroup tasks;
  };

  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    DatabaseOptions options = test_database().options();
    options.inline_calls = true;
    inline_ = ValueOrThrow(Database::Open(options, clock_, Logger()));
  }
  void TearDown() override {
    inline_.reset();
    DatabaseTest::TearDown();
  }
  void Advance(Duration by) {
    for (const SteadyTime end = clock_.Steady() + by; clock_.Steady() < end;) {
      while (loop_.Poll() > 0) {
      }
      clock_.Set(clock_.Steady() + 1s);
      timers_.FireDue();
    }
    while (loop_.Poll() > 0) {
    }
  }

  Loop loop_{"test"};
  VirtualClock clock_;
  Timers timers_{clock_};
  std::unique_ptr<Database> inline_;
};
PINION_FOR_EACH_DATABASE(LeaseKeeperTest);

TEST_P(LeaseKeeperTest, TheLivingKeepTheirsAndTakeThoseOfTheDead) {
  Node a(*this, "a");
  Node b(*this, "b");
  a.Start();
  b.Start();
  Advance(120s);
  EXPECT_EQ(a.take_overs + b.take_overs, 0);
  EXPECT_FALSE(a.lost || b.lost);
  const Lease of_b = b.keeper.lease();
  b.Kill();
  Advance(10s);
  EXPECT_EQ(a.take_overs, 0);  // too early
  Advance(15s);
  EXPECT_EQ(a.take_overs, 1);
  EXPECT_EQ(a.taken, "b");
  EXPECT_GT(a.keeper.lease().last_epoch, of_b.last_epoch);
  Advance(60s);
  EXPECT_EQ(a.take_overs, 1);
  EXPECT_FALSE(a.lost);
}

TEST_P(LeaseKeeperTest, OneOfManyTakesOver) {
  Node a(*this, "a");
  Node b(*this, "b");
  Node c(*this, "c");
  for (Node* node : {&a, &b, &c})
    node->Start();
  Advance(30s);
  c.Kill();
  Advance(60s);
  EXPECT_EQ(a.take_overs + b.take_overs, 1);
}

TEST_P(LeaseKeeperTest, WhoWasTakenOverLearnsIt) {
  Node a(*this, "a");
  a.Start();
  Advance(5s);
  Node again(*this, "a");  // started twice under one name
  again.Start();
  Advance(5s);
  EXPECT_TRUE(a.lost);
  EXPECT_FALSE(again.lost);
}

TEST_P(LeaseKeeperTest, WhoCannotRenewStopsBeforeOthersTakeOver) {
  Node a(*this, "a");
  a.Start();
  Advance(5s);
  inline_->Run(Pool::kApi, true,
               [](Transaction& t) { t.Execute("alter table leases rename to gone"); });
  Advance(12s);
  EXPECT_FALSE(a.lost);
  Advance(3s);
  EXPECT_TRUE(a.lost);
}

TEST_P(LeaseKeeperTest, AnOutageOfTheDatabaseIsNobodysDeath) {
  Node a(*this, "a");
  Node b(*this, "b");
  a.Start();
  b.Start();
  Advance(10s);
  inline_->Run(Pool::kApi, true,
               [](Transaction& t) { t.Execute("alter table leases rename to gone"); });
  Advance(9s);
  inline_->Run(Pool::kApi, true,
               [](Transaction& t) { t.Execute("alter table gone rename to leases"); });
  b.tasks.RequestStop();  // and it has died meanwhile
  Advance(10s);
  EXPECT_EQ(a.take_overs, 0);
  EXPECT_FALSE(a.lost);
  Advance(15s);
  EXPECT_EQ(a.take_overs, 1);
}

TEST_P(LeaseKeeperTest, WhoLostItClaimsALaterOneOnceItHasLetGo) {
  Event gone;
  Node a(*this, "a", {}, [&gone]() -> Task<void> { return gone.Wait({}); });
  a.Start();
  const std::int64_t before = a.keeper.lease().last_epoch;
  Advance(5s);
  inline_->Run(Pool::kApi, true,
               [](Transaction& t) { t.Execute("alter table leases rename to gone"); });
  Advance(60s);
  EXPECT_TRUE(a.lost);
  gone.Set();
  Advance(10s);
  EXPECT_TRUE(a.keeper.lost());  // the database is still away
  inline_->Run(Pool::kApi, true,
               [](Transaction& t) { t.Execute("alter table gone rename to leases"); });
  Advance(5s);
  EXPECT_FALSE(a.keeper.lost());
  EXPECT_GT(a.keeper.lease().epoch, before);
  EXPECT_EQ(a.take_overs, 1);
  Advance(60s);
  EXPECT_FALSE(a.keeper.lost());  // and keeps it
}

TEST_P(LeaseKeeperTest, TwoOfOneNameDoNotTakeItFromEachOtherForEver) {
  const auto at_once = []() -> Task<void> { co_return; };
  Node a(*this, "a", {}, at_once);
  a.Start();
  Advance(5s);
  Node again(*this, "a", {}, at_once);
  again.Start();
  Advance(60s);
  EXPECT_TRUE(a.keeper.lost());
  EXPECT_FALSE(again.lost);
}

TEST_P(LeaseKeeperTest, AloneItTakesFormerLivesAtOnceAndRestsThen) {
  const LeaseOptions alone{.renew = 0s};
  {
    Node former(*this, "former", alone);
    former.Start();
    Advance(1s);
  }
  Node own(*this, "own", alone);
  own.Start();
  Advance(1s);
  EXPECT_EQ(own.taken, "former");
  EXPECT_EQ(own.tasks.size(), 0U);
  loop_.RunUntilDone(own.keeper.Release({}));
  EXPECT_TRUE(Read([](Transaction& t) { return ListLeases(t); }).empty());
}

}  // namespace
}  // namespace pinion::store
