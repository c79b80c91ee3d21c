#pragma once

#include <atomic>
#include <random>
#include <string>
#include <unordered_map>
#include <vector>

#include "store/database_pool.h"
#include "store/postgres_session.h"

namespace pinion::store {

/// One connection of a pool: transactions over a PostgresSession, with their prepared statements,
/// repeated after lost races and, up to the commit, after lost connections.
class PostgresConnection final : public DatabaseConnection {
 public:
  PostgresConnection(const DatabaseOptions& options, const Clock& clock, const Logger& log,
                     Pool pool, std::atomic<std::int64_t>& statements);

  bool Run(bool write, const Database::Closure& work, const std::stop_token& stop) override;

 private:
  friend class PostgresTransaction;

  /// A statement prepared for these parameter types. NULL fits each; a type that only a NULL was
  /// seen for is the one that the server inferred.
  struct Prepared {
    std::string name;
    std::vector<unsigned> types;
  };

  void Connect(const std::stop_token& stop);
  /// One attempt. Sets retry_ when an exception leaves it and another attempt makes sense.
  bool Attempt(bool write, const Database::Closure& work, const std::stop_token& stop);
  void Commit();
  void RollBack() noexcept;
  const Prepared& Prepare(std::string_view sql, std::span<const Param> params);
  PostgresResult Send(std::string_view sql, std::span<const Param> params);
  /// Takes the answer, or throws and notes whether another attempt makes sense.
  PostgresResult Answer(std::string_view sql);
  [[noreturn]] void Lost(std::string_view sql);
  [[noreturn]] void Refused(const pg_result* result, std::string_view sql);
  void Pause(int attempt, const std::stop_token& stop);

  const DatabaseOptions& options_;
  const Clock& clock_;
  const Logger& log_;
  std::atomic<std::int64_t>& statements_sent_;
  PostgresSession session_;
  std::unordered_map<std::string, std::vector<Prepared>> cache_;
  std::size_t prepared_ = 0;
  std::minstd_rand random_{std::random_device{}()};

  // Of the running transaction.
  std::stop_token stop_;
  Duration statement_limit_{};
  bool committing_ = false;
  bool retry_ = false;
};

}  // namespace pinion::store
