#pragma once

#include <map>
#include <optional>
#include <string>

#include "base/json_fields.h"
#include "store/builds.h"

namespace pinion::scheduling {

/// Why a build does not start yet, as upstream's BuildPreparation has it; texts are shown to users.
struct Preparation {
  BuildId build_id;
  std::string paused_pipeline = kNotBlocking;  ///< "blocking" or "not_blocking", as all of these
  std::string paused_job = kNotBlocking;
  std::string max_running_builds = kNotBlocking;
  std::map<std::string, std::string> inputs;  ///< by input name
  std::string inputs_satisfied = kNotBlocking;
  std::map<std::string, std::string> missing_input_reasons;

  static constexpr const char* kBlocking = "blocking";
  static constexpr const char* kNotBlocking = "not_blocking";
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("build_id", self.build_id);
    visit("paused_pipeline", self.paused_pipeline);
    visit("paused_job", self.paused_job);
    visit("max_running_builds", self.max_running_builds);
    visit("inputs", self.inputs);
    visit("inputs_satisfied", self.inputs_satisfied);
    visit("missing_input_reasons", self.missing_input_reasons);
  }
};

/// Read from what the scheduler last found. Nothing for a build that does not exist; nothing blocks
/// one that is not pending, or has no job.
std::optional<Preparation> FindPreparation(store::Transaction& transaction, BuildId build);

}  // namespace pinion::scheduling
