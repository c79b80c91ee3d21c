#include "store/migrations.h"

#include <gtest/gtest.h>

#include <thread>

#include "store/testing.h"

namespace pinion::store {
namespace {

TEST(SplitStatementsTest, SplitsOutsideOfQuotesAndComments) {
  const auto statements = SplitStatements(
      "create table a (id {id}, t text default 'x;''y'); -- one; two\n"
      "/* ; */ insert into a (t) values (';', \"q;\"); ; create function f() as $$ a; b $$",
      Dialect::kSqlite);
  ASSERT_EQ(statements.size(), 3U);
  EXPECT_NE(statements[0].find("integer primary key autoincrement"), std::string::npos);
  EXPECT_NE(statements[0].find("'x;''y'"), std::string::npos);
  EXPECT_NE(statements[1].find("\"q;\""), std::string::npos);
  EXPECT_NE(statements[2].find("$$ a; b $$"), std::string::npos);
  EXPECT_TRUE(SplitStatements("-- nothing\n ;", Dialect::kPostgres).empty());
}

TEST(MigrationsTest, AreNumberedWithoutAHole) {
  std::int64_t version = 0;
  for (const Migration& migration : Migrations())
    EXPECT_EQ(migration.version, ++version);
}

class MigrateTest : public testing::DatabaseTest {
 protected:
  std::vector<Migration> With(std::string_view sql) {
    std::vector<Migration> migrations(Migrations().begin(), Migrations().end());
    migrations.push_back({migrations.back().version + 1, "added", sql});
    return migrations;
  }
};
PINION_FOR_EACH_DATABASE(MigrateTest);

TEST_P(MigrateTest, ReopeningKeepsTheData) {
  Write([](Transaction& t) { t.Execute("insert into teams (name) values ('main')"); });
  Reopen();
  EXPECT_EQ(Read([](Transaction& t) { return t.QueryOne("select name from teams")->Text(0); }),
            "main");
}

TEST_P(MigrateTest, AnExistingDatabaseGoesOnToTheNextVersion) {
  Write([](Transaction& t) { t.Execute("insert into teams (name) values ('main')"); });
  const auto migrations = With("alter table teams add column motto text not null default 'none;'");
  // All nodes at once: one does it, the others find it done.
  std::vector<std::unique_ptr<Database>> nodes;
  for (int i = 0; i < 4; ++i)
    nodes.push_back(OpenAnother());
  std::vector<std::thread> threads;
  for (const auto& node : nodes) {
    threads.emplace_back([&] { EXPECT_TRUE(Migrate(*node, migrations, Logger())); });
  }
  for (auto& thread : threads)
    thread.join();
  EXPECT_EQ(Read([](Transaction& t) { return t.QueryOne("select motto from teams")->Text(0); }),
            "none;");
}

TEST_P(MigrateTest, ANewerSchemaIsRefusedNamingBothVersions) {
  ASSERT_TRUE(Migrate(database(), With("create table later (id {id})"), Logger()));
  const auto opened = Database::Open(test_database().options(), clock(), Logger());
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().kind, ErrorKind::kConflict);
  const auto known = std::to_string(Migrations().back().version);
  const auto found = std::to_string(Migrations().back().version + 1);
  EXPECT_NE(opened.error().message.find("version " + found), std::string::npos);
  EXPECT_NE(opened.error().message.find("up to " + known), std::string::npos);
}

TEST_P(MigrateTest, AFailedMigrationLeavesNothingBehind) {
  const auto result =
      Migrate(database(), With("create table half (id {id}); create nonsense"), Logger());
  ASSERT_FALSE(result);
  EXPECT_NE(result.error().message.find("(added)"), std::string::npos) << result.error().message;
  EXPECT_THROW(Read([](Transaction& t) { t.Query("select * from half"); }), Failure);
  EXPECT_TRUE(Migrate(database(), With("create table half (id {id})"), Logger()));
}

}  // namespace
}  // namespace pinion::store
