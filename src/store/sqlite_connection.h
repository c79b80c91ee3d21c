#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <unordered_map>

#include "store/database_pool.h"

struct sqlite3;
struct sqlite3_stmt;

namespace pinion::store {

/// One connection to an SQLite file. `writers` is the file's queue of writers; `statements` counts.
class SqliteConnection final : public DatabaseConnection {
 public:
  SqliteConnection(const std::string& path, const DatabaseOptions& options, const Clock& clock,
                   FairSlots& writers, bool urgent, std::atomic<std::int64_t>& statements);
  ~SqliteConnection() override;

  bool Run(bool write, const Database::Closure& work, const std::stop_token& stop) override;

 private:
  friend class SqliteTransaction;

  struct CloseConnection {
    void operator()(sqlite3* handle) const;
  };
  struct FinalizeStatement {
    void operator()(sqlite3_stmt* statement) const;
  };
  using Statement = std::unique_ptr<sqlite3_stmt, FinalizeStatement>;

  void Configure(const std::string& path);
  /// A statement without rows, outside of the cache: BEGIN and its like.
  void Simple(const char* sql);
  sqlite3_stmt* Prepared(std::string_view sql);
  [[noreturn]] void Fail(int code, std::string_view sql) const;
  /// Asked by SQLite every few thousand instructions, and while another process holds the lock.
  static int OnProgress(void* self);
  static int OnBusy(void* self, int calls);

  const DatabaseOptions& options_;
  const Clock& clock_;
  FairSlots& writers_;
  const bool urgent_;
  std::atomic<std::int64_t>& statements_sent_;
  std::unique_ptr<sqlite3, CloseConnection> handle_;
  std::unordered_map<std::string, Statement> cache_;  // after handle_: goes first

  // Of the running transaction.
  std::stop_token stop_;
  Duration statement_limit_{};
  Duration lock_limit_{};
  SteadyTime deadline_ = SteadyTime::max();
  SteadyTime busy_since_{};
};

}  // namespace pinion::store
