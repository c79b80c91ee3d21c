#pragma once

#include <memory>

#include "scheduling/inputs.h"
#include "store/database.h"

namespace pinion::scheduling {

/// VersionsSource over a transaction, for resolving one job's inputs once. What nearly every job
/// asks for (latest versions, the last build's inputs) is read in one statement each, however many
/// inputs there are. Must not outlive the transaction.
std::unique_ptr<VersionsSource> MakeSqlVersions(store::Transaction& transaction, JobId job);

}  // namespace pinion::scheduling
