#include "invariants.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/json.h"
#include "scheduling/preparation.h"
#include "store/changes.h"
#include "store/jobs.h"

namespace pinion::simulation {
namespace {

using store::BuildStatus;
using store::Transaction;
using Texts = std::vector<std::string>;

std::string BuildText(BuildId build) {
  return "build " + std::to_string(build.value);
}

std::vector<BuildId> AllBuilds(Transaction& transaction) {
  std::vector<BuildId> builds;
  for (const store::Row& row : transaction.Query("select id from builds order by id"))
    builds.push_back(row.IdAt<BuildId>(0));
  return builds;
}

/// Everything ends, or says why it does not.
void CheckNothingWaits(Transaction& transaction, Texts& out) {
  for (const BuildId id : AllBuilds(transaction)) {
    const auto build = store::FindBuild(transaction, id).value();
    if (build.status == BuildStatus::kStarted) {
      out.push_back(BuildText(id) + " runs for ever");
    }
    if (build.status != BuildStatus::kPending) continue;
    const auto shown = scheduling::FindPreparation(transaction, id);
    const std::string blocking = scheduling::Preparation::kBlocking;
    const bool reason =
        shown && (shown->paused_pipeline == blocking || shown->paused_job == blocking ||
                  shown->max_running_builds == blocking || shown->inputs_satisfied == blocking);
    if (!reason) out.push_back(BuildText(id) + " is pending for ever, and nothing shows why");
  }
}

/// Who follows the feed from its beginning knows what the tables say; every build ends once.
void CheckFeed(Transaction& transaction, Texts& out) {
  std::map<std::int64_t, std::string> status;
  std::map<std::int64_t, int> ends;
  store::ChangeCursor cursor;
  for (bool more = true; more;) {
    const store::ChangePage page = store::ReadChanges(transaction, cursor, 500);
    if (page.trimmed) out.push_back("the change feed was trimmed");
    for (const store::Change& change : page.changes) {
      if (!change.kind.starts_with("build.") || change.kind == "build.commented") continue;
      const Json data = ValueOrThrow(ParseJson(change.data));
      status[change.id] = std::string(data.StringAt("status"));
      if (change.kind == "build.finished") ++ends[change.id];
    }
    cursor = page.next;
    more = page.more;
  }
  for (const BuildId id : AllBuilds(transaction)) {
    const auto build = store::FindBuild(transaction, id).value();
    const std::string is(store::Name(build.status));
    if (status[id.value] != is) {
      out.push_back("by the change feed " + BuildText(id) + " is " + status[id.value] +
                    ", by its row " + is);
    }
    const int expected = store::IsFinished(build.status) ? 1 : 0;
    if (ends[id.value] != expected) {
      out.push_back(BuildText(id) + " ended " + std::to_string(ends[id.value]) + " times");
    }
  }
}

const Worker::Transcript* FindTranscript(World& world, const std::string& handle) {
  for (const auto& [name, worker] : world.workers()) {
    const auto found = worker->transcripts.find(handle);
    if (found != worker->transcripts.end()) return &found->second;
  }
  return nullptr;
}

/// What a log says of one step.
struct StepLog {
  std::string output[2];
  bool finished = false;  ///< its process's exit status is told
  bool script = false;    ///< its standard output is its result, not its log
};

void CheckStepLog(World& world, BuildId build, const std::string& plan_id, const StepLog& log,
                  Texts& out) {
  std::string handle = "b" + std::to_string(build.value) + "-" + plan_id;
  std::ranges::replace(handle, '/', '.');
  const Worker::Transcript* transcript = FindTranscript(world, handle);
  for (int stream = 0; stream < 2; ++stream) {
    const std::string& logged = log.output[stream];
    const std::string printed = transcript ? transcript->output[stream] : "";
    const std::string what =
        BuildText(build) + " step " + plan_id + " stream " + std::to_string(stream + 1);
    if (!printed.starts_with(logged)) {
      // A container that went down with its machine may have run a second time.
      if (transcript && transcript->starts > 1) continue;
      out.push_back(what + ": the log is not what was printed\n--- log\n" + logged +
                    "\n--- printed\n" + printed);
    } else if (log.finished && transcript && !(log.script && stream == 0) &&
               logged.size() != printed.size()) {
      out.push_back(what + ": the log lacks the end of the output\n--- log\n" + logged +
                    "\n--- printed\n" + printed);
    }
  }
}

void CheckLog(World& world, const store::BuildRow& build, Texts& out) {
  std::map<std::string, StepLog> steps;
  std::vector<std::string> statuses;
  std::int64_t next = 0;
  for (const Json& event : world.ReadLog(build.id)) {
    const std::string name(event.StringAt("event"));
    if (event.StringAt("event_id") != std::to_string(next++)) {
      out.push_back(BuildText(build.id) + ": event ids have a gap at " + std::to_string(next - 1));
    }
    const Json& data = *event.Find("data");
    if (name == "status") {
      statuses.emplace_back(data.StringAt("status"));
      continue;
    }
    const Json* origin = data.Find("origin");
    if (!origin || !origin->IsObject()) continue;
    StepLog& step = steps[std::string(origin->StringAt("id"))];
    if (name == "finish-task" || name == "finish-put") step.finished = true;
    if (name == "finish-put") step.script = true;
    if (name != "log") continue;
    const std::string payload(data.StringAt("payload"));
    // The engine's own words are not the process's.
    if (payload.starts_with("\x1b[1;36mINFO") || payload.starts_with("var ") ||
        payload.starts_with("setting pipeline") || payload.starts_with("no changes")) {
      continue;
    }
    step.output[origin->StringAt("source") == "stderr" ? 1 : 0] += payload;
  }
  if (build.status == BuildStatus::kPending) return;
  const std::string last(store::Name(build.status));
  const bool ran = build.start_time.has_value();
  if (ran && statuses != std::vector<std::string>{"started", last}) {
    std::string text;
    for (const std::string& status : statuses)
      text += " " + status;
    out.push_back(BuildText(build.id) + " ended as " + last + ", its log says:" + text);
  }
  for (const auto& [plan_id, step] : steps) {
    if (!plan_id.empty() && !plan_id.ends_with('#'))
      CheckStepLog(world, build.id, plan_id, step, out);
  }
}

struct Input {
  std::string name;
  ResourceId resource;
  std::string resource_name;
  bool trigger = false;
  bool every = false;
  std::size_t passed = 0;
};

/// Versions by the order of their history, of one resource.
std::vector<std::int64_t> VersionsOf(Transaction& transaction, ResourceId resource) {
  std::vector<std::int64_t> versions;
  for (const store::Row& row :
       transaction.Query("select v.id from versions v join resources r on r.scope_id = v.scope_id "
                         "where r.id = $1 and v.check_order > 0 order by v.check_order",
                         {resource})) {
    versions.push_back(row.Integer(0));
  }
  return versions;
}

/// Every version that should have triggered did, and none did twice.
void CheckTriggers(Transaction& transaction, const store::JobRow& job, Texts& out) {
  std::vector<Input> inputs;
  for (const store::JobInputRow& row : store::ListJobInputs(transaction, job.id)) {
    inputs.push_back({row.name, row.resource, row.resource_name, row.trigger,
                      row.version == "every", row.passed.size()});
  }
  std::map<std::string, std::set<std::int64_t>> used;
  bool pending = false;
  for (const store::Row& row :
       transaction.Query("select id from builds where job_id = $1 order by id", {job.id})) {
    const auto build = store::FindBuild(transaction, row.IdAt<BuildId>(0)).value();
    pending |= build.status == BuildStatus::kPending;
    if (!build.start_time || build.rerun_of) continue;
    bool news = inputs.empty();
    for (const store::BuildInputRow& input : store::ListBuildInputs(transaction, build.id)) {
      const bool fresh = used[input.name].insert(input.version_id.value).second;
      const auto known = std::ranges::find(inputs, input.name, &Input::name);
      news |= fresh && known != inputs.end() && known->trigger;
    }
    if (!build.manual && !news) {
      out.push_back(BuildText(build.id) + " of job " + job.name +
                    " was triggered by a version that had triggered before");
    }
  }
  if (job.paused || job.pipeline_paused || pending || !job.inputs_determined) return;
  for (const Input& input : inputs) {
    if (!input.trigger || input.passed > 0) continue;
    const auto versions = VersionsOf(transaction, input.resource);
    if (versions.empty()) continue;
    const std::set<std::int64_t>& had = used[input.name];
    if (!had.contains(versions.back())) {
      out.push_back("job " + job.name + " was never triggered by the last version of '" +
                    input.resource_name + "'");
    }
    if (!input.every || had.empty()) continue;
    bool begun = false;
    for (const std::int64_t version : versions) {
      begun |= had.contains(version);
      if (begun && !had.contains(version)) {
        out.push_back("job " + job.name + " was never triggered by version " +
                      std::to_string(version) + " of '" + input.resource_name + "' (every)");
      }
    }
  }
}

/// The resources were checked up to their last version. Of two puts at once either may be saved
/// first, so it need not be the last one in the order of the history.
void CheckVersions(World& world, Transaction& transaction, Texts& out) {
  for (const store::Row& row : transaction.Query(
           "select r.id, r.name from resources r join pipelines p on p.id = r.pipeline_id where "
           "p.paused = 0 and exists (select 1 from job_inputs i where i.resource_id = r.id and "
           "i.\"trigger\" = 1 and i.passed_job_id is null)")) {
    const std::string wanted = "{\"v\":\"" + world.VersionsOf(row.Text(1)).back() + "\"}";
    const auto known = transaction.QueryOne(
        "select 1 from versions v join resources r on r.scope_id = v.scope_id where r.id = $1 and "
        "v.version = $2",
        {row.Integer(0), wanted});
    if (!known) {
      out.push_back("resource " + row.Text(1) + " was not checked up to its last version " +
                    wanted);
    }
  }
}

}  // namespace

namespace {

void AllIds(const Json& value, std::vector<std::string>& out) {
  if (value.IsArray()) {
    for (const Json& item : value.AsArray())
      AllIds(item, out);
  } else if (value.IsObject()) {
    if (const Json* id = value.Find("id"); id && id->IsString()) out.push_back(id->AsString());
    for (const auto& [name, member] : value.AsObject())
      AllIds(member, out);
  }
}

/// The ids of what must have succeeded. A `try` goes on whatever its steps came to, and after a
/// kill need not even begin all of them again.
void IdsThatSucceeded(const Json& value, std::vector<std::string>& out) {
  if (value.IsArray()) {
    for (const Json& item : value.AsArray())
      IdsThatSucceeded(item, out);
  } else if (value.IsObject()) {
    if (const Json* id = value.Find("id"); id && id->IsString()) out.push_back(id->AsString());
    for (const auto& [name, member] : value.AsObject()) {
      if (name != "try") IdsThatSucceeded(member, out);
    }
  }
}

bool Holds(const Json& value, const std::string& id) {
  std::vector<std::string> ids;
  AllIds(value, ids);
  return std::ranges::find(ids, id) != ids.end();
}

void CollectBefore(const Json& value, const std::string& id, std::vector<std::string>& out) {
  if (value.IsArray()) {
    for (const Json& item : value.AsArray())
      CollectBefore(item, id, out);
    return;
  }
  if (!value.IsObject()) return;
  for (const auto& [name, member] : value.AsObject()) {
    if (!Holds(member, id)) continue;
    if (name == "do" && member.IsArray()) {
      for (const Json& step : member.AsArray()) {
        if (Holds(step, id)) break;
        IdsThatSucceeded(step, out);
      }
    }
    if (name == "on_success" && member.IsObject()) {
      const Json* step = member.Find("step");
      const Json* hook = member.Find("on_success");
      if (step && hook && Holds(*hook, id)) IdsThatSucceeded(*step, out);
    }
    CollectBefore(member, id, out);
  }
}

}  // namespace

std::vector<std::string> StepsBefore(const Json& plan, const std::string& id) {
  std::vector<std::string> out;
  CollectBefore(plan, id, out);
  return out;
}

std::vector<std::string> CheckLimits(Transaction& transaction) {
  Texts out;
  for (const store::Row& row : transaction.Query(
           "select j.name, j.config, count(*) from builds b join jobs j on j.id = b.job_id where "
           "b.status = 'started' group by j.id, j.name, j.config having count(*) > 1")) {
    const Json config = ValueOrThrow(ParseJson(row.Text(1)));
    const std::int64_t limit = config.BoolAt("serial") ? 1 : config.IntegerAt("max_in_flight");
    if (limit > 0 && row.Integer(2) > limit) {
      out.push_back(std::to_string(row.Integer(2)) + " builds of job " + row.Text(0) +
                    " run, its limit is " + std::to_string(limit));
    }
  }
  for (const store::Row& row : transaction.Query(
           "select g.serial_group, count(*), j.pipeline_id from builds b join jobs j on j.id = "
           "b.job_id join job_serial_groups g on g.job_id = j.id where b.status = 'started' group "
           "by j.pipeline_id, g.serial_group having count(*) > 1")) {
    out.push_back(std::to_string(row.Integer(1)) + " builds run in serial group " + row.Text(0));
  }
  return out;
}

std::vector<std::string> CheckAtRest(World& world) {
  Texts out;
  std::vector<store::BuildRow> builds;
  world.Read([&](Transaction& transaction) {
    CheckNothingWaits(transaction, out);
    CheckFeed(transaction, out);
    CheckVersions(world, transaction, out);
    for (const store::Row& row :
         transaction.Query("select id from jobs where active = 1 order by id")) {
      CheckTriggers(transaction, store::FindJob(transaction, row.IdAt<JobId>(0)).value(), out);
    }
    for (const BuildId id : AllBuilds(transaction))
      builds.push_back(store::FindBuild(transaction, id).value());
  });
  for (const store::BuildRow& build : builds)
    CheckLog(world, build, out);
  return out;
}

std::vector<std::string> CheckNothingLeft(World& world) {
  Texts out;
  for (const auto& [name, worker] : world.workers()) {
    for (const auto& [handle, container] : worker->containers)
      out.push_back("container " + handle + " is left on " + name);
    for (const auto& [handle, volume] : worker->volumes) {
      if (!handle.starts_with("type-") && !handle.contains("-cache-")) {
        out.push_back("volume " + handle + " is left on " + name);
      }
    }
  }
  world.Read([&](Transaction& transaction) {
    for (const store::Row& row : transaction.Query("select handle, state from containers"))
      out.push_back("the row of container " + row.Text(0) + " is left, " + row.Text(1));
    for (const store::Row& row : transaction.Query("select handle, state from volumes where type "
                                                   "not in ('resource-type', 'task-cache')")) {
      out.push_back("the row of volume " + row.Text(0) + " is left, " + row.Text(1));
    }
    for (const store::Row& row : transaction.Query("select distinct build_id from build_steps"))
      out.push_back("steps of build " + std::to_string(row.Integer(0)) + " are left");
  });
  return out;
}

}  // namespace pinion::simulation
