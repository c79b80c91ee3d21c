#include "store/database.h"

#include <gtest/gtest.h>

#include "store/testing.h"

namespace pinion::store {
namespace {

class DatabaseDriverTest : public testing::DatabaseTest {};
PINION_FOR_EACH_DATABASE(DatabaseDriverTest);

TEST_P(DatabaseDriverTest, RollsBackWhatThrows) {
  Write([](Transaction& t) {
    EXPECT_EQ(t.Execute("insert into teams (name) values ($1)", {"main"}), 1);
    t.AppendChange("team.created", 1, TeamId{1});
  });
  EXPECT_THROW(Write([](Transaction& t) {
                 t.Execute("insert into teams (name) values ($1)", {"other"});
                 throw Failure(ErrorKind::kConflict, "no");
               }),
               Failure);
  const Rows rows =
      Read([](Transaction& t) { return t.Query("select name, id from teams order by id"); });
  ASSERT_EQ(rows.size(), 1U);
  EXPECT_EQ(rows[0].Text(0), "main");
  EXPECT_EQ(rows[0].IdAt<TeamId>(1), TeamId{1});
}

}  // namespace
}  // namespace pinion::store
