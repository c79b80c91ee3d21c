#include "pipeline/job_graph.h"

#include "pipeline/glob.h"

namespace pinion::pipeline {

JobGraph::JobGraph(const Pipeline& pipeline) : pipeline_(pipeline) {
  for (const Resource& resource : pipeline.resources)
    resources_.insert(resource.name);
  uses_.resize(pipeline.jobs.size());
  for (std::size_t i = 0; i < pipeline.jobs.size(); ++i) {
    const Job& job = pipeline.jobs[i];
    for (const GetStep* get : Inputs(job))
      uses_[i].insert(get->ResourceName());
    for (const PutStep* put : Outputs(job))
      uses_[i].insert(put->ResourceName());
    used_.insert(uses_[i].begin(), uses_[i].end());
    jobs_by_name_[job.name].push_back(i);
  }
}

std::vector<std::size_t> JobGraph::Matching(const std::string& pattern) const {
  if (pattern.find_first_of("*?[\\") == std::string::npos) {
    const auto found = jobs_by_name_.find(pattern);
    return found == jobs_by_name_.end() ? std::vector<std::size_t>() : found->second;
  }
  std::vector<std::size_t> matching;
  const auto glob = Glob::ForPassed(pattern);
  if (!glob) return matching;
  for (std::size_t i = 0; i < pipeline_.jobs.size(); ++i) {
    if (glob->Matches(pipeline_.jobs[i].name)) matching.push_back(i);
  }
  return matching;
}

std::vector<std::size_t> JobGraph::Before(std::size_t job) const {
  std::vector<std::size_t> before;
  for (const GetStep* get : Inputs(pipeline_.jobs[job])) {
    for (const std::string& pattern : get->passed) {
      for (const std::size_t other : Matching(pattern))
        before.push_back(other);
    }
  }
  return before;
}

std::optional<std::string> JobGraph::FindCycle() const {
  enum class State { kNew, kOpen, kDone };
  std::unordered_map<std::string, State> states;
  struct Frame {
    std::size_t job;
    std::vector<std::size_t> before;
    std::size_t next = 0;
  };
  for (std::size_t root = 0; root < pipeline_.jobs.size(); ++root) {
    // An own stack: a chain of jobs may be longer than the thread's stack is deep.
    std::vector<Frame> open;
    const auto enter = [&](std::size_t job) {
      State& state = states[pipeline_.jobs[job].name];
      if (state == State::kOpen) return false;
      if (state == State::kNew) {
        state = State::kOpen;
        open.push_back({job, Before(job)});
      }
      return true;
    };
    enter(root);
    while (!open.empty()) {
      Frame& frame = open.back();
      if (frame.next == frame.before.size()) {
        states[pipeline_.jobs[frame.job].name] = State::kDone;
        open.pop_back();
        continue;
      }
      const std::size_t next = frame.before[frame.next++];
      if (!enter(next)) return pipeline_.jobs[next].name;
    }
  }
  return std::nullopt;
}

}  // namespace pinion::pipeline
