#pragma once

#include "store/builds.h"

/// Builds that are over: whose logs and rows are still kept. Every function works inside the
/// caller's transaction.
namespace pinion::store {

struct LoggedBuildRow {
  BuildId id;
  BuildStatus status = BuildStatus::kPending;
  std::optional<std::int64_t> end_time;  ///< unix seconds
};
/// The job's builds whose logs are there (or come to be), newest first.
std::vector<LoggedBuildRow> ListLoggedBuilds(Transaction& transaction, JobId job);

/// Those of these that have no row, or whose log was given up.
std::vector<BuildId> ListWithoutLog(Transaction& transaction, const std::vector<BuildId>& builds);

/// Deletes builds without a job that ended before (unix seconds), at most `limit`
/// (`build.deleted`); which ones.
std::vector<BuildId> DeleteOneOffBuilds(Transaction& transaction, std::int64_t before, int limit);

/// Deletes builds of checks that ended before, when the same resource or type has a newer one
/// (`build.deleted`). How many.
std::int64_t DeleteReplacedChecks(Transaction& transaction, std::int64_t before, int limit);

}  // namespace pinion::store
