#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <type_traits>

#include "base/files.h"
#include "store/database.h"

/// For tests of every module: the same test code on SQLite and on PostgreSQL.
///
///   class BuildsTest : public store::testing::DatabaseTest {};
///   PINION_FOR_EACH_DATABASE(BuildsTest);
///   TEST_P(BuildsTest, StartsPending) {
///     const BuildId id = Write([](store::Transaction& t) { return CreateBuild(t, …); });
///     …
///   }
///
/// Link store_testing. Where PostgreSQL is not installed, its half is skipped with the reason.
namespace pinion::store::testing {

/// Whether databases of that kind can be made here; else why not. The first call for PostgreSQL
/// starts a private server, without TCP, as its own user; it ends with the process.
bool Available(Dialect dialect, std::string& why_not);

/// A new empty database, removed at the end of the object's life.
class TestDatabase {
 public:
  /// Throws Failure unless Available().
  explicit TestDatabase(Dialect dialect);
  TestDatabase(const TestDatabase&) = delete;
  TestDatabase& operator=(const TestDatabase&) = delete;
  ~TestDatabase();

  Dialect dialect() const { return dialect_; }
  /// Options that name it; all else at its default.
  const DatabaseOptions& options() const { return options_; }
  /// Opens it: once for each node of a test. Close every one before this object ends.
  std::unique_ptr<Database> Open(const Clock& clock) const;

 private:
  Dialect dialect_;
  TemporaryFolder folder_;
  std::string name_;
  DatabaseOptions options_;
};

/// A fixture with an open database of the parameter's dialect.
class DatabaseTest : public ::testing::TestWithParam<Dialect> {
 protected:
  void SetUp() override;
  void TearDown() override;

  Database& database() { return *database_; }
  const TestDatabase& test_database() const { return *test_database_; }
  const Clock& clock() const { return clock_; }
  /// Opens the same database another time, as another node would.
  std::unique_ptr<Database> OpenAnother() const { return test_database_->Open(clock_); }
  /// Closes and opens it: a restart.
  void Reopen();

  /// One transaction on the calling thread; returns what the closure returns.
  template <class Work>
  auto Write(Work work) {
    return Transact(true, std::move(work));
  }
  template <class Work>
  auto Read(Work work) {
    return Transact(false, std::move(work));
  }

 private:
  template <class Work>
  auto Transact(bool write, Work work) {
    using T = std::invoke_result_t<Work, Transaction&>;
    if constexpr (std::is_void_v<T>) {
      database_->Run(Pool::kApi, write, [&](Transaction& transaction) { work(transaction); });
    } else {
      std::optional<T> value;
      database_->Run(Pool::kApi, write,
                     [&](Transaction& transaction) { value.emplace(work(transaction)); });
      return T(std::move(*value));
    }
  }

  SystemClock clock_;
  std::unique_ptr<TestDatabase> test_database_;
  std::unique_ptr<Database> database_;
};

std::string DialectName(const ::testing::TestParamInfo<Dialect>& info);

/// Throws away all of PostgreSQL's connections to this database but the caller's own, as a restart
/// of the server would. Does nothing on SQLite.
void TerminateConnections(const TestDatabase& database);

}  // namespace pinion::store::testing

#define PINION_FOR_EACH_DATABASE(Suite)                                                          \
  INSTANTIATE_TEST_SUITE_P(                                                                      \
      On, Suite,                                                                                 \
      ::testing::Values(::pinion::store::Dialect::kSqlite, ::pinion::store::Dialect::kPostgres), \
      ::pinion::store::testing::DialectName)
