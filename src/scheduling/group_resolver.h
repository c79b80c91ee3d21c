#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "scheduling/inputs.h"

namespace pinion::scheduling {

/// A version under consideration for one input.
struct Candidate {
  VersionId version;
  std::set<JobId> vouched_by;
  std::vector<BuildId> sources;
  bool has_next = false;
};

/// Finds versions for inputs whose passed jobs overlap: they must come from the same builds of
/// those jobs. A backtracking search over the jobs' succeeded builds, newest first. Used by
/// ResolveInputs.
class GroupResolver {
 public:
  GroupResolver(VersionsSource& source, std::vector<InputConfig> inputs,
                const ResolutionLimits& limits);

  /// The error, "" if every input of the group has its candidate.
  std::string Resolve();
  const std::vector<InputConfig>& inputs() const { return inputs_; }
  const Candidate& candidate(std::size_t input) const { return *candidates_[input]; }

 private:
  class Builds;
  // Candidates are shared, not copied, between the levels of the search: they do not change.
  using CandidatePtr = std::shared_ptr<const Candidate>;
  enum class Match { kUnrelated, kRelated, kMismatch };

  bool TryResolve();
  bool TryInput(std::size_t input);
  bool TryBuild(std::size_t input, JobId job, BuildId build, bool has_next);
  std::optional<Builds> BuildsToTry(const InputConfig& input, bool has_candidate, JobId passed);
  std::vector<ResourceVersion> Constraints(JobId passed) const;
  Match MatchOutput(const ResourceVersion& output, std::size_t input, JobId job);
  bool AreDoomed() const;

  VersionsSource& source_;
  std::vector<InputConfig> inputs_;
  ResolutionLimits limits_;
  std::unordered_map<ResourceId, std::vector<std::size_t>> inputs_of_;  // by resource
  std::vector<VersionId> pins_;
  std::vector<CandidatePtr> candidates_;
  std::vector<CandidatePtr> doomed_;
  std::optional<std::map<JobId, BuildCursor>> last_used_;
  std::size_t tried_ = 0;
  bool gave_up_ = false;
};

}  // namespace pinion::scheduling
