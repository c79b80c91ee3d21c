#include "api/present/convert.h"

namespace pinion::api::present {

Json StoredJson(std::string_view text) {
  if (text.empty()) return {};
  auto json = ParseJson(text);
  return json ? std::move(*json) : Json();
}

Pipeline ToPipeline(const store::PipelineRow& row) {
  Pipeline pipeline;
  pipeline.id = row.id.value;
  pipeline.name = row.name;
  pipeline.instance_vars = StoredJson(row.instance_vars);
  pipeline.paused = row.paused;
  pipeline.paused_by = row.paused_by;
  pipeline.paused_at = row.paused_at;
  pipeline.is_public = row.is_public;
  pipeline.archived = row.archived;
  pipeline.groups = StoredJson(row.groups);
  pipeline.team_name = row.team_name;
  pipeline.display = StoredJson(row.display);
  pipeline.user_data = StoredJson(row.user_data);
  pipeline.parent_build_id = row.parent_build;
  pipeline.parent_job_id = row.parent_job;
  pipeline.last_updated = row.last_updated;
  return pipeline;
}

Team ToTeam(const store::TeamRow& row) {
  Team team{.id = row.id.value, .name = row.name};
  if (auto auth = FromText<identity::TeamAuth>(row.auth)) team.auth = std::move(*auth);
  return team;
}

Build ToBuild(const store::BuildRow& row, bool with_comment) {
  Build build;
  build.id = row.id.value;
  build.team_name = row.team_name;
  build.name = row.name;
  build.status = Name(row.status);
  build.api_url = "/api/v1/builds/" + std::to_string(row.id.value);
  if (with_comment) build.comment = row.comment;
  build.job_name = row.job_name;
  build.resource_name = row.resource_name;
  build.pipeline_id = row.pipeline.value;
  build.pipeline_name = row.pipeline_name;
  build.pipeline_instance_vars = StoredJson(row.instance_vars);
  build.start_time = row.start_time.value_or(0);
  build.end_time = row.end_time.value_or(0);
  build.reap_time = row.reap_time.value_or(0);
  build.rerun_number = row.rerun_number;
  if (row.rerun_of) build.rerun_of = RerunOfBuild{row.rerun_of.value, row.rerun_of_name};
  build.created_by = row.created_by;
  return build;
}

BuildSummary SummaryOf(const store::BuildBrief& build, const std::string& team_name,
                       PipelineId pipeline, const std::string& pipeline_name,
                       std::string_view instance_vars, const std::string& job_name) {
  BuildSummary summary;
  summary.id = build.id.value;
  summary.name = build.name;
  summary.status = build.status;
  summary.start_time = build.start_time;
  summary.end_time = build.end_time;
  summary.team_name = team_name;
  summary.pipeline_id = pipeline.value;
  summary.pipeline_name = pipeline_name;
  summary.pipeline_instance_vars = StoredJson(instance_vars);
  summary.job_name = job_name;
  return summary;
}

}  // namespace pinion::api::present
