#include "store/sqlite_connection.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <filesystem>
#include <thread>

namespace pinion::store {

namespace {

constexpr int kProgressInstructions = 2000;
constexpr std::size_t kCachedStatements = 400;

ErrorKind KindOf(int code) {
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_FULL:
    case SQLITE_IOERR:
    case SQLITE_READONLY:
    case SQLITE_CANTOPEN:
      return ErrorKind::kUnavailable;
    case SQLITE_TOOBIG:
      return ErrorKind::kTooLarge;
    case SQLITE_CONSTRAINT:
      switch (code) {
        case SQLITE_CONSTRAINT_UNIQUE:
        case SQLITE_CONSTRAINT_PRIMARYKEY:
        case SQLITE_CONSTRAINT_ROWID:
        case SQLITE_CONSTRAINT_FOREIGNKEY:
          return ErrorKind::kConflict;
        default:
          return ErrorKind::kInternal;
      }
    default:
      return ErrorKind::kInternal;
  }
}

// What it prepares again is left reset and without parameters, whatever happens in between: an open
// statement would hold the snapshot and the commit.
class ResetAtEnd {
 public:
  explicit ResetAtEnd(sqlite3_stmt* statement) : statement_(statement) {}
  ResetAtEnd(const ResetAtEnd&) = delete;
  ResetAtEnd& operator=(const ResetAtEnd&) = delete;
  ~ResetAtEnd() {
    sqlite3_reset(statement_);
    sqlite3_clear_bindings(statement_);
  }

 private:
  sqlite3_stmt* statement_;
};

Value ColumnValue(sqlite3_stmt* statement, int column) {
  switch (sqlite3_column_type(statement, column)) {
    case SQLITE_NULL:
      return nullptr;
    case SQLITE_INTEGER:
      return std::int64_t{sqlite3_column_int64(statement, column)};
    case SQLITE_FLOAT:
      return sqlite3_column_double(statement, column);
    default: {
      const void* bytes = sqlite3_column_blob(statement, column);
      const int size = sqlite3_column_bytes(statement, column);
      return std::string(static_cast<const char*>(bytes), static_cast<std::size_t>(size));
    }
  }
}

}  // namespace

class SqliteTransaction final : public Transaction {
 public:
  SqliteTransaction(SqliteConnection& connection, bool write)
      : Transaction(connection.clock_.UnixSeconds()), connection_(connection), write_(write) {}

  Rows Query(std::string_view sql, std::initializer_list<Param> params) override {
    return QueryList(sql, {params.begin(), params.size()});
  }
  Rows QueryList(std::string_view sql, std::span<const Param> params) override {
    Rows rows;
    Step(sql, params, &rows);
    return rows;
  }
  std::int64_t Execute(std::string_view sql, std::initializer_list<Param> params) override {
    return ExecuteList(sql, {params.begin(), params.size()});
  }
  std::int64_t ExecuteList(std::string_view sql, std::span<const Param> params) override {
    return Step(sql, params, nullptr);
  }
  void SetLimits(Duration statement, Duration lock) override {
    connection_.statement_limit_ = statement;
    connection_.lock_limit_ = lock;
  }
  Dialect dialect() const override { return Dialect::kSqlite; }
  bool failed() const { return failed_; }

 private:
  std::int64_t Step(std::string_view sql, std::span<const Param> params, Rows* rows) {
    if (failed_) {
      throw Failure(ErrorKind::kInternal,
                    "a statement after a failed one in the same transaction: " + Shortened(sql));
    }
    failed_ = true;  // until it has gone well
    ThrowIfStopped(connection_.stop_);
    ++connection_.statements_sent_;
    sqlite3_stmt* statement = connection_.Prepared(sql);
    if (!write_ && sqlite3_stmt_readonly(statement) == 0) {
      throw Failure(ErrorKind::kInternal, "a read transaction writes: " + Shortened(sql));
    }
    const ResetAtEnd reset(statement);
    Bind(statement, sql, params);
    connection_.deadline_ = connection_.clock_.Steady() + connection_.statement_limit_;
    const int columns = sqlite3_column_count(statement);
    for (;;) {
      const int code = sqlite3_step(statement);
      if (code == SQLITE_DONE) break;
      if (code != SQLITE_ROW) connection_.Fail(code, sql);
      if (!rows) continue;
      std::vector<Value> values;
      values.reserve(static_cast<std::size_t>(columns));
      for (int i = 0; i < columns; ++i)
        values.push_back(ColumnValue(statement, i));
      rows->emplace_back(std::move(values));
    }
    connection_.deadline_ = SteadyTime::max();
    failed_ = false;
    return sqlite3_stmt_readonly(statement) != 0 ? 0 : sqlite3_changes64(connection_.handle_.get());
  }

  void Bind(sqlite3_stmt* statement, std::string_view sql, std::span<const Param> params) {
    if (sqlite3_bind_parameter_count(statement) > static_cast<int>(params.size())) {
      throw Failure(ErrorKind::kInternal, "too few parameters for: " + Shortened(sql));
    }
    for (std::size_t i = 0; i < params.size(); ++i) {
      const std::string name = "$" + std::to_string(i + 1);
      const int index = sqlite3_bind_parameter_index(statement, name.c_str());
      if (index == 0) {
        throw Failure(ErrorKind::kInternal, "parameter " + name + " is not in: " + Shortened(sql));
      }
      const Value& value = params[i].value();
      int code = SQLITE_OK;
      if (const auto* integer = std::get_if<std::int64_t>(&value)) {
        code = sqlite3_bind_int64(statement, index, *integer);
      } else if (const auto* number = std::get_if<double>(&value)) {
        code = sqlite3_bind_double(statement, index, *number);
      } else if (const auto* text = std::get_if<std::string>(&value)) {
        CheckStorable(*text, sql);
        // The parameters outlive the step, so their bytes need no copy.
        code = sqlite3_bind_text64(statement, index, text->data(), text->size(), SQLITE_STATIC,
                                   SQLITE_UTF8);
      }
      if (code != SQLITE_OK) connection_.Fail(code, sql);
    }
  }

  SqliteConnection& connection_;
  const bool write_;
  bool failed_ = false;
};

void SqliteConnection::CloseConnection::operator()(sqlite3* handle) const {
  sqlite3_close_v2(handle);
}

void SqliteConnection::FinalizeStatement::operator()(sqlite3_stmt* statement) const {
  sqlite3_finalize(statement);
}

SqliteConnection::SqliteConnection(const std::string& path, const DatabaseOptions& options,
                                   const Clock& clock, FairSlots& writers, bool urgent,
                                   std::atomic<std::int64_t>& statements)
    : options_(options),
      clock_(clock),
      writers_(writers),
      urgent_(urgent),
      statements_sent_(statements),
      statement_limit_(options.statement_timeout),
      lock_limit_(options.lock_timeout) {
  Configure(path);
}

SqliteConnection::~SqliteConnection() = default;

void SqliteConnection::Configure(const std::string& path) {
  const bool memory = path == ":memory:";
  if (!memory) {
    // The file holds keys, so others must not read it; WAL and index inherit its mode. Only a new
    // file is opened here: closing an old one would drop the locks that SQLite holds on it.
    const int fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd >= 0) {
      ::close(fd);
    } else if (errno != EEXIST) {
      const Error error = SystemError("open database " + path, errno);
      throw Failure(ErrorKind::kUnavailable,
                    error.message + ": the folder must exist and be writable");
    }
  }
  sqlite3* handle = nullptr;
  const int code = sqlite3_open_v2(
      path.c_str(), &handle,
      SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
      nullptr);
  handle_.reset(handle);
  if (code != SQLITE_OK) {
    throw Failure(KindOf(code), "open database " + path + ": " + sqlite3_errstr(code));
  }
  sqlite3_progress_handler(handle, kProgressInstructions, &OnProgress, this);
  sqlite3_busy_handler(handle, &OnBusy, this);
  try {
    if (!memory) Simple("pragma journal_mode = wal");
    Simple("pragma synchronous = full");
    Simple("pragma foreign_keys = on");
    Simple("pragma journal_size_limit = 67108864");
    Simple("pragma trusted_schema = off");
  } catch (const Failure& failure) {
    Error error = failure.error();
    error.Context("database " + path);
    throw Failure(std::move(error));
  }
}

int SqliteConnection::OnProgress(void* self) {
  const auto* connection = static_cast<SqliteConnection*>(self);
  if (connection->stop_.stop_requested()) return 1;
  return connection->deadline_ != SteadyTime::max() &&
         connection->clock_.Steady() > connection->deadline_;
}

int SqliteConnection::OnBusy(void* self, int calls) {
  // Only another process can hold the lock: this one's writers queue.
  auto* connection = static_cast<SqliteConnection*>(self);
  const SteadyTime now = connection->clock_.Steady();
  if (calls == 0) connection->busy_since_ = now;
  if (connection->stop_.stop_requested()) return 0;
  if (now - connection->busy_since_ > connection->lock_limit_) return 0;
  std::this_thread::sleep_for(std::chrono::milliseconds(std::min(1 + calls, 20)));
  return 1;
}

void SqliteConnection::Simple(const char* sql) {
  const int code = sqlite3_exec(handle_.get(), sql, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) Fail(code, sql);
}

sqlite3_stmt* SqliteConnection::Prepared(std::string_view sql) {
  std::string key(sql);
  const auto found = cache_.find(key);
  if (found != cache_.end()) return found->second.get();
  if (cache_.size() >= kCachedStatements) cache_.clear();  // none is in use between statements
  sqlite3_stmt* raw = nullptr;
  const char* tail = nullptr;
  const int code = sqlite3_prepare_v3(handle_.get(), sql.data(), static_cast<int>(sql.size()),
                                      SQLITE_PREPARE_PERSISTENT, &raw, &tail);
  Statement statement(raw);
  if (code != SQLITE_OK) Fail(code, sql);
  const std::string_view rest = sql.substr(static_cast<std::size_t>(tail - sql.data()));
  if (!raw || rest.find_first_not_of(" \t\r\n;") != std::string_view::npos) {
    throw Failure(ErrorKind::kInternal, "not exactly one statement: " + Shortened(sql));
  }
  return cache_.emplace(std::move(key), std::move(statement)).first->second.get();
}

void SqliteConnection::Fail(int code, std::string_view sql) const {
  if ((code & 0xff) == SQLITE_INTERRUPT) {
    if (stop_.stop_requested()) throw Cancelled();
    throw Failure(ErrorKind::kTimeout, "the database took too long for: " + Shortened(sql));
  }
  throw Failure(KindOf(code),
                std::string(sqlite3_errmsg(handle_.get())) + " (" + Shortened(sql) + ")");
}

bool SqliteConnection::Run(bool write, const Database::Closure& work, const std::stop_token& stop) {
  statement_limit_ = options_.statement_timeout;
  lock_limit_ = options_.lock_timeout;
  if (write && !writers_.Acquire(lock_limit_, urgent_, stop)) {
    throw Failure(ErrorKind::kUnavailable,
                  "too many writers wait for the database: try again later");
  }
  const std::unique_ptr<HeldSlot> turn = write ? std::make_unique<HeldSlot>(writers_) : nullptr;
  // Whatever happens from here on, the connection is left without a transaction. Some errors have
  // rolled back already.
  struct AtEnd {
    SqliteConnection& connection;
    ~AtEnd() {
      connection.stop_ = {};
      connection.deadline_ = SteadyTime::max();
      sqlite3* handle = connection.handle_.get();
      if (sqlite3_get_autocommit(handle) == 0) {
        sqlite3_exec(handle, "rollback", nullptr, nullptr, nullptr);
      }
    }
  } at_end{*this};
  stop_ = stop;
  Simple(write ? "begin immediate" : "begin");
  SqliteTransaction transaction(*this, write);
  work(transaction);
  if (transaction.failed()) {
    throw Failure(ErrorKind::kInternal, "the transaction went on after a failed statement");
  }
  ThrowIfStopped(stop_);
  stop_ = {};  // a commit that has begun is finished
  Simple("commit");
  return transaction.has_changes();
}

}  // namespace pinion::store
