#include "retention/history.h"

#include <functional>

#include "store/build_history.h"
#include "store/changes.h"
#include "store/scopes.h"

namespace pinion::retention {

using store::Pool;
using store::Transaction;

namespace {

constexpr int kBatches = 100;

/// Repeats a deletion of at most `batch` rows, each time in its own transaction.
Task<void> DeleteInBatches(store::Database& database, int batch,
                           std::function<std::int64_t(Transaction&)> work, std::stop_token stop) {
  for (int i = 0; i < kBatches; ++i) {
    const std::int64_t deleted = co_await database.Write(Pool::kEngine, work, stop);
    if (deleted < batch) co_return;
  }
}

}  // namespace

Task<void> History::Run(std::stop_token stop) {
  const HistoryOptions& options = options_;
  std::function<std::int64_t(Transaction&)> work = [options](Transaction& transaction) {
    return store::DeleteReplacedChecks(transaction, transaction.now() - options.check_seconds,
                                       options.batch);
  };
  co_await DeleteInBatches(database_, options.batch, work, stop);
  work = [options](Transaction& transaction) {
    return store::DeleteUnusedScopes(transaction, transaction.now() - options.scope_seconds,
                                     options.batch);
  };
  co_await DeleteInBatches(database_, options.batch, work, stop);
  work = [options](Transaction& transaction) {
    return store::TrimChanges(transaction, transaction.now() - options.change_seconds,
                              options.batch);
  };
  co_await DeleteInBatches(database_, options.batch, work, stop);
}

}  // namespace pinion::retention
