#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "protocol/task_config.h"
#include "store/database.h"

/// For tests: pipelines written straight into the tables, without the pipeline language.
namespace pinion::store::testing {

struct TestInput {
  std::string name;
  ResourceId resource;
  std::vector<JobId> passed;
  bool trigger = true;
  std::string version;  ///< "" latest, "every", or JSON
};

TeamId AddTeam(Transaction& transaction, const std::string& name = "main");
/// Not paused.
PipelineId AddPipeline(Transaction& transaction, TeamId team, const std::string& name = "pipeline",
                       const std::string& config = "{}");
JobId AddJob(Transaction& transaction, PipelineId pipeline, const std::string& name,
             const std::string& config = "{}");
void AddInput(Transaction& transaction, JobId job, const TestInput& input);
/// With a scope of its own unless one is given.
ResourceId AddResource(Transaction& transaction, PipelineId pipeline, const std::string& name,
                       ScopeId scope = {});
ScopeId ScopeOf(Transaction& transaction, ResourceId resource);
/// Saves {"v": name} as what a check listed.
VersionId AddVersion(Transaction& transaction, ResourceId resource, const std::string& name);
VersionId VersionNamed(Transaction& transaction, ResourceId resource, const std::string& name);

}  // namespace pinion::store::testing
