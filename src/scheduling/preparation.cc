#include "scheduling/preparation.h"

#include <algorithm>
#include <set>

#include "scheduling/schedule_job.h"
#include "store/jobs.h"

namespace pinion::scheduling {
namespace {

constexpr const char* kMissing = "input is not included in resolved candidates";
constexpr const char* kChecking = "checking for latest available versions";

void Block(Preparation& preparation, const std::string& input, const std::string& reason) {
  preparation.inputs[input] = Preparation::kBlocking;
  preparation.inputs_satisfied = Preparation::kBlocking;
  preparation.missing_input_reasons[input] = reason;
}

void PrepareInputs(store::Transaction& transaction, const store::BuildRow& build,
                   Preparation& preparation) {
  std::map<std::string, store::NextInput> next;
  bool any_error = false;
  for (store::NextInput& input : store::ReadNextInputs(transaction, build.job).inputs) {
    any_error |= !input.error.empty();
    next[input.name] = std::move(input);
  }
  std::set<ResourceId> unchecked;
  for (const ResourceId resource : store::UncheckedInputs(transaction, build)) {
    unchecked.insert(resource);
  }
  for (const store::JobInputRow& input : store::ListJobInputs(transaction, build.job)) {
    const auto found = next.find(input.name);
    if (input.passed.empty() && unchecked.contains(input.resource)) {
      Block(preparation, input.name, kChecking);
    } else if (found == next.end()) {
      if (!any_error) Block(preparation, input.name, kMissing);
    } else if (!found->second.error.empty()) {
      Block(preparation, input.name, found->second.error);
    } else {
      preparation.inputs[input.name] = Preparation::kNotBlocking;
    }
  }
}

void PrepareRerunInputs(store::Transaction& transaction, const store::BuildRow& build,
                        Preparation& preparation) {
  const auto original = store::FindBuild(transaction, build.rerun_of);
  const bool ready = original && original->inputs_ready;
  for (const store::JobInputRow& input : store::ListJobInputs(transaction, build.job)) {
    if (ready) {
      preparation.inputs[input.name] = Preparation::kNotBlocking;
    } else {
      Block(preparation, input.name, "the build to run again has no inputs yet");
    }
  }
}

}  // namespace

std::optional<Preparation> FindPreparation(store::Transaction& transaction, BuildId id) {
  const auto build = store::FindBuild(transaction, id);
  if (!build) return std::nullopt;
  Preparation preparation;
  preparation.build_id = id;
  if (!build->job || build->status != store::BuildStatus::kPending) return preparation;
  const auto job = store::FindJob(transaction, build->job);
  if (!job) return std::nullopt;
  if (job->pipeline_paused) preparation.paused_pipeline = Preparation::kBlocking;
  if (job->paused) preparation.paused_job = Preparation::kBlocking;
  if (const int most = MaxInFlight(job->config); most > 0) {
    const bool full = store::CountInFlightOfGroups(transaction, job->id) >= most;
    // One that comes before it has the next place.
    const auto first = store::FirstPendingOfGroups(transaction, job->id);
    if (full || (first && *first != id)) preparation.max_running_builds = Preparation::kBlocking;
  }
  if (build->rerun_of) {
    PrepareRerunInputs(transaction, *build, preparation);
  } else {
    PrepareInputs(transaction, *build, preparation);
  }
  return preparation;
}

}  // namespace pinion::scheduling
