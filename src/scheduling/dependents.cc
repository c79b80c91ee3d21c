#include "scheduling/dependents.h"

#include <set>

#include "base/json.h"
#include "store/change_kinds.h"
#include "store/jobs.h"

namespace pinion::scheduling {
namespace {

namespace kinds = store::kinds;

struct Data {
  JobId job;
  std::string status;
};

Data DataOf(const store::Change& change) {
  const auto json = ParseJson(change.data);
  if (!json) return {};
  return {JobId{json->IntegerAt("job")}, std::string(json->StringAt("status"))};
}

class Collector {
 public:
  explicit Collector(store::Transaction& transaction) : transaction_(transaction) {}

  void Add(const store::Change& change) {
    const std::string& kind = change.kind;
    if (kind == kinds::kVersionSaved) {
      Add(store::JobsOfScope(transaction_, ScopeId{change.id}));
    } else if (kind == kinds::kScopeChecked) {
      AddAwaiting(ScopeId{change.id});
    } else if (kind == kinds::kVersionEnabled || kind == kinds::kVersionDisabled ||
               kind == kinds::kResourcePinned || kind == kinds::kResourceUnpinned ||
               kind == kinds::kResourceScoped || kind == kinds::kResourceCleared) {
      Add(store::JobsOfResource(transaction_, ResourceId{change.id}));
    } else if (kind == kinds::kJobUnpaused || kind == kinds::kJobScheduleRequested) {
      jobs_.insert(JobId{change.id});
    } else if (kind == kinds::kJobPaused) {
      Add(store::WaitingPeers(transaction_, JobId{change.id}));
    } else if (kind == kinds::kPipelineConfigured || kind == kinds::kPipelineUnpaused ||
               kind == kinds::kPipelineArchived) {
      AddPipeline(PipelineId{change.id});
    } else if (kind == kinds::kBuildCreated || kind == kinds::kBuildFinished) {
      AddBuild(change);
    }
  }

  const std::set<JobId>& jobs() const { return jobs_; }

 private:
  void Add(const std::vector<JobId>& jobs) { jobs_.insert(jobs.begin(), jobs.end()); }

  void AddBuild(const store::Change& change) {
    const Data data = DataOf(change);
    if (!data.job) return;
    if (change.kind == kinds::kBuildFinished) {
      Add(store::WaitingPeers(transaction_, data.job));
      if (data.status == "succeeded") Add(store::JobsAfter(transaction_, data.job));
    }
    jobs_.insert(data.job);
  }

  void AddAwaiting(ScopeId scope) {
    for (const store::Row& row : transaction_.Query(
             "select distinct b.job_id from resources r join job_inputs i on i.resource_id = r.id "
             "join "
             "builds b on b.job_id = i.job_id where r.scope_id = $1 and b.status = 'pending' and "
             "b.needs_check = 1",
             {scope})) {
      jobs_.insert(row.As<JobTag>(0));
    }
  }

  // A paused pipeline's jobs wait for its unpausing; an archived one's pending builds end.
  void AddPipeline(PipelineId pipeline) {
    for (const store::Row& row : transaction_.Query(
             "select j.id from jobs j join pipelines p on p.id = j.pipeline_id where p.id = $1 and "
             "((p.paused = 0 and p.archived = 0 and j.active = 1) or exists (select 1 from builds "
             "b "
             "where b.job_id = j.id and b.status = 'pending'))",
             {pipeline})) {
      jobs_.insert(row.As<JobTag>(0));
    }
  }

  store::Transaction& transaction_;
  std::set<JobId> jobs_;
};

}  // namespace

std::vector<DueJob> WithTeams(store::Transaction& transaction, const std::vector<JobId>& jobs) {
  std::vector<DueJob> due;
  due.reserve(jobs.size());
  for (const JobId job : jobs) {
    const auto row = transaction.QueryOne(
        "select p.team_id from jobs j join pipelines p on p.id = j.pipeline_id where j.id = $1",
        {job});
    if (row) due.push_back({job, row->As<TeamTag>(0)});
  }
  return due;
}

std::vector<DueJob> JobsDependingOn(store::Transaction& transaction,
                                    const std::vector<store::Change>& changes) {
  Collector collector(transaction);
  for (const store::Change& change : changes)
    collector.Add(change);
  return WithTeams(transaction, {collector.jobs().begin(), collector.jobs().end()});
}

}  // namespace pinion::scheduling
