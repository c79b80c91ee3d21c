#include "checking/check_plan.h"

#include "pipeline/format.h"
#include "store/builds.h"
#include "store/versions.h"

namespace pinion::checking {

Result<protocol::Plan> MakeCheckPlan(const pipeline::Resource& resource,
                                     const std::vector<protocol::ResourceType>& types,
                                     const pipeline::BaseDefaults& defaults,
                                     const CheckPlanOptions& options) try {
  protocol::Plan plan;
  plan.id = pipeline::PlanIds().Next();
  protocol::CheckPlan& check = plan.check.emplace();
  check.name = resource.name;
  check.type = resource.type;
  check.source = pipeline::SourceWithDefaults(resource.type, resource.source, types, defaults);
  check.image = pipeline::ImageForType(plan.id, resource.type, resource.tags,
                                       options.skip_interval && options.recursively,
                                       pipeline::WithDefaults(types, defaults));
  check.from_version = options.from;
  check.resource = resource.name;
  check.interval = resource.check_every.empty() ? std::string(pipeline::kDefaultCheckInterval)
                                                : resource.check_every;
  check.skip_interval = options.skip_interval;
  check.timeout = resource.check_timeout;
  check.tags = resource.tags;
  return plan;
} catch (const Failure& failure) {
  return std::unexpected(failure.error());
}

std::vector<store::ScopeLink> ChainOf(const protocol::CheckPlan& check) {
  std::vector<store::ScopeLink> chain = {{check.type, check.source, {}}};
  const protocol::TypeImage* image = &check.image;
  while (image->get_plan) {
    const protocol::GetPlan& get = *image->get_plan->get;
    chain.push_back({get.type, get.source, get.params});
    image = &get.image;
  }
  return chain;
}

std::vector<protocol::ResourceType> TypesOf(store::Transaction& transaction, PipelineId pipeline) {
  std::vector<protocol::ResourceType> types;
  for (const store::ResourceTypeRow& row : store::ListResourceTypes(transaction, pipeline)) {
    auto type = pipeline::ParseResourceType(row.config);
    types.push_back(ValueOrThrow(std::move(type)));
  }
  return types;
}

Result<BuildId> CreateManualCheck(store::Transaction& transaction, ResourceId resource,
                                  const pipeline::BaseDefaults& defaults,
                                  const std::optional<protocol::Version>& from, bool shallow,
                                  const std::string& created_by) {
  const auto row = store::FindResource(transaction, resource);
  if (!row) return Fail(ErrorKind::kNotFound, "no resource " + std::to_string(resource.value));
  const auto config = pipeline::ParseResource(row->config);
  if (!config) return std::unexpected(config.error());
  CheckPlanOptions options{.from = from, .skip_interval = true, .recursively = !shallow};
  if (!from && row->pinned_version) options.from = store::ParseVersion(*row->pinned_version);
  const auto plan = MakeCheckPlan(*config, TypesOf(transaction, row->pipeline), defaults, options);
  if (!plan) return std::unexpected(plan.error());
  const auto build = store::CreateCheckBuild(transaction,
                                             {.team = row->team,
                                              .pipeline = row->pipeline,
                                              .resource = resource,
                                              .manual = true,
                                              .created_by = created_by},
                                             *plan);
  return build.value();
}

Result<BuildId> CreateManualTypeCheck(store::Transaction& transaction, ResourceTypeId type,
                                      const pipeline::BaseDefaults& defaults,
                                      const std::optional<protocol::Version>& from, bool shallow,
                                      const std::string& created_by) {
  const auto row = store::FindResourceType(transaction, type);
  if (!row) return Fail(ErrorKind::kNotFound, "no resource type " + std::to_string(type.value));
  const auto config = pipeline::ParseResourceType(row->config);
  if (!config) return std::unexpected(config.error());
  // A type is checked like a resource of its type.
  const pipeline::Resource resource{.name = config->name,
                                    .type = config->type,
                                    .source = config->source,
                                    .check_every = config->check_every,
                                    .tags = config->tags};
  // Its own type may have the same name (a base type that is replaced): it is not made of itself.
  std::vector<protocol::ResourceType> types = TypesOf(transaction, row->pipeline);
  std::erase_if(types,
                [&](const protocol::ResourceType& other) { return other.name == config->name; });
  auto plan = MakeCheckPlan(resource, types, defaults,
                            {.from = from, .skip_interval = true, .recursively = !shallow});
  if (!plan) return std::unexpected(plan.error());
  plan->check->resource.clear();
  plan->check->resource_type = config->name;
  const auto build = store::CreateCheckBuild(transaction,
                                             {.team = row->team,
                                              .pipeline = row->pipeline,
                                              .resource_type = type,
                                              .manual = true,
                                              .created_by = created_by},
                                             *plan);
  return build.value();
}

}  // namespace pinion::checking
