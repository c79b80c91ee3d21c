#pragma once

#include <optional>
#include <string>
#include <vector>

#include "scheduling/inputs.h"
#include "scheduling/interfaces.h"
#include "store/database.h"
#include "store/jobs.h"

namespace pinion::scheduling {

/// What looking at one job came to.
struct JobOutcome {
  std::vector<BuildId> started;
  struct Errored {
    BuildId build;
    std::string message;
  };
  std::vector<Errored> errored;
  std::vector<ResourceId> checks;  ///< a pending build waits for these
  std::vector<JobId> peers;        ///< may go on now: look at them too
  bool again = false;              ///< `every` has more versions: look at it again
};

/// Looks at one job: resolves its inputs, makes a build if an input that triggers has a version
/// that it never had, and starts the pending builds that may start, in their order. One step of one
/// transaction: either all of it happens or nothing. `owner` becomes that of started builds;
/// without one, any engine may claim them. Jobs of one transaction are locked first, by
/// store::LockForScheduling.
JobOutcome ScheduleJob(store::Transaction& transaction, JobId job, BuildPlanner& planner,
                       const std::optional<store::Owner>& owner,
                       const ResolutionLimits& limits = {});

/// Builds of the job that may run at once, from its configuration's JSON; 0: no limit.
int MaxInFlight(const std::string& job_config);

/// A job's inputs as the resolution takes them: pins of the step before those of the resource.
std::vector<InputConfig> InputsOfJob(store::Transaction& transaction, JobId job);

/// What was found, as it is stored for the job's next build.
store::NextInputs ToNextInputs(const Resolution& resolution);

}  // namespace pinion::scheduling
