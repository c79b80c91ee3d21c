#include "store/changes.h"

#include <algorithm>

#include "base/text.h"

namespace pinion::store {

namespace {

constexpr std::string_view kTrimmedSetting = "changes.trimmed";
#define PINION_CHANGE_COLUMNS \
  "sequence, time, actor, request_id, kind, object_id, team_id, data, transaction_id"

Change ReadChange(const Row& row) {
  Change change;
  change.sequence = row.Integer(0);
  change.time = row.Integer(1);
  change.actor = row.Text(2);
  change.request_id = row.Text(3);
  change.kind = row.Text(4);
  change.id = row.Integer(5);
  change.team = row.IdAt<TeamId>(6);
  change.data = row.Text(7);
  return change;
}

std::int64_t TrimmedUpTo(Transaction& transaction) {
  const auto row = transaction.QueryOne(
      "select cast(value as bigint) from settings where name = $1", {kTrimmedSetting});
  return row ? row->Integer(0) : 0;
}

// SQLite has one writer at a time: rows become visible in the order of their sequence.
void ReadInOrder(Transaction& transaction, ChangePage& page, std::size_t limit) {
  const Rows rows =
      transaction.Query("select " PINION_CHANGE_COLUMNS
                        " from changes where sequence > $1 order by sequence limit $2",
                        {page.next.sequence, static_cast<std::int64_t>(limit)});
  for (const Row& row : rows)
    page.changes.push_back(ReadChange(row));
  if (!rows.empty()) page.next.sequence = page.changes.back().sequence;
  page.more = rows.size() == limit;
}

// Fixes the snapshot up to which the next pages read. False if the cursor is of another life of the
// database, whose transactions were counted otherwise.
bool BeginSweep(Transaction& transaction, ChangeCursor& cursor) {
  const Row row = transaction
                      .QueryOne(
                          "select pg_current_snapshot()::text, "
                          "pg_snapshot_xmax(pg_current_snapshot())::text::bigint")
                      .value();
  cursor.until = row.Text(0);
  cursor.highest = cursor.sequence;
  cursor.at_transaction = 0;
  cursor.at_sequence = 0;
  if (cursor.seen.empty()) return true;
  const Row old = transaction
                      .QueryOne(
                          "select pg_snapshot_xmin($1::pg_snapshot)::text::bigint, "
                          "pg_snapshot_xmax($1::pg_snapshot)::text::bigint",
                          {cursor.seen})
                      .value();
  cursor.at_transaction = old.Integer(0);  // sequence 0: its first row is still ahead
  return old.Integer(1) <= row.Integer(1);
}

void ReadSweep(Transaction& transaction, ChangePage& page, std::size_t limit) {
  ChangeCursor& cursor = page.next;
  // The condition on the pair follows the index; the rest filters the few rows of running writers.
  constexpr std::string_view kAfterSequence =
      "select " PINION_CHANGE_COLUMNS
      " from changes where (transaction_id, sequence) > ($1, $2) and "
      "pg_visible_in_snapshot(transaction_id::text::xid8, $3::pg_snapshot) and "
      "sequence > $4 order by transaction_id, sequence limit $5";
  constexpr std::string_view kAfterSnapshot =
      "select " PINION_CHANGE_COLUMNS
      " from changes where (transaction_id, sequence) > ($1, $2) and "
      "pg_visible_in_snapshot(transaction_id::text::xid8, $3::pg_snapshot) and "
      "not pg_visible_in_snapshot(transaction_id::text::xid8, $4::pg_snapshot) "
      "order by transaction_id, sequence limit $5";
  const bool first = cursor.seen.empty();
  const Rows rows = transaction.Query(
      first ? kAfterSequence : kAfterSnapshot,
      {cursor.at_transaction, cursor.at_sequence, cursor.until,
       first ? Param(cursor.sequence) : Param(cursor.seen), static_cast<std::int64_t>(limit)});
  for (const Row& row : rows) {
    page.changes.push_back(ReadChange(row));
    cursor.highest = std::max(cursor.highest, page.changes.back().sequence);
  }
  page.more = rows.size() == limit;
  if (page.more) {
    cursor.at_transaction = rows.back().Integer(8);
    cursor.at_sequence = rows.back().Integer(0);
  } else {
    cursor = ChangeCursor{.sequence = cursor.highest, .seen = cursor.until};
  }
  std::ranges::sort(page.changes, {}, &Change::sequence);
}

}  // namespace

std::string ChangeCursor::ToText() const {
  std::string text = std::to_string(sequence);
  if (seen.empty() && until.empty()) return text;
  text += " " + seen;
  if (until.empty()) return text;
  return text + " " + until + " " + std::to_string(at_transaction) + " " +
         std::to_string(at_sequence) + " " + std::to_string(highest);
}

std::optional<ChangeCursor> ChangeCursor::FromText(std::string_view text) {
  const auto parts = Split(text, ' ');
  if (parts.size() != 1 && parts.size() != 2 && parts.size() != 6) return std::nullopt;
  ChangeCursor cursor;
  const auto read = [](std::string_view part, std::int64_t& out) {
    const auto value = ParseNumber(part);
    out = value.value_or(0);
    return value.has_value();
  };
  if (!read(parts[0], cursor.sequence)) return std::nullopt;
  if (parts.size() > 1) cursor.seen = parts[1];
  if (parts.size() == 6) {
    cursor.until = parts[2];
    if (!read(parts[3], cursor.at_transaction) || !read(parts[4], cursor.at_sequence) ||
        !read(parts[5], cursor.highest)) {
      return std::nullopt;
    }
  }
  return cursor;
}

ChangeCursor EndOfChanges(Transaction& transaction) {
  ChangeCursor cursor;
  cursor.sequence =
      transaction.QueryOne("select coalesce(max(sequence), 0) from changes")->Integer(0);
  cursor.sequence = std::max(cursor.sequence, TrimmedUpTo(transaction));
  if (transaction.dialect() == Dialect::kPostgres) {
    cursor.seen = transaction.QueryOne("select pg_current_snapshot()::text")->Text(0);
  }
  return cursor;
}

ChangePage ReadChanges(Transaction& transaction, const ChangeCursor& after, std::size_t limit) {
  ChangePage page;
  page.next = after;
  page.trimmed = after.sequence < TrimmedUpTo(transaction);
  if (transaction.dialect() == Dialect::kSqlite) {
    page.trimmed =
        page.trimmed || after.sequence > EndOfChanges(transaction).sequence;  // a restored backup
    if (page.trimmed) page.next = EndOfChanges(transaction);
    ReadInOrder(transaction, page, limit);
    return page;
  }
  if (page.next.until.empty()) {
    page.trimmed = !BeginSweep(transaction, page.next) || page.trimmed;
  }
  if (page.trimmed) {
    page.next = EndOfChanges(transaction);
    return page;
  }
  ReadSweep(transaction, page, limit);
  return page;
}

std::int64_t TrimChanges(Transaction& transaction, std::int64_t before, std::int64_t limit) {
  const Rows rows = transaction.Query(
      "delete from changes where sequence in (select sequence from changes where time < $1 "
      "order by time, sequence limit $2) returning sequence",
      {before, limit});
  std::int64_t highest = 0;
  for (const Row& row : rows)
    highest = std::max(highest, row.Integer(0));
  if (highest > TrimmedUpTo(transaction)) {
    transaction.Execute(
        "insert into settings (name, value) values ($1, $2) "
        "on conflict (name) do update set value = excluded.value",
        {kTrimmedSetting, std::to_string(highest)});
  }
  return static_cast<std::int64_t>(rows.size());
}

}  // namespace pinion::store
