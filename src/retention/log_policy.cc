#include "retention/log_policy.h"

#include <algorithm>

#include "pipeline/model.h"

namespace pinion::retention {
namespace {

constexpr std::int64_t kDay = 24 * 3600;

/// The job's own wish, else the server's; never above the server's limit, which also stands in
/// where nobody wishes anything.
std::int64_t Bounded(std::int64_t wish, std::int64_t otherwise, std::int64_t limit) {
  const std::int64_t wanted = wish > 0 ? wish : otherwise;
  if (limit <= 0) return wanted;
  return wanted > 0 ? std::min(wanted, limit) : limit;
}

}  // namespace

LogPolicy PolicyFor(const pipeline::Job& job, const LogOptions& options) {
  LogPolicy policy;
  std::int64_t builds = job.build_logs_to_retain;
  std::int64_t days = 0;
  std::int64_t minimum = 0;
  if (job.build_log_retention) {
    builds = job.build_log_retention->builds;
    days = job.build_log_retention->days;
    minimum = job.build_log_retention->minimum_succeeded_builds;
  }
  policy.builds = Bounded(builds, options.default_builds, options.max_builds);
  policy.days = Bounded(days, options.default_days, options.max_days);
  if (minimum <= policy.builds) policy.minimum_succeeded = minimum;
  return policy;
}

std::vector<BuildId> LogsToRemove(const std::vector<LoggedBuild>& builds, const LogPolicy& policy,
                                  std::int64_t now) {
  std::vector<BuildId> removed;
  if (policy.KeepsAll()) return removed;
  std::vector<BuildId> kept;  // but for the reserved ones
  std::int64_t count = 0;
  std::int64_t reserved = 0;
  for (const LoggedBuild& build : builds) {
    if (!build.finished) continue;
    const bool expired = build.end_time && *build.end_time + policy.days * kDay < now;
    if (policy.builds > 0 && build.succeeded && reserved < policy.minimum_succeeded) {
      ++reserved;
      ++count;
    } else if (count < policy.builds || (policy.days > 0 && !expired)) {
      kept.push_back(build.build);
      ++count;
    } else {
      removed.push_back(build.build);
    }
  }
  if (removed.empty() || policy.builds == 0) return removed;
  // Once something goes, the count binds what was kept for its age alone, too.
  for (; count > policy.builds && !kept.empty(); --count) {
    removed.push_back(kept.back());
    kept.pop_back();
  }
  return removed;
}

}  // namespace pinion::retention
