#include "store/changes.h"

#include <gtest/gtest.h>

#include <latch>
#include <set>
#include <thread>

#include "store/testing.h"

namespace pinion::store {
namespace {

class ChangesTest : public testing::DatabaseTest {
 protected:
  void Append(std::int64_t id) {
    Write([&](Transaction& t) { t.AppendChange("test.done", id, TeamId{}); });
  }
  /// Reads to the end in pages; the ids in order.
  std::vector<std::int64_t> Follow(ChangeCursor& cursor, std::size_t limit = 100) {
    std::vector<std::int64_t> ids;
    for (bool more = true; more;) {
      const ChangePage page = Read([&](Transaction& t) { return ReadChanges(t, cursor, limit); });
      EXPECT_FALSE(page.trimmed);
      EXPECT_LE(page.changes.size(), limit);
      for (const Change& change : page.changes)
        ids.push_back(change.id);
      // As a reader that keeps it in a settings row would.
      cursor = ChangeCursor::FromText(page.next.ToText()).value();
      EXPECT_EQ(cursor, page.next);
      more = page.more;
    }
    return ids;
  }
};
PINION_FOR_EACH_DATABASE(ChangesTest);

using Ids = std::vector<std::int64_t>;

TEST_P(ChangesTest, CarryWhoDidWhat) {
  Write([](Transaction& t) {
    t.Execute("insert into teams (name) values ('main')");
    t.SetActor("local:test", "request-1");
    t.AppendChange("team.created", 1, TeamId{1}, JsonObject{{"name", "main"}});
  });
  const ChangePage page = Read([](Transaction& t) { return ReadChanges(t, {}, 10); });
  ASSERT_EQ(page.changes.size(), 1U);
  const Change& change = page.changes[0];
  EXPECT_EQ(change.kind, "team.created");
  EXPECT_EQ(change.actor, "local:test");
  EXPECT_EQ(change.request_id, "request-1");
  EXPECT_EQ(change.id, 1);
  EXPECT_EQ(change.team, TeamId{1});
  EXPECT_EQ(change.data, R"({"name":"main"})");
  EXPECT_GT(change.sequence, 0);
  EXPECT_GT(change.time, 1'700'000'000);
}

TEST_P(ChangesTest, AreReadInPagesEachOnce) {
  ChangeCursor cursor;
  for (int i = 1; i <= 7; ++i)
    Append(i);
  EXPECT_EQ(Follow(cursor, 3), (Ids{1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(Follow(cursor, 3), Ids{});
  Append(8);
  EXPECT_EQ(Follow(cursor, 3), Ids{8});
  Write([](Transaction& t) {
    for (int i = 9; i <= 15; ++i)
      t.AppendChange("test.done", i, TeamId{});
  });
  EXPECT_EQ(Follow(cursor, 2), (Ids{9, 10, 11, 12, 13, 14, 15}));
}

TEST_P(ChangesTest, ALongWriterHoldsNothingUpAndLosesNothing) {
  if (GetParam() == Dialect::kSqlite) GTEST_SKIP() << "SQLite has one writer at a time";
  ChangeCursor cursor;
  Append(1);
  EXPECT_EQ(Follow(cursor), Ids{1});
  Ids during;
  Ids other_start;
  Write([&](Transaction& slow) {
    slow.AppendChange("test.done", 2, TeamId{});  // takes its sequence before the next ones
    std::thread([&] {
      Append(3);
      during = Follow(cursor);
      Append(4);
      for (const auto id : Follow(cursor))
        during.push_back(id);
      for (const auto id : Follow(cursor))
        during.push_back(id);
    }).join();
  });
  EXPECT_EQ(during, (Ids{3, 4}));
  EXPECT_EQ(Follow(cursor), Ids{2});
  EXPECT_EQ(Follow(cursor), Ids{});
}

TEST_P(ChangesTest, WhoLoadsStateFollowsFromThere) {
  Append(1);
  Append(2);
  ChangeCursor cursor = Read([](Transaction& t) { return EndOfChanges(t); });
  EXPECT_EQ(Follow(cursor), Ids{});
  Append(3);
  EXPECT_EQ(Follow(cursor), Ids{3});
  if (GetParam() == Dialect::kSqlite) return;
  Write([&](Transaction& slow) {
    slow.AppendChange("test.done", 4, TeamId{});
    std::thread([&] {
      Append(5);
      cursor = Read([](Transaction& t) { return EndOfChanges(t); });  // 5 is in, 4 is not
    }).join();
  });
  EXPECT_EQ(Follow(cursor), Ids{4});
}

TEST_P(ChangesTest, NoneIsMissedOrRepeatedUnderManyWriters) {
  constexpr int kWriters = 6;
  constexpr int kEach = 30;
  std::latch done(kWriters);
  std::vector<std::thread> writers;
  for (int writer = 0; writer < kWriters; ++writer) {
    writers.emplace_back([&, writer] {
      for (int i = 0; i < kEach; ++i) {
        try {
          Write([&](Transaction& t) {
            t.AppendChange("test.done", writer * 1000 + i, TeamId{});
            if (i % 3 == 0) std::this_thread::yield();
            if (i % 7 == 6) throw Failure(ErrorKind::kConflict, "rolled back");
          });
        } catch (const Failure&) {
        }
      }
      done.count_down();
    });
  }
  ChangeCursor cursor;
  std::multiset<std::int64_t> seen;
  while (!done.try_wait()) {
    for (const auto id : Follow(cursor, 5))
      seen.insert(id);
  }
  for (auto& writer : writers)
    writer.join();
  for (const auto id : Follow(cursor, 5))
    seen.insert(id);
  std::multiset<std::int64_t> expected;
  for (int writer = 0; writer < kWriters; ++writer) {
    for (int i = 0; i < kEach; ++i) {
      if (i % 7 != 6) expected.insert(writer * 1000 + i);
    }
  }
  EXPECT_EQ(seen, expected);
}

TEST_P(ChangesTest, TrimmingTellsReadersThatWereBehind) {
  ChangeCursor behind;
  for (int i = 1; i <= 5; ++i)
    Append(i);
  ChangeCursor current = Read([](Transaction& t) { return EndOfChanges(t); });
  const std::int64_t later = clock().UnixSeconds() + 10;
  EXPECT_EQ(Write([&](Transaction& t) { return TrimChanges(t, 0, 100); }), 0);
  EXPECT_EQ(Write([&](Transaction& t) { return TrimChanges(t, later, 2); }), 2);
  EXPECT_EQ(Write([&](Transaction& t) { return TrimChanges(t, later, 100); }), 3);
  EXPECT_EQ(Follow(current), Ids{});
  const ChangePage page = Read([&](Transaction& t) { return ReadChanges(t, behind, 10); });
  EXPECT_TRUE(page.trimmed);
  ChangeCursor cursor = page.next;
  Append(6);
  EXPECT_EQ(Follow(cursor), Ids{6});
  EXPECT_EQ(Follow(current), Ids{6});
}

TEST_P(ChangesTest, ACursorOfAnotherLifeOfTheDatabaseLoadsAnew) {
  Append(1);
  ChangeCursor foreign;
  foreign.sequence = 1'000'000;
  if (GetParam() == Dialect::kPostgres) foreign.seen = "900000000:900000000:";
  const ChangePage page = Read([&](Transaction& t) { return ReadChanges(t, foreign, 10); });
  EXPECT_TRUE(page.trimmed);
  ChangeCursor cursor = page.next;
  Append(2);
  EXPECT_EQ(Follow(cursor), Ids{2});
}

TEST(ChangeCursorTest, RefusesForeignText) {
  EXPECT_EQ(ChangeCursor::FromText("12 5:6:")->sequence, 12);
  for (const char* text : {"", "x", "1 2 3", "1 2 3 4 5 x", "1 2 3 4 5 6 7"}) {
    EXPECT_FALSE(ChangeCursor::FromText(text)) << text;
  }
}

}  // namespace
}  // namespace pinion::store
