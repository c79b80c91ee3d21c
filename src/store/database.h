#pragma once

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "async/task.h"
#include "async/thread_pool.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/log.h"

namespace pinion::store {

/// A value given to or taken from SQL. Booleans travel as 0/1 integers, times as unix seconds, JSON
/// as text: the same on SQLite and PostgreSQL.
using Value = std::variant<std::nullptr_t, std::int64_t, double, std::string>;

/// One parameter of a statement: made from what code has at hand, so that calls read plainly.
class Param {
 public:
  Param(std::nullptr_t) {}
  Param(bool value) : value_(std::int64_t{value}) {}
  Param(int value) : value_(std::int64_t{value}) {}
  Param(std::int64_t value) : value_(value) {}
  Param(double value) : value_(value) {}
  Param(std::string value) : value_(std::move(value)) {}
  Param(std::string_view value) : value_(std::string(value)) {}
  Param(const char* value) : value_(std::string(value)) {}
  /// An id of 0 is NULL.
  template <class Tag>
  Param(Id<Tag> id) {
    if (id) value_ = id.value;
  }
  template <class T>
  Param(const std::optional<T>& value) {
    if (value) value_ = Param(*value).value_;
  }
  const Value& value() const { return value_; }

 private:
  Value value_ = nullptr;
};

/// One row of a result. Columns by position, in the order of the statement's select list; reading a
/// column as another type than it has is a bug and throws.
class Row {
 public:
  explicit Row(std::vector<Value> values) : values_(std::move(values)) {}

  bool IsNull(std::size_t column) const;
  std::int64_t Integer(std::size_t column) const;  ///< NULL reads as 0
  bool Bool(std::size_t column) const { return Integer(column) != 0; }
  double Double(std::size_t column) const;
  const std::string& Text(std::size_t column) const;  ///< NULL reads as ""
  template <class Tag>
  Id<Tag> As(std::size_t column) const {
    return Id<Tag>{Integer(column)};
  }
  template <class SomeId>
  SomeId IdAt(std::size_t column) const {
    return SomeId{Integer(column)};
  }
  std::optional<std::int64_t> OptionalInteger(std::size_t column) const;
  std::optional<std::string> OptionalText(std::size_t column) const;

 private:
  std::vector<Value> values_;
};

using Rows = std::vector<Row>;

enum class Dialect { kSqlite, kPostgres };

/// One open transaction on one connection. Statements are prepared once per connection and kept.
/// Parameters are $1, $2, … in both dialects; text is UTF-8 without NUL, other text is kInvalid.
/// Errors are Failures that name the statement: a broken unique or foreign key is kConflict, a
/// statement that took too long kTimeout, a lost serialisation race, a locked database or a lost
/// connection kUnavailable. After a failed statement the transaction is lost: further statements
/// throw, and it is rolled back even if the closure returns (upserts say `on conflict` instead).
class Transaction {
 public:
  virtual ~Transaction() = default;

  /// Rows of a select or of a RETURNING clause.
  virtual Rows Query(std::string_view sql, std::initializer_list<Param> params = {}) = 0;
  virtual Rows QueryList(std::string_view sql, std::span<const Param> params) = 0;
  /// How many rows were changed.
  virtual std::int64_t Execute(std::string_view sql, std::initializer_list<Param> params = {}) = 0;
  virtual std::int64_t ExecuteList(std::string_view sql, std::span<const Param> params) = 0;
  /// Other limits than DatabaseOptions' for the rest of this transaction: schema changes, clean-up.
  virtual void SetLimits(Duration statement, Duration lock) = 0;
  virtual Dialect dialect() const = 0;
  /// What a statement that must differ says: `transaction.Pick("… sqlite …", "… postgres …")`.
  std::string_view Pick(std::string_view sqlite, std::string_view postgres) const {
    return dialect() == Dialect::kSqlite ? sqlite : postgres;
  }

  /// The first row, if any.
  std::optional<Row> QueryOne(std::string_view sql, std::initializer_list<Param> params = {});

  // --- The change feed -------------------------------------------------------------------------
  /// Appends a change in this transaction; watchers are told after the commit. `kind` is
  /// "noun.verb" (build.finished), `data` is small and holds no secret.
  void AppendChange(std::string_view kind, std::int64_t id, TeamId team, Json data = {});
  /// Who asks, for the changes of this transaction.
  void SetActor(std::string actor, std::string request_id);
  bool has_changes() const { return has_changes_; }

  /// Time of this transaction, unix seconds: one value for everything written in it.
  std::int64_t now() const { return now_; }

 protected:
  explicit Transaction(std::int64_t now) : now_(now) {}

 private:
  std::int64_t now_;
  std::string actor_;
  std::string request_id_;
  bool has_changes_ = false;
};

/// What a pool of connections is for: one cannot starve the other.
enum class Pool { kApi, kEngine, kLease };

struct DatabaseOptions {
  /// "sqlite:/path/to/file", "sqlite::memory:", or a libpq connection URI or string.
  std::string url;
  int api_connections = 4;
  int engine_connections = 4;
  /// The longest that one statement runs; past it, kTimeout.
  Duration statement_timeout = std::chrono::seconds(30);
  /// The longest wait for a row's lock, for the turn to write, and for a connection of the pool.
  Duration lock_timeout = std::chrono::seconds(10);
  /// PostgreSQL: the longest wait for a connection to the server, restarts of the server included.
  Duration connect_timeout = std::chrono::seconds(10);
  /// PostgreSQL: how often a closure runs again after a lost race or a lost connection.
  int retries = 5;
  /// Calls that may wait for a thread of one pool; more are refused as kUnavailable.
  int queue_limit = 4096;
  /// False: the schema is left as it is, and kConflict still says that it is too new.
  bool migrate = true;
  /// Read and Write run on the caller's loop instead of a thread: for the simulation.
  bool inline_calls = false;
};

/// The database: pools of connections, each with its threads. A call is one closure and one
/// transaction; nothing is awaited inside it. Closures may run again after a lost race, so they
/// have no effect outside the transaction but their return value. Thread-safe.
class Database {
 public:
  virtual ~Database() = default;

  /// Opens, checks the schema's version and migrates it (migrations/, forward only, one transaction
  /// each). kConflict if the schema is newer than this program.
  static Result<std::unique_ptr<Database>> Open(const DatabaseOptions& options, const Clock& clock,
                                                Logger log);

  /// Runs `work` in a read-only transaction (one snapshot) on the pool and returns its value. Once
  /// `stop` is requested, what runs is interrupted and rolled back and Cancelled is thrown; a
  /// commit that has begun is finished.
  template <class Work, class T = std::invoke_result_t<Work, Transaction&>>
  Task<T> Read(Pool pool, Work work, std::stop_token stop = {}) {
    return Call<T>(pool, false, std::move(work), std::move(stop));
  }
  /// Runs `work` in a transaction that is committed when it returns and rolled back when it throws.
  template <class Work, class T = std::invoke_result_t<Work, Transaction&>>
  Task<T> Write(Pool pool, Work work, std::stop_token stop = {}) {
    return Call<T>(pool, true, std::move(work), std::move(stop));
  }

  /// The same on the calling thread: for command lines, start-up and tests. Not inside a closure.
  using Closure = std::function<void(Transaction&)>;
  virtual void Run(Pool pool, bool write, const Closure& work, std::stop_token stop = {}) = 0;

  /// Calls `look` after every commit that appended changes, by this process or (PostgreSQL)
  /// another; coalesced; from the thread that committed or one of the database's own, so it must be
  /// short and never wait. It says only "look at the feed", and may say so without a reason. It
  /// stays callable for the database's life: it holds what it needs by shared_ptr or weak_ptr.
  virtual void OnChange(std::function<void()> look) = 0;

  virtual Dialect dialect() const = 0;
  virtual ThreadPool& threads(Pool pool) = 0;
  /// Statements sent since the start, by pool; for accounting.
  virtual std::int64_t statements(Pool pool) const = 0;

 protected:
  explicit Database(bool inline_calls) : inline_calls_(inline_calls) {}

 private:
  template <class T, class Work>
  Task<T> Call(Pool pool, bool write, Work work, std::stop_token stop) {
    auto shared = std::make_shared<Work>(std::move(work));
    auto run = [this, pool, write, stop, shared]() -> T {
      if constexpr (std::is_void_v<T>) {
        Run(pool, write, [&](Transaction& transaction) { (*shared)(transaction); }, stop);
      } else {
        std::optional<T> value;
        Run(
            pool, write, [&](Transaction& transaction) { value.emplace((*shared)(transaction)); },
            stop);
        return std::move(*value);
      }
    };
    if (inline_calls_) {
      const Executor executor = co_await boost::asio::this_coro::executor;
      co_await boost::asio::post(executor, boost::asio::use_awaitable);  // others go first
      co_return run();
    }
    co_return co_await threads(pool).Run(std::move(run));
  }

  bool inline_calls_;
};

}  // namespace pinion::store
