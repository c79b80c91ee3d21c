#pragma once

#include "async/task_group.h"
#include "checking/check_runner.h"
#include "engine/build_run.h"

namespace pinion::engine {

/// Runs interval checks: the same step as a build's check, but without a build, a log or a row for
/// it.
class CheckRunner final : public checking::CheckRunner {
 public:
  explicit CheckRunner(EngineServices services);

  Task<checking::CheckResult> RunCheck(checking::CheckRequest request,
                                       std::stop_token stop) override;
  /// Ends checks that run and waits for them.
  Task<void> Stop();

 private:
  EngineServices services_;
};

}  // namespace pinion::engine
