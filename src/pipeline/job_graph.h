#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "pipeline/model.h"

namespace pinion::pipeline {

/// Who uses which resource and who waits for whom, looked up by name. Holds references into the
/// pipeline, which must outlive it.
class JobGraph {
 public:
  explicit JobGraph(const Pipeline& pipeline);

  bool HasResource(const std::string& name) const { return resources_.contains(name); }
  /// Some job gets or puts it, hooks included.
  bool IsUsed(const std::string& resource) const { return used_.contains(resource); }
  bool JobUses(std::size_t job, const std::string& resource) const {
    return uses_[job].contains(resource);
  }
  /// The jobs that an entry of `passed` matches, by index, in the pipeline's order.
  std::vector<std::size_t> Matching(const std::string& pattern) const;
  /// A job that waits for itself through `passed`, the first one found in the pipeline's order.
  std::optional<std::string> FindCycle() const;

 private:
  std::vector<std::size_t> Before(std::size_t job) const;

  const Pipeline& pipeline_;
  std::unordered_set<std::string> resources_;
  std::unordered_set<std::string> used_;
  std::vector<std::unordered_set<std::string>> uses_;  // by job
  std::unordered_map<std::string, std::vector<std::size_t>> jobs_by_name_;
};

}  // namespace pinion::pipeline
