#include "store/scheduling_testing.h"

#include "store/scopes.h"
#include "store/versions.h"

namespace pinion::store::testing {

TeamId AddTeam(Transaction& transaction, const std::string& name) {
  return transaction.QueryOne("insert into teams (name) values ($1) returning id", {name})
      ->As<TeamTag>(0);
}

PipelineId AddPipeline(Transaction& transaction, TeamId team, const std::string& name,
                       const std::string& config) {
  return transaction
      .QueryOne(
          "insert into pipelines (team_id, name, config, config_version, paused, last_updated) "
          "values ($1, $2, $3, 1, 0, $4) returning id",
          {team, name, config, transaction.now()})
      ->As<PipelineTag>(0);
}

JobId AddJob(Transaction& transaction, PipelineId pipeline, const std::string& name,
             const std::string& config) {
  return transaction
      .QueryOne("insert into jobs (pipeline_id, name, config) values ($1, $2, $3) returning id",
                {pipeline, name, config})
      ->As<JobTag>(0);
}

void AddInput(Transaction& transaction, JobId job, const TestInput& input) {
  std::optional<std::string> version;
  if (!input.version.empty()) version = input.version;
  std::vector<JobId> passed = input.passed;
  if (passed.empty()) passed.push_back({});
  for (const JobId one : passed) {
    transaction.Execute(
        "insert into job_inputs (job_id, name, resource_id, passed_job_id, \"trigger\", version) "
        "values "
        "($1, $2, $3, $4, $5, $6)",
        {job, input.name, input.resource, one, input.trigger, version});
  }
}

ResourceId AddResource(Transaction& transaction, PipelineId pipeline, const std::string& name,
                       ScopeId scope) {
  const ResourceId id =
      transaction
          .QueryOne(
              "insert into resources (pipeline_id, name, type, config) values ($1, $2, 'mock', "
              "$3) returning id",
              {pipeline, name, R"({"name":")" + name + R"(","type":"mock","source":{}})"})
          ->As<ResourceTag>(0);
  if (!scope) {
    scope = FindOrCreateScope(transaction, "scope of " + std::to_string(id.value), "mock");
  }
  transaction.Execute("update resources set scope_id = $2 where id = $1", {id, scope});
  return id;
}

ScopeId ScopeOf(Transaction& transaction, ResourceId resource) {
  return transaction.QueryOne("select scope_id from resources where id = $1", {resource})
      ->As<ScopeTag>(0);
}

VersionId AddVersion(Transaction& transaction, ResourceId resource, const std::string& name) {
  SaveVersions(transaction, ScopeOf(transaction, resource), {{{"v", name}}});
  return VersionNamed(transaction, resource, name);
}

VersionId VersionNamed(Transaction& transaction, ResourceId resource, const std::string& name) {
  return FindVersionIn(transaction, ScopeOf(transaction, resource), {{"v", name}}).value().id;
}

}  // namespace pinion::store::testing
