#include "store/migrations.h"

#include <array>

extern "C" {
extern const char pinion_migration_0001_begin[];
extern const char pinion_migration_0001_end[];
extern const char pinion_migration_0002_begin[];
extern const char pinion_migration_0002_end[];
extern const char pinion_migration_0003_begin[];
extern const char pinion_migration_0003_end[];
}

namespace pinion::store {

namespace {

// Position after the quoted text, comment or dollar-quoted text that starts at `at`; `at` if none
// does.
std::size_t SkipQuoted(std::string_view script, std::size_t at) {
  const auto after = [&](std::string_view end, std::size_t from) {
    const std::size_t found = script.find(end, from);
    return found == std::string_view::npos ? script.size() : found + end.size();
  };
  const char c = script[at];
  // A doubled quote inside reads as two quoted texts in a row, which comes to the same.
  if (c == '\'' || c == '"') return after(std::string_view(&c, 1), at + 1);
  if (script.substr(at).starts_with("--")) return after("\n", at);
  if (script.substr(at).starts_with("/*")) return after("*/", at + 2);
  if (script.substr(at).starts_with("$$")) return after("$$", at + 2);
  return at;
}

bool IsComment(std::string_view script, std::size_t at) {
  return script.substr(at).starts_with("--") || script.substr(at).starts_with("/*");
}

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t\r\n") == std::string_view::npos;
}

std::int64_t CurrentVersion(Transaction& transaction) {
  transaction.Execute(
      "create table if not exists schema_migrations (version bigint primary key, name text not "
      "null, "
      "applied_at bigint not null)");
  return transaction.QueryOne("select coalesce(max(version), 0) from schema_migrations")
      ->Integer(0);
}

// Programs that start together take turns; a long migration of one must not fail the others.
void TakeTurn(Transaction& transaction) {
  transaction.SetLimits(std::chrono::hours(1), std::chrono::minutes(15));
  if (transaction.dialect() != Dialect::kPostgres) return;  // BEGIN IMMEDIATE has done it
  transaction.Query("select pg_advisory_xact_lock(hashtextextended('pinion migrations', 0))::text");
}

Result<void> TooNew(std::int64_t version, std::int64_t newest) {
  return Fail(ErrorKind::kConflict,
              "the database's schema has version " + std::to_string(version) +
                  ", this program knows versions up to " + std::to_string(newest) +
                  ": start the newer release, or restore a backup from before its start");
}

}  // namespace

std::span<const Migration> Migrations() {
  static const std::array<Migration, 3> kMigrations = {
      Migration{1, "initial",
                std::string_view(pinion_migration_0001_begin, pinion_migration_0001_end)},
      Migration{2, "residents outlive",
                std::string_view(pinion_migration_0002_begin, pinion_migration_0002_end)},
      Migration{3, "checks know their maker",
                std::string_view(pinion_migration_0003_begin, pinion_migration_0003_end)},
  };
  return kMigrations;
}

std::vector<std::string> SplitStatements(std::string_view script, Dialect dialect) {
  constexpr std::string_view kIdMark = "{id}";
  const std::string_view id = dialect == Dialect::kSqlite
                                  ? "integer primary key autoincrement"
                                  : "bigint generated always as identity primary key";
  std::vector<std::string> statements;
  std::string current;
  std::size_t at = 0;
  while (at < script.size()) {
    const std::size_t end = SkipQuoted(script, at);
    if (end > at) {
      current += IsComment(script, at) ? std::string_view("\n") : script.substr(at, end - at);
      at = end;
    } else if (script[at] == ';') {
      if (!IsBlank(current)) statements.push_back(std::move(current));
      current.clear();
      ++at;
    } else if (script.substr(at).starts_with(kIdMark)) {
      current += id;
      at += kIdMark.size();
    } else {
      current += script[at++];
    }
  }
  if (!IsBlank(current)) statements.push_back(std::move(current));
  return statements;
}

Result<void> Migrate(Database& database, std::span<const Migration> migrations,
                     const Logger& log) try {
  const std::int64_t newest = migrations.empty() ? 0 : migrations.back().version;
  std::int64_t version = -1;
  while (version < newest) {
    const std::int64_t before = version;
    database.Run(Pool::kLease, true, [&](Transaction& transaction) {
      TakeTurn(transaction);
      version = CurrentVersion(transaction);
      for (const Migration& migration : migrations) {
        if (migration.version != version + 1) continue;
        try {
          for (const auto& sql : SplitStatements(migration.sql, transaction.dialect())) {
            transaction.Execute(sql);
          }
        } catch (const Failure& failure) {
          Error error = failure.error();
          error.Context("schema migration " + std::to_string(migration.version) + " (" +
                        std::string(migration.name) + ")");
          throw Failure(std::move(error));
        }
        transaction.Execute(
            "insert into schema_migrations (version, name, applied_at) values ($1, $2, $3)",
            {migration.version, migration.name, transaction.now()});
        version = migration.version;
        break;
      }
    });
    if (version == before) {
      return Fail(ErrorKind::kInternal,
                  "no schema migration leads on from version " + std::to_string(version));
    }
    log.Debug("database schema", {{"version", version}, {"newest", newest}});
  }
  if (version > newest) return TooNew(version, newest);
  return {};
} catch (const Failure& failure) {
  return std::unexpected(failure.error());
}

Result<void> CheckVersion(Database& database, std::span<const Migration> migrations) try {
  const std::int64_t newest = migrations.empty() ? 0 : migrations.back().version;
  std::int64_t version = 0;
  database.Run(Pool::kLease, false, [&](Transaction& transaction) {
    const auto tables = transaction.QueryOne(transaction.Pick(
        "select count(*) from sqlite_master where type = 'table' and name = 'schema_migrations'",
        "select count(*) from information_schema.tables where table_name = 'schema_migrations'"));
    if (tables->Integer(0) == 0) return;
    version =
        transaction.QueryOne("select coalesce(max(version), 0) from schema_migrations")->Integer(0);
  });
  if (version > newest) return TooNew(version, newest);
  return {};
} catch (const Failure& failure) {
  return std::unexpected(failure.error());
}

}  // namespace pinion::store
