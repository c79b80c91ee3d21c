#include "store/components_table.h"

namespace pinion::store {

namespace {

constexpr std::string_view kAll =
    "select name, role, interval_ns, pausable, paused, last_ran, last_duration_us, last_error "
    "from components order by name";
constexpr std::string_view kOne =
    "select name, role, interval_ns, pausable, paused, last_ran, last_duration_us, last_error "
    "from components where name = $1";

ComponentRow ReadComponent(const Row& row) {
  return {.name = row.Text(0),
          .role = row.Text(1),
          .interval = Duration(row.Integer(2)),
          .pausable = row.Bool(3),
          .paused = row.Bool(4),
          .last_ran = row.OptionalInteger(5),
          .last_duration = std::chrono::microseconds(row.Integer(6)),
          .last_error = row.OptionalText(7)};
}

void AppendPaused(Transaction& transaction, std::string_view name, bool paused) {
  transaction.AppendChange(paused ? "component.paused" : "component.unpaused", 0, TeamId{},
                           JsonObject{{"name", Json(name)}});
}

}  // namespace

void RegisterComponent(Transaction& transaction, const ComponentRow& component) {
  transaction.Execute(
      "insert into components (name, role, interval_ns, pausable) values ($1, $2, $3, $4) "
      "on conflict (name) do update set role = excluded.role, interval_ns = excluded.interval_ns, "
      "pausable = excluded.pausable",
      {component.name, component.role, std::int64_t{component.interval.count()},
       component.pausable});
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
  if (transaction.Execute("update components set paused = $2 where name = $1 and paused <> $2 and "
                          "(pausable = 1 or $2 = 0)",
                          {name, paused}) > 0) {
    AppendPaused(transaction, name, paused);
    return true;
  }
  const auto component = FindComponent(transaction, name);
  if (paused && component && !component->pausable) {
    throw Failure(ErrorKind::kConflict, "the component '" + std::string(name) +
                                            "' cannot be paused: builds would be lost");
  }
  return component.has_value();
}

void SetAllComponentsPaused(Transaction& transaction, bool paused) {
  for (const Row& row : transaction.Query(
           "update components set paused = $1 where paused <> $1 and (pausable = 1 or $1 = 0) "
           "returning name",
           {paused})) {
    AppendPaused(transaction, row.Text(0), paused);
  }
}

void RecordComponentRuns(Transaction& transaction, const std::vector<ComponentRun>& runs) {
  if (runs.empty()) return;
  std::string values;
  std::vector<Param> params;
  for (const ComponentRun& run : runs) {
    const auto micros = std::chrono::duration_cast<std::chrono::microseconds>(run.duration).count();
    params.insert(params.end(),
                  {run.name, run.started, std::int64_t{micros}, run.error.value_or("")});
    const std::size_t first = params.size() - 3;
    values += values.empty() ? "(" : ", (";
    for (std::size_t i = first; i < first + 4; ++i) {
      values += (i == first ? "$" : ", $") + std::to_string(i);
    }
    values += ")";
  }
  transaction.ExecuteList("with runs (name, started, micros, error) as (values " + values +
                              ") update components set last_ran = runs.started, last_duration_us = "
                              "runs.micros, last_error = nullif(runs.error, '') from runs "
                              "where components.name = runs.name",
                          params);
}

bool ClaimComponentRun(Transaction& transaction, std::string_view name, Duration interval) {
  const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(interval).count();
  return transaction.Execute(
             "update components set last_ran = $2 where name = $1 and "
             "(last_ran is null or last_ran <= $3 or last_ran > $2)",
             {name, transaction.now(), transaction.now() - std::int64_t{seconds}}) > 0;
}

}  // namespace pinion::store
