#include "store/postgres_connection.h"

#include <endian.h>
#include <libpq-fe.h>

#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <thread>

#include "base/text.h"

namespace pinion::store {

namespace {

constexpr std::size_t kCachedStatements = 400;

// Types as the catalogue numbers them; libpq has no header for them.
constexpr Oid kBool = 16;
constexpr Oid kInt8 = 20;
constexpr Oid kInt2 = 21;
constexpr Oid kInt4 = 23;
constexpr Oid kText = 25;
constexpr Oid kFloat4 = 700;
constexpr Oid kFloat8 = 701;
constexpr Oid kVarchar = 1043;
constexpr Oid kNumeric = 1700;
constexpr Oid kUnknown = 0;

Oid TypeOf(const Value& value) {
  if (std::holds_alternative<std::int64_t>(value)) return kInt8;
  if (std::holds_alternative<double>(value)) return kFloat8;
  if (std::holds_alternative<std::string>(value)) return kText;
  return kUnknown;
}

bool Fits(const Value& value, Oid type) {
  const Oid own = TypeOf(value);
  return own == kUnknown || own == type || (own == kText && type == kVarchar);
}

std::string_view State(const PGresult* result) {
  const char* state = PQresultErrorField(result, PG_DIAG_SQLSTATE);
  return state ? state : "";
}

ErrorKind KindOf(std::string_view state) {
  if (state == "23505" || state == "23503" || state == "23P01") return ErrorKind::kConflict;
  if (state == "57014") return ErrorKind::kTimeout;
  if (state == "55P03" || state == "25P03") return ErrorKind::kUnavailable;
  if (state == "22021") return ErrorKind::kInvalid;
  if (state == "54000" || state == "54001") return ErrorKind::kTooLarge;
  for (const std::string_view group : {"08", "40", "53", "57", "58"}) {
    if (state.starts_with(group)) return ErrorKind::kUnavailable;
  }
  return ErrorKind::kInternal;
}

Value NumericValue(std::string_view text) {
  std::int64_t integer = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), integer);
  if (error == std::errc() && end == text.data() + text.size()) return integer;
  double number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

Value CellValue(const PGresult* result, int row, int column) {
  if (PQgetisnull(result, row, column) != 0) return nullptr;
  const std::string_view text(PQgetvalue(result, row, column),
                              static_cast<std::size_t>(PQgetlength(result, row, column)));
  switch (PQftype(result, column)) {
    case kBool:
      return std::int64_t{text == "t"};
    case kInt2:
    case kInt4:
    case kInt8:
    case kNumeric:
      return NumericValue(text);
    case kFloat4:
    case kFloat8: {
      double number = 0;
      std::from_chars(text.data(), text.data() + text.size(), number);
      return number;
    }
    default:
      return std::string(text);
  }
}

// Parameters as libpq wants them, all in binary form: text keeps its length.
class BinaryParams {
 public:
  BinaryParams(std::span<const Param> params, std::string_view sql) {
    numbers_.reserve(params.size());  // what values_ points to must not move
    for (const Param& param : params)
      Add(param.value(), sql);
  }
  int size() const { return static_cast<int>(values_.size()); }
  const char* const* values() const { return values_.data(); }
  const int* lengths() const { return lengths_.data(); }
  const int* formats() const { return formats_.data(); }

 private:
  void Add(const Value& value, std::string_view sql) {
    const char* bytes = nullptr;
    std::size_t length = 0;
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      bytes = Number(static_cast<std::uint64_t>(*integer));
      length = sizeof(std::uint64_t);
    } else if (const auto* number = std::get_if<double>(&value)) {
      bytes = Number(std::bit_cast<std::uint64_t>(*number));
      length = sizeof(std::uint64_t);
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      CheckStorable(*text, sql);
      if (text->size() > (std::size_t{1} << 29)) {
        throw Failure(ErrorKind::kTooLarge, "text over 512 MiB for: " + Shortened(sql));
      }
      bytes = text->c_str();
      length = text->size();
    }
    values_.push_back(bytes);
    lengths_.push_back(static_cast<int>(length));
    formats_.push_back(1);
  }
  const char* Number(std::uint64_t host) {
    numbers_.push_back(htobe64(host));
    return reinterpret_cast<const char*>(&numbers_.back());
  }

  std::vector<std::uint64_t> numbers_;
  std::vector<const char*> values_;
  std::vector<int> lengths_;
  std::vector<int> formats_;
};

}  // namespace

class PostgresTransaction final : public Transaction {
 public:
  explicit PostgresTransaction(PostgresConnection& connection)
      : Transaction(connection.clock_.UnixSeconds()), connection_(connection) {}

  Rows Query(std::string_view sql, std::initializer_list<Param> params) override {
    return QueryList(sql, {params.begin(), params.size()});
  }
  Rows QueryList(std::string_view sql, std::span<const Param> params) override {
    const PostgresResult result = Send(sql, params);
    Rows rows;
    const int count = PQntuples(result.get());
    const int columns = PQnfields(result.get());
    rows.reserve(static_cast<std::size_t>(count));
    for (int row = 0; row < count; ++row) {
      std::vector<Value> values;
      values.reserve(static_cast<std::size_t>(columns));
      for (int i = 0; i < columns; ++i)
        values.push_back(CellValue(result.get(), row, i));
      rows.emplace_back(std::move(values));
    }
    return rows;
  }
  std::int64_t Execute(std::string_view sql, std::initializer_list<Param> params) override {
    return ExecuteList(sql, {params.begin(), params.size()});
  }
  std::int64_t ExecuteList(std::string_view sql, std::span<const Param> params) override {
    const PostgresResult result = Send(sql, params);
    if (std::string_view(PQcmdStatus(result.get())).starts_with("SELECT")) return 0;
    const std::string_view text = PQcmdTuples(result.get());
    std::int64_t count = 0;
    std::from_chars(text.data(), text.data() + text.size(), count);
    return count;
  }
  void SetLimits(Duration statement, Duration lock) override {
    const auto text = [](Duration limit) {
      return std::to_string(std::chrono::ceil<std::chrono::milliseconds>(limit).count());
    };
    Query(
        "select set_config('statement_timeout', $1, true), set_config('lock_timeout', $2, true), "
        "set_config('idle_in_transaction_session_timeout', $1, true)",
        {text(statement), text(lock)});
    connection_.statement_limit_ = statement;
  }
  Dialect dialect() const override { return Dialect::kPostgres; }
  bool failed() const { return failed_; }

 private:
  PostgresResult Send(std::string_view sql, std::span<const Param> params) {
    if (failed_) {
      throw Failure(ErrorKind::kInternal,
                    "a statement after a failed one in the same transaction: " + Shortened(sql));
    }
    failed_ = true;  // until it has gone well
    ThrowIfStopped(connection_.stop_);
    PostgresResult result = connection_.Send(sql, params);
    failed_ = false;
    return result;
  }

  PostgresConnection& connection_;
  bool failed_ = false;
};

PostgresConnection::PostgresConnection(const DatabaseOptions& options, const Clock& clock,
                                       const Logger& log, Pool pool,
                                       std::atomic<std::int64_t>& statements)
    : options_(options),
      clock_(clock),
      log_(log),
      statements_sent_(statements),
      session_(options, clock, "pinion " + std::string(Name(pool))) {}

void PostgresConnection::Connect(const std::stop_token& stop) {
  cache_.clear();
  prepared_ = 0;
  session_.Connect(stop);
}

void PostgresConnection::Lost(std::string_view sql) {
  if (committing_) {
    throw Failure(ErrorKind::kUnavailable,
                  "the database connection was lost while committing, so it is not known whether "
                  "the change was made: " +
                      session_.lost_reason());
  }
  retry_ = true;
  throw Failure(ErrorKind::kUnavailable, "the database connection was lost: " +
                                             session_.lost_reason() + " (" + Shortened(sql) + ")");
}

void PostgresConnection::Refused(const pg_result* result, std::string_view sql) {
  const std::string_view state = State(result);
  if (state == "40001" || state == "40P01") retry_ = true;
  // The statement is gone or fits the schema no longer: a fresh connection prepares it anew.
  if (state == "26000" || state == "0A000") {
    retry_ = !committing_;
    session_.Drop();
  }
  throw Failure(KindOf(state),
                std::string(Trim(PQresultErrorMessage(result))) + " (" + Shortened(sql) + ")");
}

PostgresResult PostgresConnection::Answer(std::string_view sql) {
  PostgresResult result = session_.Receive(statement_limit_, stop_);
  if (!result) Lost(sql);
  switch (PQresultStatus(result.get())) {
    case PGRES_COMMAND_OK:
    case PGRES_TUPLES_OK:
      return result;
    case PGRES_EMPTY_QUERY:
      throw Failure(ErrorKind::kInternal, "an empty statement");
    case PGRES_FATAL_ERROR:
      Refused(result.get(), sql);
    default:
      session_.Drop();  // COPY and its like are not spoken here
      throw Failure(ErrorKind::kInternal, "not a plain statement: " + Shortened(sql));
  }
}

const PostgresConnection::Prepared& PostgresConnection::Prepare(std::string_view sql,
                                                                std::span<const Param> params) {
  std::vector<Prepared>& variants = cache_[std::string(sql)];
  for (const Prepared& variant : variants) {
    bool fits = variant.types.size() == params.size();
    for (std::size_t i = 0; fits && i < params.size(); ++i) {
      fits = Fits(params[i].value(), variant.types[i]);
    }
    if (fits) return variant;
  }
  Prepared fresh;
  fresh.name = "s" + std::to_string(++prepared_);
  bool any_null = false;
  for (const Param& param : params) {
    fresh.types.push_back(TypeOf(param.value()));
    any_null = any_null || fresh.types.back() == kUnknown;
  }
  PGconn* handle = session_.handle();
  if (PQsendPrepare(handle, fresh.name.c_str(), std::string(sql).c_str(),
                    static_cast<int>(params.size()), fresh.types.data()) == 0) {
    session_.Drop();
    Lost(sql);
  }
  Answer(sql);
  if (any_null) {
    if (PQsendDescribePrepared(handle, fresh.name.c_str()) == 0) {
      session_.Drop();
      Lost(sql);
    }
    const PostgresResult described = Answer(sql);
    for (std::size_t i = 0; i < fresh.types.size(); ++i) {
      fresh.types[i] = PQparamtype(described.get(), static_cast<int>(i));
    }
  }
  variants.push_back(std::move(fresh));
  return variants.back();
}

PostgresResult PostgresConnection::Send(std::string_view sql, std::span<const Param> params) {
  ++statements_sent_;
  const BinaryParams binary(params, sql);
  const Prepared& statement = Prepare(sql, params);
  if (PQsendQueryPrepared(session_.handle(), statement.name.c_str(), binary.size(), binary.values(),
                          binary.lengths(), binary.formats(), 0) == 0) {
    session_.Drop();
    Lost(sql);
  }
  return Answer(sql);
}

void PostgresConnection::Commit() {
  stop_ = {};  // a commit that has begun is finished
  committing_ = true;
  if (PQsendQuery(session_.handle(), "commit") == 0) {
    committing_ = false;  // it never went out
    session_.Drop();
    Lost("commit");
  }
  const PostgresResult result = Answer("commit");
  if (std::string_view(PQcmdStatus(result.get())) != "COMMIT") {
    throw Failure(ErrorKind::kInternal, "the transaction was rolled back instead of committed");
  }
}

void PostgresConnection::RollBack() noexcept try {
  if (!session_.connected()) return;
  if (PQtransactionStatus(session_.handle()) == PQTRANS_IDLE) return;
  session_.Simple("rollback");
} catch (...) {
  session_.Drop();
}

bool PostgresConnection::Attempt(bool write, const Database::Closure& work,
                                 const std::stop_token& stop) {
  statement_limit_ = options_.statement_timeout;
  stop_ = stop;
  committing_ = false;
  retry_ = false;
  try {
    const char* begin = write ? "begin isolation level read committed read write"
                              : "begin isolation level repeatable read read only";
    if (PQsendQuery(session_.handle(), begin) == 0) {
      session_.Drop();
      Lost("begin");
    }
    Answer("begin");
    PostgresTransaction transaction(*this);
    work(transaction);
    if (transaction.failed()) {
      throw Failure(ErrorKind::kInternal, "the transaction went on after a failed statement");
    }
    ThrowIfStopped(stop);
    Commit();
    return transaction.has_changes();
  } catch (...) {
    stop_ = {};
    RollBack();
    throw;
  }
}

void PostgresConnection::Pause(int attempt, const std::stop_token& stop) {
  const int most = 10 << std::min(attempt, 6);
  const int pause = std::uniform_int_distribution<int>(most / 4, most)(random_);
  FairSlots never(0);  // a wait that a stop ends
  [[maybe_unused]] const bool got = never.Acquire(std::chrono::milliseconds(pause), false, stop);
}

bool PostgresConnection::Run(bool write, const Database::Closure& work,
                             const std::stop_token& stop) {
  if (cache_.size() > kCachedStatements) session_.Drop();
  for (int attempt = 0;; ++attempt) {
    if (!session_.connected()) Connect(stop);
    try {
      return Attempt(write, work, stop);
    } catch (const Cancelled&) {
      throw;
    } catch (const std::exception& error) {
      if (!retry_ || attempt >= options_.retries) throw;
      log_.Debug("a transaction runs again", {{"attempt", attempt + 1}, {"error", error.what()}});
    }
    Pause(attempt, stop);
  }
}

}  // namespace pinion::store
