#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "base/files.h"
#include "store/database.h"

namespace pinion::store {
namespace {

TEST(SqliteDatabaseTest, WritesReadAndRollBack) {
  const TemporaryFolder folder;
  SystemClock clock;
  DatabaseOptions options;
  options.url = "sqlite:" + (folder.path() / "db").string();
  auto database = ValueOrThrow(Database::Open(options, clock, Logger()));
  database->Run(Pool::kApi, true, [](Transaction& t) {
    EXPECT_EQ(t.Execute("insert into teams (name) values ($1)", {"main"}), 1);
    t.AppendChange("team.created", 1, TeamId{1});
  });
  EXPECT_THROW(database->Run(Pool::kApi, true,
                             [](Transaction& t) {
                               t.Execute("insert into teams (name) values ($1)", {"other"});
                               throw Failure(ErrorKind::kConflict, "no");
                             }),
               Failure);
  database->Run(Pool::kApi, false, [](Transaction& t) {
    const Rows rows = t.Query("select name, id from teams");
    ASSERT_EQ(rows.size(), 1U);
    EXPECT_EQ(rows[0].Text(0), "main");
    EXPECT_EQ(rows[0].IdAt<TeamId>(1), TeamId{1});
  });
}

}  // namespace
}  // namespace pinion::store
