#include "scheduling/inputs.h"

#include "scheduling/group_resolver.h"

namespace pinion::scheduling {
namespace {

std::string PinnedNotFound(const protocol::Version& version) {
  std::string text = "pinned version";
  for (const auto& [name, value] : version)
    text += " " + name + ":" + value;
  return text + " not found";
}

void ResolveAlone(VersionsSource& source, const InputConfig& input, Resolution& resolution) {
  ResolvedInput& found = resolution.inputs[input.name];
  found.resource = input.resource;
  if (input.pinned) {
    const auto version = source.FindPinned(input.resource, *input.pinned);
    if (version) {
      found.version = *version;
    } else {
      found.error = PinnedNotFound(*input.pinned);
    }
  } else if (input.every) {
    const auto next = source.NextEveryVersion(input.job, input.resource);
    if (next) {
      found.version = next->version;
      resolution.has_next |= next->has_next;
    } else {
      found.error = kVersionNotFound;
    }
  } else if (const auto version = source.LatestVersion(input.resource)) {
    found.version = *version;
  } else {
    found.error = kLatestVersionNotFound;
  }
}

// Inputs whose passed jobs overlap. An input joins the last group that it overlaps with; groups
// that it connects stay apart, as upstream has it.
std::vector<std::vector<InputConfig>> GroupByPassed(const std::vector<InputConfig>& inputs) {
  struct Group {
    std::set<JobId> jobs;
    std::vector<InputConfig> inputs;
  };
  std::vector<Group> groups;
  for (const InputConfig& input : inputs) {
    if (input.passed.empty()) continue;
    Group* home = nullptr;
    for (const JobId job : input.passed) {
      for (Group& group : groups) {
        if (group.jobs.contains(job)) home = &group;
      }
    }
    if (!home) home = &groups.emplace_back();
    home->jobs.insert(input.passed.begin(), input.passed.end());
    home->inputs.push_back(input);
  }
  std::vector<std::vector<InputConfig>> result;
  for (Group& group : groups)
    result.push_back(std::move(group.inputs));
  return result;
}

void ResolveGroup(VersionsSource& source, std::vector<InputConfig> inputs,
                  const ResolutionLimits& limits, Resolution& resolution) {
  GroupResolver resolver(source, std::move(inputs), limits);
  const std::string error = resolver.Resolve();
  for (std::size_t i = 0; i < resolver.inputs().size(); ++i) {
    const InputConfig& input = resolver.inputs()[i];
    ResolvedInput& found = resolution.inputs[input.name];
    found.resource = input.resource;
    found.error = error;
    if (!error.empty()) continue;
    found.version = resolver.candidate(i).version;
    found.sources = resolver.candidate(i).sources;
    resolution.has_next |= resolver.candidate(i).has_next;
  }
}

}  // namespace

Resolution ResolveInputs(VersionsSource& source, const std::vector<InputConfig>& inputs,
                         const ResolutionLimits& limits) {
  Resolution resolution;
  for (const InputConfig& input : inputs) {
    if (input.passed.empty()) ResolveAlone(source, input, resolution);
  }
  for (auto& group : GroupByPassed(inputs)) {
    ResolveGroup(source, std::move(group), limits, resolution);
  }
  for (const InputConfig& input : inputs) {
    ResolvedInput& found = resolution.inputs[input.name];
    if (!found.error.empty()) {
      resolution.resolved = false;
      continue;
    }
    found.first_occurrence =
        source.IsFirstOccurrence(input.job, input.name, {input.resource, found.version});
  }
  return resolution;
}

}  // namespace pinion::scheduling
