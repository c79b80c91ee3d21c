#include "store/database.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <latch>
#include <thread>

#include "async/loop.h"
#include "store/database_pool.h"
#include "store/testing.h"

namespace pinion::store {
namespace {

using namespace std::chrono_literals;

template <class Work>
ErrorKind KindThrown(Work work) {
  try {
    work();
  } catch (const Failure& failure) {
    return failure.error().kind;
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kInternal;
}

class DatabaseDriverTest : public testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    Write([](Transaction& t) {
      t.Execute("create table counters (name text primary key, value bigint, text text)");
      t.Execute("insert into counters (name, value) values ('a', 0), ('b', 0)");
    });
  }
  std::int64_t Counter(std::string_view name) {
    return Read([&](Transaction& t) {
      return t.QueryOne("select value from counters where name = $1", {name})->Integer(0);
    });
  }
  /// Another Database on the same data, with short limits.
  std::unique_ptr<Database> OpenWith(void (*change)(DatabaseOptions&)) {
    DatabaseOptions options = test_database().options();
    change(options);
    return ValueOrThrow(Database::Open(options, clock(), Logger()));
  }
  /// A statement that would run for a minute.
  static void RunForAMinute(Transaction& t) {
    t.Query(
        t.Pick("with recursive n(i) as (select 1 union all select i + 1 from n where i < "
               "10000000000) select count(*) from n",
               "select pg_sleep(60)::text"));
  }

  Loop loop_{"test"};  // outlives the databases, whose threads wake it
};
PINION_FOR_EACH_DATABASE(DatabaseDriverTest);

TEST_P(DatabaseDriverTest, RollsBackWhatThrows) {
  EXPECT_THROW(Write([](Transaction& t) {
                 EXPECT_EQ(t.Execute("update counters set value = 7"), 2);
                 throw Failure(ErrorKind::kConflict, "no");
               }),
               Failure);
  EXPECT_EQ(Counter("a"), 0);
}

TEST_P(DatabaseDriverTest, ValuesComeBackAsTheyWent) {
  const std::string text = "tab\tquote'\"$1 \xC3\xA9 \xF0\x9F\x90\x98";
  Write([&](Transaction& t) {
    t.Execute("insert into counters (name, value, text) values ($1, $2, $3)",
              {text, std::numeric_limits<std::int64_t>::min(), nullptr});
    t.Execute("insert into counters (name, value, text) values ($1, $2, $3)",
              {"null first", nullptr, std::string(100'000, 'x')});
    // One parameter in two places, the second one first.
    t.Execute("insert into counters (name, value, text) values ($2, $1, $2)", {5, "twice"});
  });
  const Rows rows = Read([](Transaction& t) {
    return t.Query(
        "select name, value, text from counters where name not in ($1, $2) "
        "order by value is null, value",
        {"a", "b"});
  });
  ASSERT_EQ(rows.size(), 3U);
  EXPECT_EQ(rows[0].Text(0), text);
  EXPECT_EQ(rows[0].Integer(1), std::numeric_limits<std::int64_t>::min());
  EXPECT_TRUE(rows[0].IsNull(2));
  EXPECT_EQ(rows[1].Text(2), "twice");
  EXPECT_EQ(rows[2].OptionalInteger(1), std::nullopt);
  EXPECT_EQ(rows[2].Text(2).size(), 100'000U);
  const auto sums = Read([](Transaction& t) {
    return *t.QueryOne(
        "select count(*), sum(value), avg(value), 1 = 1, $1 + 0 from counters where "
        "name in ('a', 'b')",
        {0.5});
  });
  EXPECT_EQ(sums.Integer(0), 2);
  EXPECT_EQ(sums.Integer(1), 0);
  EXPECT_TRUE(sums.Bool(3));
  EXPECT_DOUBLE_EQ(sums.Double(4), 0.5);
}

TEST_P(DatabaseDriverTest, NullsOfAnyPlaceFindTheirStatement) {
  for (int mask = 0; mask < 4; ++mask) {
    Write([&](Transaction& t) {
      const Param value = (mask & 1) != 0 ? Param(mask) : Param(nullptr);
      const Param text = (mask & 2) != 0 ? Param("x") : Param(nullptr);
      EXPECT_EQ(
          t.Execute("update counters set value = $1, text = $2 where name = 'a'", {value, text}),
          1);
    });
    const Row row = Read([](Transaction& t) {
      return *t.QueryOne("select value, text from counters where name = 'a'");
    });
    EXPECT_EQ(row.OptionalInteger(0).value_or(-1), (mask & 1) != 0 ? mask : -1);
    EXPECT_EQ(row.Text(1), (mask & 2) != 0 ? "x" : "");
  }
}

TEST_P(DatabaseDriverTest, TextThatCannotBeStoredIsRefusedNotCut) {
  for (const std::string_view text :
       {std::string_view("a\0b", 3), std::string_view("0123456789\0", 11), std::string_view("\xff"),
        std::string_view("\xC3"), std::string_view("\xED\xA0\x80"), std::string_view("\xC0\x80")}) {
    EXPECT_EQ(KindThrown([&] {
                Write([&](Transaction& t) { t.Execute("update counters set text = $1", {text}); });
              }),
              ErrorKind::kInvalid);
  }
}

TEST_P(DatabaseDriverTest, BrokenKeysAreConflicts) {
  EXPECT_EQ(KindThrown([&] {
              Write([](Transaction& t) { t.Execute("insert into counters (name) values ('a')"); });
            }),
            ErrorKind::kConflict);
  EXPECT_EQ(KindThrown([&] {
              Write([](Transaction& t) {
                t.Execute(
                    "insert into builds (name, team_id, status, create_time) "
                    "values ('1', 99, 'pending', 0)");
              });
            }),
            ErrorKind::kConflict);
  EXPECT_EQ(
      KindThrown([&] {
        Write([](Transaction& t) { t.Execute("insert into teams (name) values ($1)", {nullptr}); });
      }),
      ErrorKind::kInternal);
}

TEST_P(DatabaseDriverTest, ErrorsNameTheStatement) {
  try {
    Read([](Transaction& t) { t.Query("select nonsense\n   from counters"); });
    FAIL();
  } catch (const Failure& failure) {
    EXPECT_NE(failure.error().message.find("select nonsense from counters"), std::string::npos)
        << failure.error().message;
  }
}

TEST_P(DatabaseDriverTest, NothingIsCommittedAfterAFailedStatement) {
  EXPECT_THROW(Write([](Transaction& t) {
                 t.Execute("update counters set value = 1");
                 try {
                   t.Execute("insert into counters (name) values ('a')");
                 } catch (const Failure&) {
                 }
               }),
               Failure);
  EXPECT_EQ(Counter("a"), 0);
}

TEST_P(DatabaseDriverTest, ReadersDoNotWrite) {
  EXPECT_THROW(Read([](Transaction& t) { t.Execute("update counters set value = 1"); }), Failure);
  EXPECT_EQ(Counter("a"), 0);
}

TEST_P(DatabaseDriverTest, ReadsSeeOneSnapshot) {
  Read([&](Transaction& t) {
    EXPECT_EQ(t.QueryOne("select value from counters where name = 'a'")->Integer(0), 0);
    std::thread([&] {
      Write([](Transaction& w) { w.Execute("update counters set value = 9"); });
    }).join();
    EXPECT_EQ(t.QueryOne("select value from counters where name = 'a'")->Integer(0), 0);
  });
  EXPECT_EQ(Counter("a"), 9);
}

TEST_P(DatabaseDriverTest, TransactionsDoNotNest) {
  EXPECT_EQ(KindThrown([&] { Write([&](Transaction&) { Counter("a"); }); }), ErrorKind::kInternal);
}

TEST_P(DatabaseDriverTest, NoIncrementIsLostBetweenThreads) {
  constexpr int kThreads = 8;
  constexpr int kRounds = 25;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < kRounds; ++round) {
        Write([](Transaction& t) {
          const Row row =
              *t.QueryOne(t.Pick("select value from counters where name = 'a'",
                                 "select value from counters where name = 'a' for update"));
          t.Execute("update counters set value = $1 where name = 'a'", {row.Integer(0) + 1});
        });
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(Counter("a"), kThreads * kRounds);
}

TEST_P(DatabaseDriverTest, DeadlocksRunAgain) {
  std::atomic<int> attempts = 0;
  std::latch both(2);
  const auto update = [&](const char* first, const char* second) {
    bool waited = false;
    Write([&](Transaction& t) {
      ++attempts;
      t.Execute("update counters set value = value + 1 where name = $1", {first});
      // SQLite's second writer has not begun yet, so only PostgreSQL can meet here.
      if (!waited && t.dialect() == Dialect::kPostgres) both.arrive_and_wait();
      waited = true;
      t.Execute("update counters set value = value + 1 where name = $1", {second});
    });
  };
  std::thread other([&] { update("b", "a"); });
  update("a", "b");
  other.join();
  EXPECT_EQ(Counter("a"), 2);
  EXPECT_EQ(Counter("b"), 2);
  if (GetParam() == Dialect::kPostgres) EXPECT_GT(attempts, 2);
}

TEST_P(DatabaseDriverTest, TwoHundredWritersAtOnceAllSucceed) {
  std::vector<std::thread> threads;
  std::atomic<int> errors = 0;
  std::latch start(200);
  for (int i = 0; i < 200; ++i) {
    threads.emplace_back([&] {
      start.arrive_and_wait();
      try {
        Write([](Transaction& t) {
          t.Execute("update counters set value = value + 1 where name = 'a'");
        });
      } catch (const std::exception& error) {
        if (errors++ == 0) ADD_FAILURE() << error.what();
      }
    });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(errors, 0);
  EXPECT_EQ(Counter("a"), 200);
}

TEST_P(DatabaseDriverTest, LongStatementsTimeOut) {
  const auto hasty = OpenWith([](DatabaseOptions& options) { options.statement_timeout = 50ms; });
  for (const bool write : {false, true}) {
    EXPECT_EQ(KindThrown([&] { hasty->Run(Pool::kApi, write, RunForAMinute); }),
              ErrorKind::kTimeout);
  }
  // The connection is as good as before.
  hasty->Run(Pool::kApi, true, [](Transaction& t) { t.Execute("update counters set value = 3"); });
  EXPECT_EQ(Counter("a"), 3);
}

TEST_P(DatabaseDriverTest, LimitsOfOneTransactionEndWithIt) {
  EXPECT_EQ(KindThrown([&] {
              Write([](Transaction& t) {
                t.SetLimits(50ms, 1s);
                RunForAMinute(t);
              });
            }),
            ErrorKind::kTimeout);
  Write([](Transaction& t) {
    t.Query(
        t.Pick("with recursive n(i) as (select 1 union all select i + 1 from n where i < 200000) "
               "select count(*) from n",
               "select pg_sleep(0.2)::text"));
  });
}

TEST_P(DatabaseDriverTest, WaitsForLocksAreBounded) {
  const auto hasty = OpenWith([](DatabaseOptions& options) { options.lock_timeout = 50ms; });
  Write([&](Transaction& t) {
    t.Execute("update counters set value = 1");
    std::thread([&] {
      EXPECT_EQ(KindThrown([&] {
                  hasty->Run(Pool::kApi, true,
                             [](Transaction& w) { w.Execute("update counters set value = 2"); });
                }),
                ErrorKind::kUnavailable);
    }).join();
  });
  EXPECT_EQ(Counter("a"), 1);
}

TEST_P(DatabaseDriverTest, WaitsForAConnectionAreBounded) {
  const auto narrow = OpenWith([](DatabaseOptions& options) {
    options.lock_timeout = 50ms;
    options.api_connections = 1;
  });
  narrow->Run(Pool::kApi, false, [&](Transaction&) {
    std::thread([&] {
      EXPECT_EQ(KindThrown([&] { narrow->Run(Pool::kApi, false, [](Transaction&) {}); }),
                ErrorKind::kUnavailable);
      narrow->Run(Pool::kEngine, false, [](Transaction&) {});  // pools do not starve each other
    }).join();
  });
}

TEST_P(DatabaseDriverTest, AStopInterruptsAndRollsBack) {
  std::stop_source stop;
  std::thread stopper;
  EXPECT_THROW(database().Run(
                   Pool::kApi, true,
                   [&](Transaction& t) {
                     t.Execute("update counters set value = 5");
                     stopper = std::thread([&] { stop.request_stop(); });
                     RunForAMinute(t);
                   },
                   stop.get_token()),
               Cancelled);
  stopper.join();
  EXPECT_EQ(Counter("a"), 0);
  EXPECT_THROW(database().Run(Pool::kApi, false, [](Transaction&) {}, stop.get_token()), Cancelled);
}

Task<std::int64_t> AddOn(Database& database, std::stop_token stop) {
  co_await database.Write(
      Pool::kEngine, [](Transaction& t) { t.Execute("update counters set value = value + 1"); },
      stop);
  co_return co_await database.Read(
      Pool::kApi,
      [](Transaction& t) {
        return t.QueryOne("select value from counters where name = 'a'")->Integer(0);
      },
      stop);
}

TEST_P(DatabaseDriverTest, CoroutinesCallItOnItsThreads) {
  EXPECT_EQ(loop_.RunUntilDone(AddOn(database(), {})), 1);
  const auto direct = OpenWith([](DatabaseOptions& options) { options.inline_calls = true; });
  EXPECT_EQ(loop_.RunUntilDone(AddOn(*direct, {})), 2);
  std::stop_source stop;
  stop.request_stop();
  EXPECT_THROW(loop_.RunUntilDone(AddOn(database(), stop.get_token())), Cancelled);
  EXPECT_GE(database().statements(Pool::kEngine), 1);
}

TEST_P(DatabaseDriverTest, LostConnectionsBeforeTheCommitRunAgain) {
  int attempts = 0;
  Write([&](Transaction& t) {
    t.Execute("update counters set value = value + 1");
    if (++attempts == 1) testing::TerminateConnections(test_database());
    t.Execute("update counters set value = value + 1");
  });
  EXPECT_EQ(attempts, GetParam() == Dialect::kPostgres ? 2 : 1);
  EXPECT_EQ(Counter("a"), 2);
  // Idle ones too, without anybody noticing.
  testing::TerminateConnections(test_database());
  EXPECT_EQ(Counter("a"), 2);
}

TEST_P(DatabaseDriverTest, WatchersAreToldAfterTheCommitByEveryNode) {
  const auto other = OpenAnother();
  // Shared: a watcher may be called until its database is closed.
  using Count = std::shared_ptr<std::atomic<int>>;
  const auto watch = [](Database& database) {
    const auto count = std::make_shared<std::atomic<int>>(0);
    database.OnChange([count] {
      count->fetch_add(1);
      count->notify_all();
    });
    return count;
  };
  const auto commit = [&](std::int64_t id) {
    Write([&](Transaction& t) { t.AppendChange("test.done", id, TeamId{}); });
  };
  const Count here = watch(database());
  const Count there = watch(*other);
  if (GetParam() == Dialect::kPostgres) {  // both listen now, and looked once
    here->wait(0);
    there->wait(0);
  }
  int seen_here = *here;
  int seen_there = *there;
  commit(1);
  here->wait(seen_here);
  there->wait(seen_there);

  // After the loss of every connection it listens again, and looks: something may have been missed.
  seen_there = *there;
  testing::TerminateConnections(test_database());
  if (GetParam() == Dialect::kPostgres) there->wait(seen_there);
  seen_there = *there;
  commit(2);
  there->wait(seen_there);
}

TEST_P(DatabaseDriverTest, NobodyIsToldWithoutAChange) {
  const auto count = std::make_shared<std::atomic<int>>(0);
  if (GetParam() == Dialect::kPostgres) GTEST_SKIP() << "a listener may look at any time";
  database().OnChange([count] { ++*count; });
  Write([](Transaction& t) { t.Execute("update counters set value = 1"); });
  EXPECT_THROW(Write([](Transaction& t) {
                 t.AppendChange("test.done", 3, TeamId{});
                 throw Failure(ErrorKind::kConflict, "no");
               }),
               Failure);
  EXPECT_EQ(*count, 0);
}

// A child process commits and reports each commit; it is killed in the middle. What it reported is
// there, and the data is whole: both counters go together.
constexpr const char* kChildUrl = "PINION_TEST_CHILD_URL";
constexpr int kChildReport = 3;

TEST(KilledChild, DISABLED_CommitsAndReports) {
  const char* url = ::getenv(kChildUrl);
  if (!url) GTEST_SKIP() << "part of NothingReportedIsLostByAKill";
  SystemClock clock;
  DatabaseOptions options;
  options.url = url;
  const auto database = ValueOrThrow(Database::Open(options, clock, Logger()));
  for (std::int64_t i = 1;; ++i) {
    database->Run(Pool::kApi, true, [&](Transaction& t) {
      t.Execute("update counters set value = $1 where name = 'a'", {i});
      t.Execute("update counters set value = $1 where name = 'b'", {i});
    });
    if (::write(kChildReport, &i, sizeof i) != sizeof i) return;
  }
}

TEST_P(DatabaseDriverTest, NothingReportedIsLostByAKill) {
  int report[2];
  ASSERT_EQ(::pipe2(report, O_CLOEXEC), 0);
  const std::string url = std::string(kChildUrl) + "=" + test_database().options().url;
  const pid_t child = ::fork();
  if (child == 0) {
    ::dup2(report[1], kChildReport);
    ::putenv(const_cast<char*>(url.c_str()));
    ::execl("/proc/self/exe", "child", "--gtest_also_run_disabled_tests",
            "--gtest_filter=KilledChild.*", "--gtest_brief=1", nullptr);
    ::_exit(127);
  }
  ::close(report[1]);
  std::int64_t last = 0;
  while (last < 200)
    ASSERT_EQ(::read(report[0], &last, sizeof last), ssize_t{sizeof last});
  ::kill(child, SIGKILL);
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_TRUE(WIFSIGNALED(status));
  for (std::int64_t next = 0; ::read(report[0], &next, sizeof next) == ssize_t{sizeof next};) {
    last = next;
  }
  ::close(report[0]);
  Reopen();
  EXPECT_GE(Counter("a"), last);
  EXPECT_LE(Counter("a"), last + 1);  // committed but not yet reported
  EXPECT_EQ(Counter("a"), Counter("b"));
}

TEST(SqliteDatabaseTest, MemoryServesEveryPool) {
  SystemClock clock;
  DatabaseOptions options;
  options.url = "sqlite::memory:";
  const auto database = ValueOrThrow(Database::Open(options, clock, Logger()));
  database->Run(Pool::kApi, true,
                [](Transaction& t) { t.Execute("insert into teams (name) values ('main')"); });
  database->Run(Pool::kLease, false, [](Transaction& t) {
    EXPECT_EQ(t.QueryOne("select name from teams")->Text(0), "main");
  });
}

TEST(SqliteDatabaseTest, TheFileIsForItsOwnerAlone) {
  testing::TestDatabase database(Dialect::kSqlite);
  SystemClock clock;
  const auto open = database.Open(clock);
  const std::string path = database.options().url.substr(7);
  for (const char* suffix : {"", "-wal", "-shm"}) {
    struct stat status{};
    ASSERT_EQ(::stat((path + suffix).c_str(), &status), 0) << suffix;
    EXPECT_EQ(status.st_mode & 0777U, 0600U) << suffix;
  }
}

TEST(DatabaseOpenTest, WrongAddressesSayWhatIsWrong) {
  SystemClock clock;
  const auto open = [&](std::string url) {
    DatabaseOptions options;
    options.url = std::move(url);
    options.connect_timeout = 0s;
    return Database::Open(options, clock, Logger()).error();
  };
  EXPECT_EQ(open("").kind, ErrorKind::kInvalid);
  EXPECT_EQ(open("sqlite:").kind, ErrorKind::kInvalid);
  const Error secret = open("postgres://user:pa%zzword@host/db");
  EXPECT_EQ(secret.kind, ErrorKind::kInvalid);
  EXPECT_EQ(secret.message.find("zzword"), std::string::npos);
  EXPECT_EQ(open("sqlite:/nowhere/at/all").kind, ErrorKind::kUnavailable);
  EXPECT_EQ(open("host=/nowhere").kind, ErrorKind::kUnavailable);
  const TemporaryFolder folder;
  const auto path = folder.path() / "text";
  ASSERT_TRUE(WriteFile(path, std::string(5000, 'x')));
  const Error garbage = open("sqlite:" + path.string());
  EXPECT_NE(garbage.message.find(path.string()), std::string::npos) << garbage.message;
}

TEST(FairSlotsTest, ServesInOrderUrgentFirst) {
  FairSlots slots(1);
  ASSERT_TRUE(slots.Acquire(0s, false, {}));
  EXPECT_FALSE(slots.Acquire(1ms, false, {}));
  std::vector<int> order;
  std::vector<std::thread> threads;
  const auto wait = [&](int id, bool urgent) {
    const std::size_t before = slots.waiting();
    threads.emplace_back([&, id, urgent] {
      ASSERT_TRUE(slots.Acquire(1min, urgent, {}));
      order.push_back(id);
      slots.Release();
    });
    while (slots.waiting() == before)
      std::this_thread::yield();
  };
  wait(1, false);
  wait(2, false);
  wait(3, true);
  std::stop_source stop;
  std::thread stopped(
      [&] { EXPECT_THROW((void)slots.Acquire(1min, false, stop.get_token()), Cancelled); });
  while (slots.waiting() < 4)
    std::this_thread::yield();
  stop.request_stop();
  stopped.join();
  slots.Release();
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(order, (std::vector<int>{3, 1, 2}));
}

}  // namespace
}  // namespace pinion::store
