#include "scheduling/group_resolver.h"

#include <algorithm>

namespace pinion::scheduling {

// The succeeded builds of one passed job in the order in which they are tried: those that `every`
// has not used yet, oldest first, then the others, newest first.
class GroupResolver::Builds {
 public:
  Builds(VersionsSource& source, JobId job, std::vector<ResourceVersion> having, std::size_t page)
      : source_(source), job_(job), having_(std::move(having)), page_(page) {}

  void StartAfter(BuildCursor last_used) {
    builds_ = source_.NewerBuilds(job_, last_used);
    unused_ = true;
    bound_ = last_used;
    inclusive_ = true;
  }

  std::optional<BuildId> Next() {
    while (offset_ >= builds_.size()) {
      if (ended_) return std::nullopt;
      const std::optional<ResourceVersion> first =
          having_.empty() ? std::nullopt : std::optional(having_.front());
      builds_ = source_.SucceededBuilds(job_, bound_, inclusive_, first, page_);
      ended_ = builds_.size() < page_;
      unused_ = false;
      offset_ = 0;
      if (builds_.empty()) return std::nullopt;
      bound_ = builds_.back();
      inclusive_ = false;
      std::erase_if(builds_, [&](const BuildCursor& build) { return !HasAll(build.build); });
    }
    return builds_[offset_++].build;
  }

  // Whether the build that Next() gave last was one that `every` had not used.
  bool HasNext() const { return unused_; }

 private:
  bool HasAll(BuildId build) const {
    if (having_.size() < 2) return true;  // the query saw to it
    const auto& outputs = source_.Outputs(build);
    return std::ranges::all_of(having_, [&](const ResourceVersion& version) {
      return std::ranges::find(outputs, version) != outputs.end();
    });
  }

  VersionsSource& source_;
  JobId job_;
  std::vector<ResourceVersion> having_;
  std::size_t page_;
  std::vector<BuildCursor> builds_;
  std::size_t offset_ = 0;
  std::optional<BuildCursor> bound_;
  bool inclusive_ = false;
  bool unused_ = false;
  bool ended_ = false;
};

GroupResolver::GroupResolver(VersionsSource& source, std::vector<InputConfig> inputs,
                             const ResolutionLimits& limits)
    : source_(source),
      inputs_(std::move(inputs)),
      limits_(limits),
      pins_(inputs_.size()),
      candidates_(inputs_.size()),
      doomed_(inputs_.size()) {
  for (std::size_t i = 0; i < inputs_.size(); ++i)
    inputs_of_[inputs_[i].resource].push_back(i);
}

std::string GroupResolver::Resolve() {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (!inputs_[i].pinned) continue;
    const auto version = source_.FindPinned(inputs_[i].resource, *inputs_[i].pinned);
    if (!version) {
      std::string text = "pinned version";
      for (const auto& [name, value] : *inputs_[i].pinned)
        text += " " + name + ":" + value;
      return text + " not found";
    }
    pins_[i] = *version;
  }
  if (TryResolve()) return "";
  if (gave_up_) {
    return "gave up after trying " + std::to_string(tried_) +
           " builds of passed jobs: too many combinations; pin an input or split the job";
  }
  return kNoSatisfiableBuilds;
}

bool GroupResolver::TryResolve() {
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (!TryInput(i)) return false;
  }
  return true;
}

bool GroupResolver::TryInput(std::size_t input) {
  // The candidate as it was when this level of the search began: deeper levels add their vouchers.
  const CandidatePtr candidate = candidates_[input];
  for (const JobId passed : inputs_[input].passed) {
    if (candidate && candidate->vouched_by.contains(passed)) continue;
    auto builds = BuildsToTry(inputs_[input], candidate != nullptr, passed);
    if (!builds) continue;  // another job decides; this one vouches for its choice later
    while (true) {
      const auto build = builds->Next();
      if (!build || gave_up_) return false;
      if (++tried_ > limits_.builds) {
        gave_up_ = true;
        return false;
      }
      // What is found for this job is found together with all that depends on it.
      if (TryBuild(input, passed, *build, builds->HasNext())) return true;
    }
  }
  return true;
}

bool GroupResolver::TryBuild(std::size_t input, JobId job, BuildId build, bool has_next) {
  std::map<std::size_t, CandidatePtr> restore;
  bool mismatch = false;
  const auto take = [&](const ResourceVersion& output) {
    const auto related = inputs_of_.find(output.resource);
    if (related == inputs_of_.end()) return true;
    for (const std::size_t i : related->second) {
      if (restore.contains(i)) continue;  // this build has set it already
      const Match match = MatchOutput(output, i, job);
      mismatch = match == Match::kMismatch;
      if (mismatch) return false;
      if (match == Match::kUnrelated) continue;
      const CandidatePtr old = candidates_[i];
      if (!old && !source_.Exists(output)) return false;
      restore.emplace(i, old);
      auto vouched = old ? std::make_shared<Candidate>(*old) : std::make_shared<Candidate>();
      vouched->version = output.version;
      vouched->vouched_by.insert(job);
      vouched->sources.push_back(build);
      vouched->has_next = vouched->has_next || has_next;
      candidates_[i] = std::move(vouched);
    }
    return true;
  };
  for (const ResourceVersion& output : source_.Outputs(build)) {
    if (!take(output)) break;
  }
  const CandidatePtr& own = candidates_[input];
  if (own && own->vouched_by.contains(job) && !mismatch && !AreDoomed()) {
    if (TryResolve()) return true;
    doomed_ = candidates_;
  }
  for (auto& [i, old] : restore)
    candidates_[i] = old;
  return false;
}

std::optional<GroupResolver::Builds> GroupResolver::BuildsToTry(const InputConfig& input,
                                                                bool has_candidate, JobId passed) {
  std::vector<ResourceVersion> having;
  if (has_candidate) having = Constraints(passed);
  Builds builds(source_, passed, std::move(having), limits_.page);
  if (!input.every) return builds;
  if (!last_used_) {
    // Whichever `every` input comes first decides for the group where it goes on.
    if (const auto build = source_.LatestBuildUsingLatestVersion(input.job, input.resource)) {
      last_used_ = source_.Pipes(*build);
    }
  }
  bool used_any = false;
  if (last_used_) {
    for (const auto& [job, cursor] : *last_used_)
      used_any |= input.passed.contains(job);
    if (const auto last = last_used_->find(passed); last != last_used_->end()) {
      builds.StartAfter(last->second);
      return builds;
    }
  }
  // It ran with other jobs of this list before, and they go on where they left off.
  if (!has_candidate && used_any) return std::nullopt;
  return builds;
}

std::vector<ResourceVersion> GroupResolver::Constraints(JobId passed) const {
  std::vector<ResourceVersion> constraints;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    if (!candidates_[i] || !inputs_[i].passed.contains(passed)) continue;
    constraints.push_back({inputs_[i].resource, candidates_[i]->version});
  }
  return constraints;
}

GroupResolver::Match GroupResolver::MatchOutput(const ResourceVersion& output, std::size_t input,
                                                JobId job) {
  const InputConfig& config = inputs_[input];
  if (!config.passed.contains(job)) return Match::kUnrelated;
  const CandidatePtr& candidate = candidates_[input];
  if (candidate && candidate->version != output.version) return Match::kMismatch;
  if (source_.IsDisabled(output)) return Match::kUnrelated;
  if (config.pinned && pins_[input] != output.version) return Match::kUnrelated;
  return Match::kRelated;
}

bool GroupResolver::AreDoomed() const {
  for (std::size_t i = 0; i < candidates_.size(); ++i) {
    if (!candidates_[i] && !doomed_[i]) continue;
    if (!candidates_[i] || !doomed_[i]) return false;
    if (candidates_[i]->version != doomed_[i]->version) return false;
  }
  return true;
}

}  // namespace pinion::scheduling
