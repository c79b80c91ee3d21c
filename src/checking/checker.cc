#include "checking/checker.h"

#include <algorithm>

#include "base/units.h"
#include "store/scopes.h"
#include "store/versions.h"

namespace pinion::checking {
namespace {

// A claim outlives two missed renewals.
constexpr std::int64_t kClaimSeconds = 90;
constexpr Duration kRenewal = std::chrono::seconds(30);

std::int64_t WholeSeconds(Duration duration) {
  return std::chrono::ceil<std::chrono::seconds>(duration).count();
}

}  // namespace

std::optional<Duration> Checker::IntervalOf(const ScopeState& scope) const {
  std::optional<Duration> shortest;
  for (const ResourceId member : scope.members) {
    const auto& interval = watched_.at(member).interval;
    if (interval && (!shortest || *interval < *shortest)) shortest = interval;
  }
  return shortest;
}

// Whose secrets and tags the check runs with: one that is checked by itself, if there is one.
const Checker::Watched* Checker::Representative(const ScopeState& scope) const {
  const Watched* any = nullptr;
  for (const ResourceId member : scope.members) {
    const Watched& watched = watched_.at(member);
    if (watched.periodic) return &watched;
    any = &watched;
  }
  return any;
}

void Checker::Schedule(ScopeId id, std::optional<SteadyTime> when) {
  const auto found = scopes_.find(id);
  if (found == scopes_.end()) return;
  ScopeState& scope = found->second;
  if (scope.due) due_.erase({*scope.due, id});
  scope.due = when;
  if (when) due_.emplace(*when, id);
  Arm();
}

void Checker::SetPaused(bool paused) {
  paused_ = paused;
  Arm();
}

void Checker::Arm() {
  if (due_.empty() || !started_ || paused_) {
    timer_.Cancel();
    return;
  }
  if (running_ >= options_.concurrency) return;  // the end of one starts the next
  timer_ = services_.timers.At(std::max(due_.begin()->first, next_slot_), [this] { StartDue(); });
}

void Checker::StartDue() {
  const SteadyTime now = services_.timers.clock().Steady();
  while (!due_.empty() && due_.begin()->first <= now && running_ < options_.concurrency &&
         next_slot_ <= now) {
    const auto [when, id] = *due_.begin();
    due_.erase(due_.begin());
    ScopeState& scope = scopes_.at(id);
    scope.due.reset();
    const Watched* watched = Representative(scope);
    if (scope.running || !watched) continue;
    lateness_ = when == SteadyTime{} ? Duration{} : now - when;
    if (options_.per_second > 0) {
      next_slot_ = now + std::chrono::duration_cast<Duration>(
                             std::chrono::duration<double>(1 / options_.per_second));
    }
    scope.running = true;
    const bool requested = std::exchange(scope.requested, false);
    ++running_;
    if (!tasks_.Spawn(Check(id, *watched, requested))) {
      --running_;
      return;
    }
  }
  Arm();
}

void Checker::RequestChecks(const std::vector<ResourceId>& resources) {
  for (const ResourceId resource : resources) {
    const auto found = watched_.find(resource);
    if (found == watched_.end()) {
      // New, or its pipeline is not loaded yet: it is checked once it is there.
      requested_unloaded_.insert(resource);
      to_load_.resources.insert(resource);
      continue;
    }
    const ScopeId id = found->second.request.scope;
    ScopeState& scope = scopes_.at(id);
    scope.requested = true;
    // What runs may have looked before that happened which is asked about: once more, after it.
    if (!scope.running) Schedule(id, SteadyTime{});  // before all others
  }
  Load();
}

Task<void> Checker::Check(ScopeId id, Watched watched, bool requested) {
  std::optional<CheckResult> result;
  std::string error;
  bool claimed = false;
  bool cancelled = false;
  std::optional<Error> unsaved;
  const SteadyTime begun = services_.timers.clock().Steady();
  const std::stop_token stop = tasks_.stop_token();
  try {
    if (co_await KeyChanged(watched)) {
      if (requested) requested_unloaded_.insert(watched.request.resource);
      to_load_.resources.insert(watched.request.resource);
    } else {
      claimed = co_await Begin(id, watched, requested);
    }
  } catch (const Failure& failure) {
    unsaved = failure.error();
  }
  if (claimed) {
    ++begun_;
    ArmRenewal();
    Deadline deadline(services_.timers, watched.timeout, stop);
    try {
      result = co_await services_.runner.RunCheck(watched.request, deadline.token());
    } catch (const Failure& failure) {
      error = failure.error().message;
    } catch (const Cancelled&) {
      if (deadline.expired()) {
        error = "timed out after " + DurationText(watched.timeout);
      } else {
        cancelled = true;
      }
    }
    if (cancelled) {
      // A write without a stop: another process may check at once.
      co_await services_.database.Write(
          store::Pool::kEngine,
          [id](store::Transaction& transaction) { store::ReleaseClaim(transaction, id); });
      throw Cancelled();
    }
    try {
      co_await Finish(id, std::move(result), std::move(error));
    } catch (const Failure& failure) {
      unsaved = failure.error();
    }
  }
  // That a resource's check fails is the resource's affair.
  if (services_.ran && (claimed || unsaved)) {
    services_.ran(begun, unsaved ? unsaved->message : "");
  }
  if (unsaved) {
    services_.log.Warn("a check could not be recorded, it is made again",
                       {{"scope", id.value},
                        {"resource", watched.request.resource_name},
                        {"error", unsaved->message}});
    if (const auto found = scopes_.find(id); found != scopes_.end()) {
      found->second.requested |= requested;
    }
    if (scopes_.contains(id)) Schedule(id, services_.timers.clock().Steady() + options_.retry);
  }
  if (const auto found = scopes_.find(id); found != scopes_.end()) {
    found->second.running = false;
    if (found->second.requested && !unsaved) {
      Schedule(id, claimed ? SteadyTime{} : services_.timers.clock().Steady() + options_.retry);
    }
    if (found->second.members.empty()) {
      Schedule(id, std::nullopt);
      scopes_.erase(found);
    }
  }
  --running_;
  Load();
  Arm();
  NotifyIdle();
}

// Claims the check. Otherwise somebody else runs it, or ran it: this node looks again when it is
// due.
Task<bool> Checker::Begin(ScopeId id, Watched& watched, bool requested) {
  struct Claim {
    bool claimed = false;
    std::optional<std::int64_t> next_in;
    CheckStart from;
  };
  const std::optional<protocol::Version> pinned = watched.request.plan.check->from_version;
  const Claim claim = co_await services_.database.Write(
      store::Pool::kEngine,
      [id, requested, pinned, node = services_.node](store::Transaction& transaction) {
        Claim result;
        const auto scope = store::FindScope(transaction, id);
        result.claimed = store::ClaimCheck(transaction, id, node, kClaimSeconds, requested);
        if (!result.claimed) {
          if (scope && scope->next_check) result.next_in = *scope->next_check - transaction.now();
        } else if (pinned) {
          result.from.version = pinned;
        } else if (const auto latest = store::LatestVersion(transaction, id)) {
          result.from = {.version = store::ParseVersion(latest->version),
                         .image = scope->last_check_image};
        }
        return result;
      });
  if (claim.claimed) {
    watched.request.from = claim.from;
    co_return true;
  }
  const SteadyTime now = services_.timers.clock().Steady();
  const auto scope = scopes_.find(id);
  if (requested && scope != scopes_.end()) {
    // What runs elsewhere may have looked too early for whoever asks: once more, after it.
    scope->second.requested = true;
  } else if (watched.periodic) {
    const auto wait =
        std::max<Duration>(std::chrono::seconds(claim.next_in.value_or(0)), options_.retry);
    Schedule(id, now + wait);
  }
  co_return false;
}

Task<void> Checker::Finish(ScopeId id, std::optional<CheckResult> result, std::string error) {
  const auto found = scopes_.find(id);
  // Nobody has the scope any more: what was found is kept, but not looked for again.
  const auto interval = found == scopes_.end() ? std::nullopt : IntervalOf(found->second);
  std::vector<ResourceId> members;
  if (found != scopes_.end())
    members.assign(found->second.members.begin(), found->second.members.end());
  const auto is_periodic = [&](ResourceId member) {
    const auto watched = watched_.find(member);
    return watched != watched_.end() && watched->second.periodic;
  };
  std::optional<std::int64_t> next_in;
  if (interval) next_in = WholeSeconds(*interval);
  struct Saved {
    std::string error;
  };
  const Saved saved = co_await services_.database.Write(
      store::Pool::kEngine, [id, result, error, next_in](store::Transaction& transaction) {
        Saved outcome{error};
        if (result) {
          const auto empty = std::ranges::find_if(result->versions, &protocol::Version::empty);
          if (empty != result->versions.end()) {
            outcome.error = "the check listed a version without members";
          } else {
            store::SaveVersions(transaction, id, result->versions, result->from_scratch);
          }
        }
        store::SaveCheck(transaction, id,
                         {.succeeded = outcome.error.empty(),
                          .error = outcome.error,
                          .build = {},
                          .image = result ? result->image : "",
                          .next_in = next_in});
        return outcome;
      });
  if (!saved.error.empty()) {
    services_.log.Info("check failed", {{"scope", id.value}, {"error", saved.error}});
  }
  // Whoever is only checked until it has succeeded, or has a version, may be done.
  if (interval && std::ranges::any_of(members, is_periodic)) {
    Schedule(id, services_.timers.clock().Steady() + *interval);
  }
  for (const ResourceId member : members) {
    const auto watched = watched_.find(member);
    if (watched != watched_.end() && !watched->second.for_ever) to_load_.resources.insert(member);
  }
  Load();
}

void Checker::ArmRenewal() {
  if (renewal_armed_) return;
  renewal_armed_ = true;
  renewal_ = services_.timers.After(kRenewal, [this] {
    renewal_armed_ = false;
    if (running_ == 0) return;
    tasks_.Spawn(RenewClaims());
    ArmRenewal();
  });
}

Task<void> Checker::RenewClaims() {
  std::vector<ScopeId> running;
  for (const auto& [id, scope] : scopes_) {
    if (scope.running) running.push_back(id);
  }
  try {
    co_await services_.database.Write(store::Pool::kEngine,
                                      [running](store::Transaction& transaction) {
                                        store::RenewClaims(transaction, running, kClaimSeconds);
                                      });
  } catch (const Failure& failure) {
    services_.log.Warn("claims of checks could not be renewed",
                       {{"error", failure.error().message}});
  }
}

bool Checker::IsIdle() const {
  if (running_ > 0 || loading_ || !to_load_.empty() || load_everything_) return false;
  return due_.empty() || due_.begin()->first > services_.timers.clock().Steady();
}

void Checker::NotifyIdle() {
  if (!IsIdle()) return;
  for (const auto& waker : std::exchange(idle_, {}))
    waker(true);
}

Task<void> Checker::WaitUntilIdle(std::stop_token stop) {
  if (IsIdle()) co_return;
  co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) { idle_.push_back(waker); });
}

}  // namespace pinion::checking
