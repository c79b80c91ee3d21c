#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "store/database.h"

namespace pinion::store {

/// One row of the change feed.
struct Change {
  std::int64_t sequence = 0;
  std::int64_t time = 0;  ///< unix seconds
  std::string actor;
  std::string request_id;
  std::string kind;  ///< "noun.verb"
  std::int64_t id = 0;
  TeamId team;
  std::string data;  ///< JSON, "" for none
};

/// How far a reader has come. Rows of PostgreSQL become visible in the order of commits, not of
/// their sequence, so beside the sequence it keeps which transactions the reader has seen: each row
/// is delivered as soon as it is visible, none twice, and none is missed behind a long writer.
struct ChangeCursor {
  std::int64_t sequence = 0;  ///< the highest of what is delivered completely
  std::string seen;           ///< PostgreSQL: its snapshot then; "" until the first read

  /// PostgreSQL, between the pages of one long read: the snapshot it reads up to and its place.
  std::string until;
  std::int64_t at_transaction = 0;
  std::int64_t at_sequence = 0;
  std::int64_t highest = 0;

  /// For a settings row.
  std::string ToText() const;
  static std::optional<ChangeCursor> FromText(std::string_view text);
  friend bool operator==(const ChangeCursor&, const ChangeCursor&) = default;
};

struct ChangePage {
  std::vector<Change> changes;  ///< by sequence within the page
  ChangeCursor next;
  bool more = false;  ///< the limit was reached: read again at once
  /// Rows after the cursor are gone (trimmed, or the database was restored from a backup): what
  /// comes after `next` is complete, but the reader must load anew what it keeps.
  bool trimmed = false;
};

/// The end of the feed as this transaction sees it: who has loaded state in the same transaction
/// follows from here.
ChangeCursor EndOfChanges(Transaction& transaction);

/// The rows that became visible after `after`, at most `limit` (≥ 1). A cursor with a sequence
/// alone reads from the row after it; an empty one from the beginning. A transaction's rows arrive
/// in the order in which they were appended; consumers keep `next` in the transaction that stores
/// what they made of the page, or are idempotent. For Read transactions (one snapshot).
ChangePage ReadChanges(Transaction& transaction, const ChangeCursor& after, std::size_t limit);

/// Deletes rows older than `before` (unix seconds), at most `limit`; returns how many. Readers that
/// had not come so far are told by ChangePage::trimmed.
std::int64_t TrimChanges(Transaction& transaction, std::int64_t before, std::int64_t limit);

}  // namespace pinion::store
