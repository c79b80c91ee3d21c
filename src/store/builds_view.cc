#include "store/builds_view.h"

#include <algorithm>

#include "base/json.h"
#include "store/jobs.h"

namespace pinion::store {

namespace {

void CheckBounds(const BuildPage& page) {
  if (page.from > 0 && page.to > 0 && page.from > page.to) {
    throw Failure(ErrorKind::kInvalid, "from is greater than to");
  }
}

std::int64_t FirstId(Transaction& transaction, const BuildFilter& filter, const BuildPage& page) {
  const auto builds = ListBuilds(transaction, filter, page);
  return builds.empty() ? 0 : builds.front().id.value;
}

bool LimitReached(Transaction& transaction, const BuildRow& build) {
  const auto row = transaction.QueryOne("select config from jobs where id = $1", {build.job});
  const auto config = ParseJson(row ? row->Text(0) : "{}");
  if (!config) return false;
  const Json* groups = config->Find("serial_groups");
  if (groups && groups->IsArray() && !groups->AsArray().empty()) {
    return CountInFlightOfGroups(transaction, build.job) >= 1;
  }
  const std::int64_t limit = config->BoolAt("serial") ? 1 : config->IntegerAt("max_in_flight");
  return limit > 0 && CountInFlight(transaction, build.job) >= limit;
}

}  // namespace

BuildList ListBuildPage(Transaction& transaction, const BuildFilter& filter,
                        const BuildPage& page) {
  CheckBounds(page);
  BuildList list{.builds = ListBuilds(transaction, filter, page)};
  if (list.builds.empty()) return list;
  const std::int64_t newest = list.builds.front().id.value;
  const std::int64_t oldest = list.builds.back().id.value;
  if (FirstId(transaction, filter, {.from = newest + 1, .limit = 1})) list.newer = newest + 1;
  if (oldest > 1 && FirstId(transaction, filter, {.to = oldest - 1, .limit = 1})) {
    list.older = oldest - 1;
  }
  return list;
}

BuildList ListBuildsStarted(Transaction& transaction, const BuildFilter& filter,
                            const BuildPage& page) {
  CheckBounds(page);
  // Start times are rounded down: a build that shows the upper bound itself began after it.
  std::string sql = BuildSelect() + " where b.start_time >= $1 and b.start_time < $2";
  if (filter.job)
    sql += " and b.job_id = $4";
  else if (filter.pipeline)
    sql += " and b.pipeline_id = $4";
  else
    sql += " and ($4 = 0 or b.id > 0)";
  const std::int64_t scope = filter.job ? filter.job.value : filter.pipeline.value;
  sql += " and (";
  if (filter.teams.empty() && !filter.public_too) sql += "1 = 1";
  if (filter.public_too) sql += "p.public = 1";
  // Ids are numbers of ours: they can stand in the text.
  for (std::size_t i = 0; i < filter.teams.size(); ++i) {
    if (i || filter.public_too) sql += " or ";
    sql += "b.team_id = " + std::to_string(filter.teams[i].value);
  }
  sql += ") and b.resource_id is null and b.resource_type_id is null";
  const bool upward = page.from > 0 && page.to <= 0;
  sql += upward ? " order by b.start_time, b.id" : " order by b.start_time desc, b.id desc";
  sql += " limit $3";
  BuildList list;
  for (const Row& row :
       transaction.Query(sql, {page.from, page.to > 0 ? page.to : INT64_MAX, page.limit, scope})) {
    list.builds.push_back(ReadBuildRow(row));
  }
  if (upward) std::reverse(list.builds.begin(), list.builds.end());
  return list;
}

Preparation FindPreparation(Transaction& transaction, const BuildRow& build) {
  Preparation preparation;
  if (!build.job || build.status != BuildStatus::kPending) return preparation;
  const auto job = FindJob(transaction, build.job);
  if (!job) throw Failure(ErrorKind::kNotFound, "the build's job is gone");
  preparation.pipeline_paused = job->pipeline_paused;
  preparation.job_paused = job->paused;
  preparation.max_running = !build.scheduled && LimitReached(transaction, build);
  const NextInputs next = ReadNextInputs(transaction, build.job);
  preparation.inputs_satisfied = build.inputs_ready || next.determined;
  for (const JobInputRow& input : ListJobInputs(transaction, build.job)) {
    std::string& reason = preparation.inputs[input.name];
    if (preparation.inputs_satisfied) continue;
    reason = build.needs_check ? "waiting for a check of the resource" : "not determined yet";
    for (const NextInput& found : next.inputs) {
      if (found.name == input.name) reason = found.error;
    }
  }
  return preparation;
}

}  // namespace pinion::store
