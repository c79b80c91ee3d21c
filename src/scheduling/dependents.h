#pragma once

#include <vector>

#include "base/ids.h"
#include "store/changes.h"

namespace pinion::scheduling {

/// A job to look at, with the team whose turn it uses.
struct DueJob {
  JobId job;
  TeamId team;
  friend auto operator<=>(const DueJob&, const DueJob&) = default;
};

/// The jobs whose inputs or whose turn these changes can have altered, each once: never more than
/// that, whatever else exists.
std::vector<DueJob> JobsDependingOn(store::Transaction& transaction,
                                    const std::vector<store::Change>& changes);

/// The jobs with their teams; those that are gone are left out.
std::vector<DueJob> WithTeams(store::Transaction& transaction, const std::vector<JobId>& jobs);

}  // namespace pinion::scheduling
