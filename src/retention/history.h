#pragma once

#include "async/task.h"
#include "base/log.h"
#include "store/database.h"

namespace pinion::retention {

struct HistoryOptions {
  std::int64_t check_seconds = 30;  ///< a check's build after its end, once there is a newer one
  std::int64_t scope_seconds =
      65 * 60;  ///< a scope that nothing is checked by, after its last check
  std::int64_t change_seconds = 30 * 24 * 3600;  ///< a row of the change feed
  int batch = 500;                               ///< rows of one transaction
};

/// Deletes what the server wrote down and needs no more: builds of checks that a newer one has
/// replaced, scopes, the tail of the change feed.
class History {
 public:
  History(store::Database& database, HistoryOptions options)
      : database_(database), options_(options) {}

  /// One pass, of at most a hundred transactions for each kind.
  Task<void> Run(std::stop_token stop);

 private:
  store::Database& database_;
  HistoryOptions options_;
};

}  // namespace pinion::retention
