#include "store/pipeline_layout.h"

#include "pipeline/format.h"
#include "store/versions.h"

namespace pinion::store {

namespace {

NewJob LayOutJob(const pipeline::Job& job) {
  NewJob row{.name = job.name, .old_name = job.old_name, .config = ToText(pipeline::ToJson(job))};
  row.serial_groups = job.serial_groups;
  for (const pipeline::GetStep* get : pipeline::Inputs(job)) {
    NewJobInput input{.name = get->name,
                      .resource = get->ResourceName(),
                      .passed = get->passed,
                      .trigger = get->trigger};
    if (get->version && get->version->every) {
      input.version = "every";
    } else if (get->version && get->version->pinned) {
      input.version = VersionText(*get->version->pinned);
    }
    row.inputs.push_back(std::move(input));
  }
  for (const pipeline::PutStep* put : pipeline::Outputs(job)) {
    row.outputs.push_back({.name = put->name, .resource = put->ResourceName()});
  }
  return row;
}

}  // namespace

NewPipeline LayOut(const pipeline::Pipeline& pipeline, std::string name,
                   std::string instance_vars) {
  NewPipeline rows{.name = std::move(name),
                   .instance_vars = std::move(instance_vars),
                   .config = ToText(pipeline::ConfigToJson(pipeline))};
  for (const pipeline::Resource& resource : pipeline.resources) {
    NewResource row{.name = resource.name, .old_name = resource.old_name, .type = resource.type};
    row.config = ToText(pipeline::ToJson(resource));
    if (resource.version) row.pinned_version = VersionText(*resource.version);
    rows.resources.push_back(std::move(row));
  }
  for (const protocol::ResourceType& type : pipeline.resource_types) {
    rows.resource_types.push_back({.name = type.name,
                                   .type = type.type,
                                   .config = ToText(pipeline::ResourceTypeToJson(type))});
  }
  for (const pipeline::Job& job : pipeline.jobs)
    rows.jobs.push_back(LayOutJob(job));
  return rows;
}

}  // namespace pinion::store
