#include "retention/build_logs.h"

#include "pipeline/format.h"
#include "store/build_history.h"
#include "store/change_kinds.h"
#include "store/changes.h"
#include "store/jobs.h"

namespace pinion::retention {

using store::Pool;
using store::Transaction;

namespace {

constexpr int kFilePages = 200;  // of one pass

/// Whose logs of this job go; nothing while the job or its pipeline is paused, as upstream has it.
std::vector<BuildId> Unwanted(Transaction& transaction, JobId job, const LogOptions& options) {
  const auto row = store::FindJob(transaction, job);
  if (!row || row->paused || row->pipeline_paused) return {};
  const auto config = pipeline::JobFromJson(ValueOrThrow(ParseJson(row->config)));
  if (!config) return {};
  const LogPolicy policy = PolicyFor(*config, options);
  if (policy.KeepsAll()) return {};
  std::vector<LoggedBuild> builds;
  for (const store::LoggedBuildRow& build : store::ListLoggedBuilds(transaction, job)) {
    builds.push_back({.build = build.id,
                      .finished = store::IsFinished(build.status),
                      .succeeded = build.status == store::BuildStatus::kSucceeded,
                      .end_time = build.end_time});
  }
  std::vector<BuildId> removed = LogsToRemove(builds, policy, transaction.now());
  for (const BuildId build : removed)
    store::SetReaped(transaction, build);
  return removed;
}

}  // namespace

BuildLogs::BuildLogs(store::Database& database, events::LogStore& logs, Timers& timers, Logger log,
                     BuildLogOptions options)
    : database_(database), logs_(logs), timers_(timers), log_(std::move(log)), options_(options) {}

bool BuildLogs::Look(const store::Change& change) {
  namespace kinds = store::kinds;
  if (change.kind == kinds::kBuildFinished) {
    const auto data = ParseJson(change.data);
    const Json* job = data ? data->Find("job") : nullptr;
    if (job && job->IsInteger()) jobs_.insert(JobId{job->AsInteger()});
    return false;
  }
  if (change.kind == kinds::kPipelineDestroyed || change.kind == kinds::kTeamDestroyed) {
    builds_deleted_ = true;
    return true;
  }
  // A check's build that was replaced: its log is no orphan to search for.
  if (change.kind == kinds::kBuildDeleted) deleted_.insert(BuildId{change.id});
  return false;
}

Task<void> BuildLogs::Run(std::stop_token stop) {
  const SteadyTime now = timers_.clock().Steady();
  const bool sweep = !last_sweep_ || now >= *last_sweep_ + options_.sweep_interval;
  if (sweep) {
    const std::vector<JobId> jobs = co_await database_.Read(
        Pool::kEngine, [](Transaction& transaction) { return store::ListAllJobIds(transaction); },
        stop);
    jobs_.insert(jobs.begin(), jobs.end());
    builds_deleted_ = true;
    last_sweep_ = now;
  }
  const std::set<BuildId> deleted = std::exchange(deleted_, {});
  std::vector<BuildId> logs(deleted.begin(), deleted.end());
  co_await RemoveLogs(std::move(logs));
  co_await LookAtJobs(stop);
  if (options_.one_off_seconds > 0) co_await RemoveOneOffs(stop);
  if (builds_deleted_) co_await RemoveOrphans(stop);
}

Task<void> BuildLogs::LookAtJobs(std::stop_token stop) {
  while (!jobs_.empty()) {
    // Only then is it done: a pass that fails is repeated.
    const JobId job = *jobs_.begin();
    co_await LookAtJob(job, stop);
    jobs_.erase(job);
  }
}

Task<void> BuildLogs::LookAtJob(JobId job, std::stop_token stop) {
  // Rows first: a log that is left after a crash is found among the files.
  const std::vector<BuildId> removed = co_await database_.Write(
      Pool::kEngine,
      [job, options = options_.logs](Transaction& transaction) {
        return Unwanted(transaction, job, options);
      },
      stop);
  co_await RemoveLogs(removed);
  numbers_.removed += static_cast<std::int64_t>(removed.size());
}

Task<void> BuildLogs::RemoveOneOffs(std::stop_token stop) {
  for (;;) {
    const std::vector<BuildId> deleted = co_await database_.Write(
        Pool::kEngine,
        [seconds = options_.one_off_seconds,
         limit = static_cast<int>(options_.page)](Transaction& transaction) {
          return store::DeleteOneOffBuilds(transaction, transaction.now() - seconds, limit);
        },
        stop);
    co_await RemoveLogs(deleted);
    numbers_.one_offs += static_cast<std::int64_t>(deleted.size());
    if (deleted.size() < options_.page) co_return;
  }
}

Task<void> BuildLogs::RemoveOrphans(std::stop_token stop) {
  if (!next_file_) builds_deleted_ = false;  // what is deleted from here on asks for another walk
  for (int page = 0; page < kFilePages; ++page) {
    const std::vector<BuildId> stored = co_await logs_.ListStored(next_file_, options_.page);
    // A build's row is there before its log is.
    const std::vector<BuildId> orphans = co_await database_.Read(
        Pool::kEngine,
        [stored](Transaction& transaction) { return store::ListWithoutLog(transaction, stored); },
        stop);
    co_await RemoveLogs(orphans);
    numbers_.orphans += static_cast<std::int64_t>(orphans.size());
    if (!orphans.empty())
      log_.Info("logs without a build removed",
                {{"logs", static_cast<std::int64_t>(orphans.size())}});
    if (stored.size() < options_.page) {
      next_file_ = {};
      co_return;
    }
    next_file_ = BuildId{stored.back().value + 1};
  }
  builds_deleted_ = true;  // to go on
}

Task<void> BuildLogs::RemoveLogs(std::vector<BuildId> builds) {
  for (const BuildId build : builds)
    co_await logs_.Remove(build);
}

}  // namespace pinion::retention
