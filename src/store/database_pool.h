#pragma once

#include <array>
#include <atomic>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "store/database.h"
#include "store/database_slots.h"

namespace pinion::store {

/// One connection as the pools hold it. One thread at a time.
class DatabaseConnection {
 public:
  virtual ~DatabaseConnection() = default;
  /// One transaction. Returns whether changes were appended and committed.
  virtual bool Run(bool write, const Database::Closure& work, const std::stop_token& stop) = 0;
};

/// Who must look at the feed. Many Notify() while one is being served count once; each returns when
/// everybody was called after it began, so that what a commit changed is known to have changed
/// before the commit is answered.
class ChangeNotifier {
 public:
  explicit ChangeNotifier(Logger log) : log_(std::move(log)) {}
  void Add(std::function<void()> look);
  void Notify();

 private:
  Logger log_;
  std::mutex mutex_;
  std::vector<std::shared_ptr<std::function<void()>>> looks_;
  std::condition_variable served_;
  std::uint64_t asked_ = 0;
  std::uint64_t answered_ = 0;
  std::thread::id server_;  ///< whose turn it is to call; none while nobody calls
};

/// What both dialects share: pools of connections that are opened when they are first needed, their
/// threads, and the local side of OnChange.
class PooledDatabase : public Database {
 public:
  void Run(Pool pool, bool write, const Closure& work, std::stop_token stop) final;
  ThreadPool& threads(Pool pool) final { return *group(pool).threads; }
  std::int64_t statements(Pool pool) const final { return groups_[Index(pool)].statements; }
  void OnChange(std::function<void()> look) override;

 protected:
  PooledDatabase(const DatabaseOptions& options, const Clock& clock, Logger log);
  ~PooledDatabase() override;

  /// `single`: all pools share one connection, as a database in memory needs it.
  void Start(bool single);
  /// Ends the threads; before the members of a derived class go away.
  void StopThreads();

  virtual std::unique_ptr<DatabaseConnection> Connect(Pool pool) = 0;
  /// After a commit with changes, on the thread that committed.
  virtual void Committed() { notifier_->Notify(); }

  const DatabaseOptions options_;
  const Clock& clock_;
  Logger log_;
  std::shared_ptr<ChangeNotifier> notifier_;
  std::atomic<std::int64_t>& statement_counter(Pool pool) { return group(pool).statements; }

 private:
  struct Connections {
    explicit Connections(std::size_t limit) : slots(limit) {}
    FairSlots slots;
    std::mutex mutex;
    std::vector<std::unique_ptr<DatabaseConnection>> idle;
  };
  struct Group {
    std::shared_ptr<Connections> connections;
    std::unique_ptr<ThreadPool> threads;
    std::atomic<std::int64_t> statements = 0;
  };
  static std::size_t Index(Pool pool) { return static_cast<std::size_t>(pool); }
  Group& group(Pool pool) { return groups_[Index(pool)]; }

  std::array<Group, 3> groups_;
};

std::string_view Name(Pool pool);

/// For messages: the statement on one line, shortened.
std::string Shortened(std::string_view sql);
/// Throws kInvalid unless the text can be stored in either dialect: UTF-8 without NUL.
void CheckStorable(std::string_view text, std::string_view sql);

}  // namespace pinion::store
