#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "base/ids.h"

namespace pinion::pipeline {
struct Job;
}

namespace pinion::retention {

/// What the server's options say. 0: nothing is said.
struct LogOptions {
  std::int64_t default_builds = 0;
  std::int64_t max_builds = 0;  ///< also over what a job says
  std::int64_t default_days = 0;
  std::int64_t max_days = 0;  ///< likewise
};

/// Which of a job's builds keep their logs, as upstream has it: the newest `builds` ones, and those
/// that ended within `days`; as soon as one is neither, the count alone binds. Both 0: all of them.
struct LogPolicy {
  std::int64_t builds = 0;
  std::int64_t days = 0;
  /// So many succeeded builds keep theirs whatever their age, and count among `builds`.
  std::int64_t minimum_succeeded = 0;
  bool KeepsAll() const { return builds == 0 && days == 0; }
  friend bool operator==(const LogPolicy&, const LogPolicy&) = default;
};

LogPolicy PolicyFor(const pipeline::Job& job, const LogOptions& options);

/// A build whose log is there.
struct LoggedBuild {
  BuildId build;
  bool finished = false;
  bool succeeded = false;
  std::optional<std::int64_t> end_time;  ///< unix seconds
};

/// Whose logs go. `builds`: newest first. Running ones keep theirs.
std::vector<BuildId> LogsToRemove(const std::vector<LoggedBuild>& builds, const LogPolicy& policy,
                                  std::int64_t now);

}  // namespace pinion::retention
