#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "store/database.h"

namespace pinion::store {

/// One step of the schema, applied in one transaction. Forward only, and such that the previous
/// release keeps running on the new schema.
struct Migration {
  std::int64_t version = 0;  // 1, 2, 3, … without a hole
  std::string_view name;
  std::string_view sql;
};

/// The migrations of this program, in order.
std::span<const Migration> Migrations();

/// Brings the schema up to the last of `migrations`; several programs may try at once. kConflict if
/// the schema is newer, naming both versions.
Result<void> Migrate(Database& database, std::span<const Migration> migrations, const Logger& log);

/// kConflict if the schema is newer than the last of `migrations`; changes nothing. An empty
/// database is fine.
Result<void> CheckVersion(Database& database, std::span<const Migration> migrations);

/// A script's statements in one dialect: split at `;` outside of quotes and comments, with {id} put
/// in.
std::vector<std::string> SplitStatements(std::string_view script, Dialect dialect);

}  // namespace pinion::store
