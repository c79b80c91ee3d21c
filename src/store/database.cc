#include "store/database.h"

#include "store/postgres_database.h"
#include "store/sqlite_database.h"

namespace pinion::store {

namespace {

[[noreturn]] void WrongType(std::size_t column, std::string_view wanted) {
  throw Failure(ErrorKind::kInternal,
                "column " + std::to_string(column) + " of the result is no " + std::string(wanted));
}

}  // namespace

bool Row::IsNull(std::size_t column) const {
  return std::holds_alternative<std::nullptr_t>(values_.at(column));
}

std::int64_t Row::Integer(std::size_t column) const {
  const Value& value = values_.at(column);
  if (const auto* integer = std::get_if<std::int64_t>(&value)) return *integer;
  if (IsNull(column)) return 0;
  WrongType(column, "integer");
}

double Row::Double(std::size_t column) const {
  const Value& value = values_.at(column);
  if (const auto* number = std::get_if<double>(&value)) return *number;
  return static_cast<double>(Integer(column));
}

const std::string& Row::Text(std::size_t column) const {
  static const std::string kEmpty;
  const Value& value = values_.at(column);
  if (const auto* text = std::get_if<std::string>(&value)) return *text;
  if (IsNull(column)) return kEmpty;
  WrongType(column, "text");
}

std::optional<std::int64_t> Row::OptionalInteger(std::size_t column) const {
  if (IsNull(column)) return std::nullopt;
  return Integer(column);
}

std::optional<std::string> Row::OptionalText(std::size_t column) const {
  if (IsNull(column)) return std::nullopt;
  return Text(column);
}

std::optional<Row> Transaction::QueryOne(std::string_view sql,
                                         std::initializer_list<Param> params) {
  Rows rows = Query(sql, params);
  if (rows.empty()) return std::nullopt;
  return std::move(rows.front());
}

void Transaction::AppendChange(std::string_view kind, std::int64_t id, TeamId team, Json data) {
  Execute(
      Pick("insert into changes (time, actor, request_id, kind, object_id, team_id, data) "
           "values ($1, $2, $3, $4, $5, $6, $7)",
           "insert into changes (time, actor, request_id, kind, object_id, team_id, data, "
           "transaction_id) values ($1, $2, $3, $4, $5, $6, $7, "
           "pg_current_xact_id()::text::bigint)"),
      {now_, actor_, request_id_, kind, id, team, data.IsNull() ? std::string() : ToText(data)});
  has_changes_ = true;
}

void Transaction::SetActor(std::string actor, std::string request_id) {
  actor_ = std::move(actor);
  request_id_ = std::move(request_id);
}

Result<std::unique_ptr<Database>> Database::Open(const DatabaseOptions& options, const Clock& clock,
                                                 Logger log) try {
  if (options.url.empty()) {
    return Fail(
        ErrorKind::kInvalid,
        "no database is named: give sqlite:/path/to/file or a PostgreSQL connection string");
  }
  if (options.url.starts_with("sqlite:")) return OpenSqlite(options, clock, std::move(log));
  return OpenPostgres(options, clock, std::move(log));
} catch (const Failure& failure) {
  return std::unexpected(failure.error());
}

}  // namespace pinion::store
