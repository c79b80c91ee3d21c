#pragma once

#include <set>
#include <string>

#include "checking/interfaces.h"
#include "engine/build_run.h"

namespace pinion::engine {

/// Runs interval checks: the same script in the same kind of container as a build's check step, but
/// without a build: nothing is kept of it but what the checker saves.
class CheckRunner final : public checking::CheckRunner {
 public:
  /// `container_left` is called when a check's container may be collected.
  CheckRunner(EngineServices services, std::function<void()> container_left);

  Task<checking::CheckResult> RunCheck(checking::CheckRequest request,
                                       std::stop_token stop) override;

 private:
  Task<void> LeaveContainers(std::vector<std::string> handles, std::stop_token stop);

  EngineServices services_;
  std::function<void()> container_left_;
  std::uint64_t next_ = 0;
  std::set<std::string> left_;  ///< containers that the database does not know to be left yet
};

/// Fills in the ((vars)) of sources that are checked.
class SourceFiller final : public checking::SourceFiller {
 public:
  explicit SourceFiller(secrets::VarSources& var_sources) : var_sources_(var_sources) {}
  Task<Json> FillIn(checking::SourceOwner owner, Json value, std::stop_token stop) override;

 private:
  secrets::VarSources& var_sources_;
};

}  // namespace pinion::engine
