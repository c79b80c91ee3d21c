#pragma once

#include <optional>
#include <string>
#include <vector>

#include "pipeline/model.h"
#include "pipeline/planner.h"
#include "protocol/plan.h"
#include "store/database.h"
#include "store/resources.h"
#include "store/scopes.h"

namespace pinion::checking {

struct CheckPlanOptions {
  std::optional<protocol::Version> from;
  /// Now, whatever the interval says; with `recursively`, the images of custom types too.
  bool skip_interval = false;
  bool recursively = false;
};

/// The plan of a check of one resource, as builds and the checker run it. kTooLarge for types made
/// of too many types.
Result<protocol::Plan> MakeCheckPlan(const pipeline::Resource& resource,
                                     const std::vector<protocol::ResourceType>& types,
                                     const pipeline::BaseDefaults& defaults,
                                     const CheckPlanOptions& options);

/// The chain that a scope's key is made of: the check's type and source, then those of the images
/// that its type is made of. Sources as in the plan: ((vars)) are the caller's to fill in.
std::vector<store::ScopeLink> ChainOf(const protocol::CheckPlan& check);

/// Active types of the pipeline, as plans take them.
std::vector<protocol::ResourceType> TypesOf(store::Transaction& transaction, PipelineId pipeline);

/// A check asked for by a person, as a build with its log (`fly check-resource`, the webhook's
/// answer): always made, even while another runs. `shallow` leaves the images of custom types
/// alone. kNotFound if there is no such resource, kInvalid if its plan cannot be made.
Result<BuildId> CreateManualCheck(store::Transaction& transaction, ResourceId resource,
                                  const pipeline::BaseDefaults& defaults,
                                  const std::optional<protocol::Version>& from, bool shallow,
                                  const std::string& created_by);

/// The same of a custom resource type (`fly check-resource-type`).
Result<BuildId> CreateManualTypeCheck(store::Transaction& transaction, ResourceTypeId type,
                                      const pipeline::BaseDefaults& defaults,
                                      const std::optional<protocol::Version>& from, bool shallow,
                                      const std::string& created_by);

}  // namespace pinion::checking
