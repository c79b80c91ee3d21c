#pragma once

#include "api/present/build.h"
#include "api/present/pipeline.h"
#include "api/present/team.h"
#include "store/builds.h"
#include "store/jobs_view.h"
#include "store/pipelines.h"
#include "store/teams.h"

namespace pinion::api::present {

/// JSON kept as text; null for "" and for what cannot be read.
Json StoredJson(std::string_view text);

Pipeline ToPipeline(const store::PipelineRow& row);
Team ToTeam(const store::TeamRow& row);
/// `with_comment`: the caller may see it.
Build ToBuild(const store::BuildRow& row, bool with_comment);

BuildSummary SummaryOf(const store::BuildBrief& build, const std::string& team_name,
                       PipelineId pipeline, const std::string& pipeline_name,
                       std::string_view instance_vars, const std::string& job_name);

/// An array of each.
template <class Rows, class Convert>
Json ArrayOf(const Rows& rows, Convert convert) {
  JsonArray array;
  array.reserve(rows.size());
  for (const auto& row : rows)
    array.push_back(ToJson(convert(row)));
  return array;
}

}  // namespace pinion::api::present
