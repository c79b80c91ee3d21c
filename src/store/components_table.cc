#include "store/components_table.h"

namespace pinion::store {

namespace {

constexpr std::string_view kAll =
    "select name, role, interval_ns, paused, last_ran, last_duration_us, last_error "
    "from components order by name";
constexpr std::string_view kOne =
    "select name, role, interval_ns, paused, last_ran, last_duration_us, last_error "
    "from components where name = $1";

ComponentRow ReadComponent(const Row& row) {
  return {.name = row.Text(0),
          .role = row.Text(1),
          .interval = Duration(row.Integer(2)),
          .paused = row.Bool(3),
          .last_ran = row.OptionalInteger(4),
          .last_duration = std::chrono::microseconds(row.Integer(5)),
          .last_error = row.OptionalText(6)};
}

void AppendPaused(Transaction& transaction, std::string_view name, bool paused) {
  transaction.AppendChange(paused ? "component.paused" : "component.unpaused", 0, TeamId{},
                           JsonObject{{"name", Json(name)}});
}

}  // namespace

void RegisterComponent(Transaction& transaction, std::string_view name, std::string_view role,
                       Duration interval) {
  transaction.Execute(
      "insert into components (name, role, interval_ns) values ($1, $2, $3) "
      "on conflict (name) do update set role = excluded.role, interval_ns = excluded.interval_ns",
      {name, role, std::int64_t{interval.count()}});
}

std::vector<ComponentRow> ListComponents(Transaction& transaction) {
  std::vector<ComponentRow> components;
  for (const Row& row : transaction.Query(kAll))
    components.push_back(ReadComponent(row));
  return components;
}

std::optional<ComponentRow> FindComponent(Transaction& transaction, std::string_view name) {
  const auto row = transaction.QueryOne(kOne, {name});
  if (!row) return std::nullopt;
  return ReadComponent(*row);
}

bool SetComponentPaused(Transaction& transaction, std::string_view name, bool paused) {
  if (transaction.Execute("update components set paused = $2 where name = $1 and paused <> $2",
                          {name, paused}) > 0) {
    AppendPaused(transaction, name, paused);
    return true;
  }
  return FindComponent(transaction, name).has_value();
}

void SetAllComponentsPaused(Transaction& transaction, bool paused) {
  for (const Row& row : transaction.Query(
           "update components set paused = $1 where paused <> $1 returning name", {paused})) {
    AppendPaused(transaction, row.Text(0), paused);
  }
}

void RecordComponentRun(Transaction& transaction, std::string_view name, std::int64_t started,
                        Duration duration, const std::optional<std::string>& error) {
  const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(duration).count();
  transaction.Execute(
      "update components set last_ran = $2, last_duration_us = $3, last_error = $4 where name = $1",
      {name, started, std::int64_t{micros}, error});
}

}  // namespace pinion::store
