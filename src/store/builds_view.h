#pragma once

#include <map>
#include <string>
#include <vector>

#include "store/builds.h"

namespace pinion::store {

/// One page of a list of builds and where its neighbours begin.
struct BuildList {
  std::vector<BuildRow> builds;
  std::int64_t newer = 0;  ///< the `from` of the page before this, 0: none
  std::int64_t older = 0;  ///< the `to` of the page after this
};
/// kInvalid when from is past to.
BuildList ListBuildPage(Transaction& transaction, const BuildFilter& filter, const BuildPage& page);
/// The same with bounds that are unix seconds of the start time; no neighbours.
BuildList ListBuildsStarted(Transaction& transaction, const BuildFilter& filter,
                            const BuildPage& page);

/// Why a pending build does not start yet.
struct Preparation {
  bool pipeline_paused = false;
  bool job_paused = false;
  bool max_running = false;
  bool inputs_satisfied = true;
  std::map<std::string, std::string> inputs;  ///< "" when there is a version, else the reason
};
Preparation FindPreparation(Transaction& transaction, const BuildRow& build);

}  // namespace pinion::store
