#include "store/sqlite_database.h"

#include <filesystem>
#include <map>
#include <mutex>

#include "store/migrations.h"
#include "store/sqlite_connection.h"

namespace pinion::store {

namespace {

// What all Databases of one file share in this process: one queue of writers, and who looks at the
// feed.
struct SqliteFile {
  FairSlots writers{1};
  std::mutex mutex;
  std::vector<std::weak_ptr<ChangeNotifier>> notifiers;

  void Notify() {
    std::vector<std::shared_ptr<ChangeNotifier>> alive;
    {
      const std::lock_guard lock(mutex);
      std::erase_if(notifiers, [](const auto& notifier) { return notifier.expired(); });
      for (const auto& notifier : notifiers)
        alive.push_back(notifier.lock());
    }
    for (const auto& notifier : alive) {
      if (notifier) notifier->Notify();
    }
  }
};

std::shared_ptr<SqliteFile> FileAt(const std::string& path) {
  if (path == ":memory:") return std::make_shared<SqliteFile>();
  static std::mutex mutex;
  static std::map<std::string, std::weak_ptr<SqliteFile>> files;
  const std::lock_guard lock(mutex);
  std::erase_if(files, [](const auto& entry) { return entry.second.expired(); });
  std::error_code ignored;
  const auto canonical = std::filesystem::weakly_canonical(path, ignored);
  std::weak_ptr<SqliteFile>& entry = files[canonical.empty() ? path : canonical.string()];
  auto file = entry.lock();
  if (!file) entry = file = std::make_shared<SqliteFile>();
  return file;
}

class SqliteDatabase final : public PooledDatabase {
 public:
  SqliteDatabase(const DatabaseOptions& options, const Clock& clock, Logger log)
      : PooledDatabase(options, clock, std::move(log)),
        path_(options.url.substr(std::string_view("sqlite:").size())),
        file_(FileAt(path_)) {
    if (path_.empty()) {
      throw Failure(ErrorKind::kInvalid, "the database's path is empty: give sqlite:/path/to/file");
    }
    {
      const std::lock_guard lock(file_->mutex);
      file_->notifiers.push_back(notifier_);
    }
    Start(path_ == ":memory:");
  }
  ~SqliteDatabase() override { StopThreads(); }

  Dialect dialect() const override { return Dialect::kSqlite; }

 private:
  std::unique_ptr<DatabaseConnection> Connect(Pool pool) override {
    return std::make_unique<SqliteConnection>(path_, options_, clock_, file_->writers,
                                              pool == Pool::kLease, statement_counter(pool));
  }
  void Committed() override { file_->Notify(); }

  std::string path_;
  std::shared_ptr<SqliteFile> file_;
};

}  // namespace

std::unique_ptr<Database> OpenSqlite(const DatabaseOptions& options, const Clock& clock,
                                     Logger log) {
  auto database = std::make_unique<SqliteDatabase>(options, clock, log);
  ValueOrThrow(options.migrate ? Migrate(*database, Migrations(), log)
                               : CheckVersion(*database, Migrations()));
  return database;
}

}  // namespace pinion::store
