#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "protocol/plan.h"
#include "store/builds.h"
#include "store/jobs.h"

/// What the scheduler needs of others, given to it at its making.
namespace pinion::scheduling {

/// Runs builds: the engine.
class BuildStarter {
 public:
  virtual ~BuildStarter() = default;
  /// The build has its plan and this process's lease as its owner; the transaction is committed.
  /// Called on the loop, once; after a crash in between, the engine finds the build in the
  /// database.
  virtual void BuildStarted(BuildId build) = 0;
  /// No plan could be made, and the build has ended as errored: its log says why.
  virtual void BuildErrored(BuildId build, const std::string& message) {
    (void)build;
    (void)message;
  }
};

/// Makes plans of jobs.
class BuildPlanner {
 public:
  virtual ~BuildPlanner() = default;
  /// The plan of the job with these inputs. Called inside the scheduler's transaction, from threads
  /// of the pool, several at a time; may be called again for the same build. An error ends the
  /// build.
  virtual Result<protocol::Plan> MakePlan(store::Transaction& transaction, const store::JobRow& job,
                                          const std::vector<store::BuildInputRow>& inputs,
                                          bool manual) = 0;
};

}  // namespace pinion::scheduling
