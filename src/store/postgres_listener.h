#pragma once

#include <atomic>
#include <memory>
#include <thread>

#include "store/database_pool.h"
#include "store/postgres_session.h"

namespace pinion::store {

/// Carries "look at the feed" between nodes, on a thread and a connection of its own: tells others
/// of this node's commits, any number of them at once, and this node of theirs.
class PostgresListener {
 public:
  PostgresListener(const DatabaseOptions& options, const Clock& clock, Logger log,
                   std::shared_ptr<ChangeNotifier> notifier);
  PostgresListener(const PostgresListener&) = delete;
  PostgresListener& operator=(const PostgresListener&) = delete;
  /// Tells what is still to be told, then ends the thread.
  ~PostgresListener();

  /// Others must look; from any thread, without waiting.
  void Tell();

 private:
  void Work();
  /// Until the connection is lost or the end; throws Failure when it cannot connect.
  void Serve();
  bool SendNotify();

  Logger log_;
  std::shared_ptr<ChangeNotifier> notifier_;
  PostgresSession session_;
  WakeDescriptor wake_;
  std::atomic<bool> to_tell_ = false;
  std::atomic<bool> ending_ = false;
  std::stop_source stop_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace pinion::store
