#include "store/postgres_database.h"

#include <mutex>

#include "store/migrations.h"
#include "store/postgres_connection.h"
#include "store/postgres_listener.h"

namespace pinion::store {

namespace {

class PostgresDatabase final : public PooledDatabase {
 public:
  PostgresDatabase(const DatabaseOptions& options, const Clock& clock, Logger log)
      : PooledDatabase(options, clock, std::move(log)) {
    Start(false);
  }
  ~PostgresDatabase() override {
    StopThreads();
    listener_.reset();
  }

  Dialect dialect() const override { return Dialect::kPostgres; }

  void OnChange(std::function<void()> look) override {
    PooledDatabase::OnChange(std::move(look));
    Listener();
  }

 private:
  std::unique_ptr<DatabaseConnection> Connect(Pool pool) override {
    return std::make_unique<PostgresConnection>(options_, clock_, log_, pool,
                                                statement_counter(pool));
  }
  void Committed() override {
    notifier_->Notify();
    Listener().Tell();
  }
  /// Started by the first who needs it, so that short commands do without.
  PostgresListener& Listener() {
    std::call_once(listener_once_, [this] {
      listener_ = std::make_unique<PostgresListener>(options_, clock_, log_, notifier_);
    });
    return *listener_;
  }

  std::once_flag listener_once_;
  std::unique_ptr<PostgresListener> listener_;
};

}  // namespace

std::unique_ptr<Database> OpenPostgres(const DatabaseOptions& options, const Clock& clock,
                                       Logger log) {
  CheckConnectionString(options.url);
  auto database = std::make_unique<PostgresDatabase>(options, clock, log);
  ValueOrThrow(options.migrate ? Migrate(*database, Migrations(), log)
                               : CheckVersion(*database, Migrations()));
  return database;
}

}  // namespace pinion::store
