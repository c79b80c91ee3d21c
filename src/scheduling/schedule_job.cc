#include "scheduling/schedule_job.h"

#include <algorithm>

#include "base/mutant.h"
#include "scheduling/sql_versions.h"
#include "store/versions.h"

namespace pinion::scheduling {
namespace {

using store::BuildRow;
using store::BuildStatus;

bool IsManual(const BuildRow& build) {
  return build.manual && !build.rerun_of;
}

// One look at one job.
class Look {
 public:
  Look(store::Transaction& transaction, store::JobRow job, BuildPlanner& planner,
       const std::optional<store::Owner>& owner, const ResolutionLimits& limits)
      : transaction_(transaction),
        job_(std::move(job)),
        planner_(planner),
        owner_(owner),
        limits_(limits) {}

  JobOutcome Run() {
    if (!job_.active || job_.pipeline_archived) {
      EndPending();
      return std::move(outcome_);
    }
    if (job_.paused || job_.pipeline_paused) return std::move(outcome_);
    inputs_ = InputsOfJob(transaction_, job_.id);
    if (ShowNewInputs(Resolve())) store::EnsurePendingBuild(transaction_, job_.id);
    StartPending();
    // What was just started is not new any more; what `every` has behind it comes in a look of its
    // own, after those of other jobs.
    if (stale_) outcome_.again = ShowNewInputs(Resolve());
    if (job_.inputs_determined && !determined_) {
      // Its pending builds no longer stand before those of jobs that share a serial group.
      const auto peers = store::WaitingPeers(transaction_, job_.id);
      outcome_.peers.insert(outcome_.peers.end(), peers.begin(), peers.end());
    }
    return std::move(outcome_);
  }

 private:
  enum class Step { kNext, kStop };

  void EndPending() {
    for (const BuildRow& build : store::ListPending(transaction_, job_.id)) {
      store::FinishBuild(transaction_, build.id, BuildStatus::kAborted);
    }
  }

  Resolution Resolve() {
    const auto source = MakeSqlVersions(transaction_, job_.id);
    Resolution resolution = ResolveInputs(*source, inputs_, limits_);
    store::SaveNextInputs(transaction_, job_.id, ToNextInputs(resolution));
    determined_ = resolution.resolved;
    stale_ = false;
    return resolution;
  }

  // Whether one of them asks for a build.
  bool ShowNewInputs(const Resolution& resolution) {
    if (!resolution.resolved) return false;
    bool has_new = false;
    bool trigger = false;
    for (const InputConfig& input : inputs_) {
      if (!resolution.inputs.at(input.name).first_occurrence) continue;
      has_new = true;
      trigger |= input.trigger;
    }
    store::SetHasNewInputs(transaction_, job_.id, has_new);
    return trigger;
  }

  void StartPending() {
    const auto pending = store::ListPending(transaction_, job_.id);
    if (pending.empty()) return;
    max_in_flight_ = MaxInFlight(job_.config);
    for (const BuildRow& build : pending) {
      if (TryStart(build) == Step::kStop) return;
    }
  }

  Step TryStart(const BuildRow& build) {
    if (AwaitsChecks(build)) return Step::kStop;
    if (!HasPlace(build)) return Step::kStop;
    if (const auto step = AdoptInputs(build)) return *step;
    return Start(build);
  }

  bool AwaitsChecks(const BuildRow& build) {
    if (build.rerun_of) return false;
    const auto unchecked = store::UncheckedInputs(transaction_, build);
    store::SetNeedsCheck(transaction_, build.id, !unchecked.empty());
    outcome_.checks.insert(outcome_.checks.end(), unchecked.begin(), unchecked.end());
    return !unchecked.empty();
  }

  bool HasPlace(const BuildRow& build) {
    if (max_in_flight_ == 0) return true;
    const int allowed = max_in_flight_ + (PINION_MUTANT("serial-off-by-one") ? 1 : 0);
    if (store::CountInFlightOfGroups(transaction_, job_.id) >= allowed) return false;
    return store::FirstPendingOfGroups(transaction_, job_.id) == build.id;
  }

  // Nothing if the build has its inputs; else whether those behind it may go on.
  std::optional<Step> AdoptInputs(const BuildRow& build) {
    if (build.rerun_of) {
      switch (store::AdoptRerunInputs(transaction_, build.id, build.rerun_of)) {
        case store::RerunInputs::kAdopted:
          return std::nullopt;
        case store::RerunInputs::kNotReady:
          return Step::kNext;
        case store::RerunInputs::kGone:
          store::FinishBuild(transaction_, build.id, BuildStatus::kAborted);
          return Step::kNext;
      }
    }
    // What the builds before it took is no longer next.
    if (IsManual(build) && stale_) Resolve();
    if (store::AdoptNextInputs(transaction_, job_.id, build.id)) return std::nullopt;
    determined_ = false;
    return Step::kStop;
  }

  Step Start(const BuildRow& build) {
    const auto inputs = store::ListBuildInputs(transaction_, build.id);
    auto plan = planner_.MakePlan(transaction_, job_, inputs, build.manual);
    if (!plan) {
      store::FinishBuild(transaction_, build.id, BuildStatus::kErrored);
      outcome_.errored.push_back({build.id, plan.error().message});
      return Step::kNext;
    }
    store::SetScheduled(transaction_, build.id);
    if (store::StartBuild(transaction_, build.id, *plan, owner_)) {
      outcome_.started.push_back(build.id);
      stale_ = true;
    } else {
      store::FinishBuild(transaction_, build.id, BuildStatus::kAborted);
    }
    return Step::kNext;
  }

  store::Transaction& transaction_;
  store::JobRow job_;
  BuildPlanner& planner_;
  const std::optional<store::Owner>& owner_;
  const ResolutionLimits& limits_;
  std::vector<InputConfig> inputs_;
  int max_in_flight_ = 0;
  bool determined_ = false;
  bool stale_ = false;  // a build was started since the inputs were resolved
  JobOutcome outcome_;
};

}  // namespace

int MaxInFlight(const std::string& job_config) {
  const Json config = ValueOrThrow(ParseJson(job_config));
  const Json* groups = config.Find("serial_groups");
  const bool grouped = groups && groups->IsArray() && !groups->AsArray().empty();
  if (config.BoolAt("serial") || grouped) return 1;
  return static_cast<int>(
      std::clamp<std::int64_t>(config.IntegerAt("max_in_flight"), 0, 1'000'000));
}

std::vector<InputConfig> InputsOfJob(store::Transaction& transaction, JobId job) {
  std::vector<InputConfig> inputs;
  for (const store::JobInputRow& row : store::ListJobInputs(transaction, job)) {
    InputConfig input;
    input.name = row.name;
    input.resource = row.resource;
    input.job = job;
    input.passed.insert(row.passed.begin(), row.passed.end());
    input.trigger = row.trigger;
    input.every = row.version == "every";
    if (row.version && !input.every && *row.version != "latest") {
      input.pinned = store::ParseVersion(*row.version);
    } else if (row.pinned_version) {
      input.pinned = store::ParseVersion(*row.pinned_version);
    }
    inputs.push_back(std::move(input));
  }
  return inputs;
}

store::NextInputs ToNextInputs(const Resolution& resolution) {
  store::NextInputs next;
  next.determined = resolution.resolved;
  for (const auto& [name, input] : resolution.inputs) {
    next.inputs.push_back(
        {name, input.resource, input.version, input.first_occurrence, input.error});
    next.pipes.insert(next.pipes.end(), input.sources.begin(), input.sources.end());
  }
  return next;
}

JobOutcome ScheduleJob(store::Transaction& transaction, JobId job, BuildPlanner& planner,
                       const std::optional<store::Owner>& owner, const ResolutionLimits& limits) {
  auto row = store::FindJob(transaction, job);
  if (!row) return {};
  return Look(transaction, std::move(*row), planner, owner, limits).Run();
}

}  // namespace pinion::scheduling
