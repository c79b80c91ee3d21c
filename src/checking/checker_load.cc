#include <algorithm>

#include "base/json.h"
#include "base/units.h"
#include "checking/check_plan.h"
#include "checking/checker.h"
#include "pipeline/format.h"
#include "store/change_kinds.h"
#include "store/scopes.h"
#include "store/versions.h"

/// How the checker learns what there is to check.
namespace pinion::checking {
namespace {

namespace kinds = store::kinds;

// Resources placed by one transaction: others wait for it to end.
constexpr std::size_t kPlacedAtOnce = 200;

bool HasVars(const std::vector<store::ScopeLink>& chain) {
  return std::ranges::any_of(chain, [](const store::ScopeLink& link) {
    return ToText(link.source).find("((") != std::string::npos;
  });
}

}  // namespace

Checker::Checker(Services services, Options options)
    : services_(std::move(services)),
      options_(std::move(options)),
      tasks_(services_.executor, services_.log, "checker") {
  services_.feed.Subscribe([this](const std::vector<store::Change>& changes, bool trimmed) {
    OnChanges(changes, trimmed);
  });
}

Checker::~Checker() = default;

Task<void> Checker::Start() {
  loading_ = true;
  co_await services_.database.Write(store::Pool::kEngine,
                                    [node = services_.node](store::Transaction& transaction) {
                                      store::ReleaseClaimsOf(transaction, node);
                                    });
  co_await LoadAll();
  loading_ = false;
  started_ = true;
  Arm();
  Load();
}

Task<void> Checker::Stop() {
  timer_.Cancel();
  retry_timer_.Cancel();
  renewal_.Cancel();
  tasks_.RequestStop();
  co_await tasks_.Join();
}

void Checker::OnChanges(const std::vector<store::Change>& changes, bool trimmed) {
  load_everything_ |= trimmed;
  std::vector<ResourceId> requested;
  for (const store::Change& change : changes) {
    if (change.kind == kinds::kPipelineConfigured || change.kind == kinds::kPipelineUnpaused ||
        change.kind == kinds::kPipelinePaused || change.kind == kinds::kPipelineArchived ||
        change.kind == kinds::kPipelineDestroyed || change.kind == kinds::kPipelineRenamed) {
      to_load_.pipelines.insert(PipelineId{change.id});
    } else if (change.kind == kinds::kResourcePinned || change.kind == kinds::kResourceUnpinned ||
               change.kind == kinds::kResourceCleared) {
      to_load_.resources.insert(ResourceId{change.id});
    } else if (change.kind == kinds::kResourceCheckRequested) {
      requested.push_back(ResourceId{change.id});
    }
  }
  if (!requested.empty()) RequestChecks(requested);
  Load();
}

void Checker::Load() {
  if (loading_ || !started_ || (to_load_.empty() && !load_everything_)) return;
  loading_ = tasks_.Spawn(LoadWaiting());
}

Task<void> Checker::LoadWaiting() {
  while (!to_load_.empty() || load_everything_) {
    const bool everything = std::exchange(load_everything_, false);
    const Work work = std::exchange(to_load_, {});
    std::optional<Error> error;
    try {
      if (everything) co_await LoadAll();
      for (const PipelineId pipeline : work.pipelines)
        co_await LoadPipeline(pipeline);
      for (const ResourceId resource : work.resources)
        co_await LoadResource(resource);
    } catch (const Failure& failure) {
      error = failure.error();
    }
    if (!error) continue;
    services_.log.Warn("resources could not be loaded for checking, trying again",
                       {{"error", error->message}});
    load_everything_ |= everything;
    to_load_.pipelines.insert(work.pipelines.begin(), work.pipelines.end());
    to_load_.resources.insert(work.resources.begin(), work.resources.end());
    co_await services_.timers.Sleep(options_.retry, tasks_.stop_token());
  }
  loading_ = false;
  Arm();
  NotifyIdle();
}

Task<void> Checker::LoadAll() {
  const auto pipelines = co_await services_.database.Read(
      store::Pool::kEngine,
      [](store::Transaction& transaction) { return store::ListRunningPipelines(transaction); });
  std::vector<PipelineId> gone;
  for (const auto& [pipeline, resources] : of_pipeline_) {
    if (std::ranges::find(pipelines, pipeline) == pipelines.end()) gone.push_back(pipeline);
  }
  for (const PipelineId pipeline : gone)
    ForgetPipeline(pipeline);
  for (const PipelineId pipeline : pipelines)
    co_await LoadPipeline(pipeline);
}

Task<void> Checker::LoadPipeline(PipelineId pipeline) {
  Found found = co_await services_.database.Read(
      store::Pool::kEngine, [pipeline](store::Transaction& transaction) {
        return Found{store::ListCheckable(transaction, pipeline), TypesOf(transaction, pipeline)};
      });
  std::set<ResourceId> gone = of_pipeline_[pipeline];
  for (const store::CheckableRow& row : found.rows)
    gone.erase(row.resource.id);
  for (const ResourceId resource : gone)
    Forget(resource);
  if (found.rows.empty()) of_pipeline_.erase(pipeline);
  std::vector<store::CheckableRow> rows = std::move(found.rows);
  for (std::size_t i = 0; i < rows.size(); i += kPlacedAtOnce) {
    Found piece;
    piece.types = found.types;
    const std::size_t end = std::min(rows.size(), i + kPlacedAtOnce);
    piece.rows.assign(std::make_move_iterator(rows.begin() + static_cast<std::ptrdiff_t>(i)),
                      std::make_move_iterator(rows.begin() + static_cast<std::ptrdiff_t>(end)));
    co_await Place(std::move(piece));
  }
}

Task<void> Checker::LoadResource(ResourceId resource) {
  Found found = co_await services_.database.Read(
      store::Pool::kEngine, [resource](store::Transaction& transaction) {
        Found result;
        if (auto row = store::FindCheckable(transaction, resource)) {
          result.types = TypesOf(transaction, row->resource.pipeline);
          result.rows.push_back(std::move(*row));
        }
        return result;
      });
  if (found.rows.empty()) {
    Forget(resource);
    requested_unloaded_.erase(resource);
    co_return;
  }
  co_await Place(std::move(found));
}

std::optional<Checker::Loaded> Checker::Parse(
    const store::CheckableRow& row, const std::vector<protocol::ResourceType>& types) const {
  const store::ResourceRow& resource = row.resource;
  const auto config = pipeline::ParseResource(resource.config);
  if (!config) {
    services_.log.LogError("a resource's configuration cannot be read, it is not checked",
                           {{"resource", resource.id.value}, {"error", config.error().message}});
    return std::nullopt;
  }
  CheckPlanOptions options{.skip_interval = true};
  if (resource.pinned_version) options.from = store::ParseVersion(*resource.pinned_version);
  auto plan = MakeCheckPlan(*config, types, options_.base_defaults, options);
  if (!plan) {
    services_.log.LogError("a resource's check cannot be planned, it is not checked",
                           {{"resource", resource.id.value}, {"error", plan.error().message}});
    return std::nullopt;
  }
  Loaded loaded;
  Watched& watched = loaded.watched;
  watched.request.owner = {resource.team, resource.team_name, resource.pipeline,
                           resource.pipeline_name, resource.instance_vars};
  watched.request.resource = resource.id;
  watched.request.resource_name = resource.name;
  watched.has_vars = HasVars(ChainOf(*plan->check));
  watched.request.plan = std::move(*plan);
  if (config->check_every != "never") {
    const auto every = ParseDuration(config->check_every);
    const Duration fallback =
        config->webhook_token.empty() ? options_.interval : options_.webhook_interval;
    const bool given = every && *every > Duration{};
    watched.interval = std::max<Duration>(given ? *every : fallback, std::chrono::seconds(1));
  }
  const auto timeout = ParseDuration(config->check_timeout);
  watched.timeout = timeout && *timeout > Duration{} ? *timeout : options_.timeout;
  watched.for_ever = row.has_trigger;
  loaded.is_input = row.is_input;
  return loaded;
}

Task<Result<std::string>> Checker::KeyOf(Watched watched) {
  auto chain = ChainOf(*watched.request.plan.check);
  const ResourceId apart = options_.global_resources ? ResourceId() : watched.request.resource;
  if (!watched.has_vars) co_return store::ScopeKey(chain, apart);
  std::optional<Error> error;
  try {
    for (store::ScopeLink& link : chain) {
      link.source = co_await services_.sources.FillIn(watched.request.owner, link.source,
                                                      tasks_.stop_token());
    }
  } catch (const Failure& failure) {
    error = failure.error();
  }
  if (!error) co_return store::ScopeKey(chain, apart);
  services_.log.Info("a resource's source could not be filled in",
                     {{"resource", watched.request.resource_name}, {"error", error->message}});
  co_return std::unexpected(std::move(*error));
}

// Secrets are changed without anybody telling. One that cannot be read now changes nothing.
Task<bool> Checker::KeyChanged(Watched watched) {
  if (!watched.has_vars) co_return false;
  const auto key = co_await KeyOf(watched);
  co_return key && *key != watched.key;
}

void Checker::Attach(store::Transaction& transaction, Loaded& loaded) {
  Watched& watched = loaded.watched;
  const ResourceId resource = watched.request.resource;
  const ScopeId scope = loaded.kept ? loaded.kept
                                    : store::FindOrCreateScope(transaction, watched.key,
                                                               watched.request.plan.check->type);
  store::AttachResource(transaction, resource, scope);
  watched.request.scope = scope;
  const auto row = store::FindScope(transaction, scope).value();
  bool wanted = watched.for_ever || !row.last_check_succeeded.value_or(false);
  if (!wanted && loaded.is_input) {
    const auto& from = watched.request.plan.check->from_version;
    wanted = !store::LatestVersion(transaction, scope) ||
             (from && !store::FindPinned(transaction, resource, *from));
  }
  watched.periodic = wanted && watched.interval.has_value();
  if (!watched.interval || !row.last_check_end) return;
  const std::int64_t next =
      *row.last_check_end + std::chrono::ceil<std::chrono::seconds>(*watched.interval).count();
  // A shorter interval than the one that the last check went by.
  if (row.next_check.value_or(next + 1) > next) {
    transaction.Execute("update scopes set next_check = $2 where id = $1", {scope, next});
  }
  loaded.due_in = std::min(next, row.next_check.value_or(next)) - transaction.now();
  if (*row.last_check_end > transaction.now()) loaded.due_in = 0;  // the clock was set back
}

Task<void> Checker::Place(Found found) {
  std::vector<Loaded> loaded;
  for (const store::CheckableRow& row : found.rows) {
    auto one = Parse(row, found.types);
    if (!one) {
      Forget(row.resource.id);
      continue;
    }
    auto key = co_await KeyOf(one->watched);
    if (key) {
      one->watched.key = std::move(*key);
    } else if (row.resource.scope) {
      one->kept = row.resource.scope;
    } else {
      // The check will say what is wrong; it needs a scope to say it on, shared with nobody.
      one->watched.key =
          store::ScopeKey(ChainOf(*one->watched.request.plan.check), row.resource.id);
    }
    loaded.push_back(std::move(*one));
  }
  if (loaded.empty()) co_return;
  loaded = co_await services_.database.Write(store::Pool::kEngine,
                                             [loaded](store::Transaction& transaction) {
                                               std::vector<Loaded> attached = loaded;
                                               for (Loaded& one : attached)
                                                 Attach(transaction, one);
                                               return attached;
                                             });
  for (Loaded& one : loaded)
    Watch(std::move(one));
}

void Checker::Watch(Loaded loaded) {
  const ResourceId resource = loaded.watched.request.resource;
  const ScopeId id = loaded.watched.request.scope;
  const bool periodic = loaded.watched.periodic;
  const auto known = watched_.find(resource);
  if (known != watched_.end() && known->second.request.scope != id) Forget(resource);
  of_pipeline_[loaded.watched.request.owner.pipeline].insert(resource);
  watched_[resource] = std::move(loaded.watched);
  ScopeState& scope = scopes_[id];
  scope.members.insert(resource);
  if (requested_unloaded_.erase(resource) > 0) {
    RequestChecks({resource});
    return;
  }
  if (scope.running || scope.requested) return;
  const Watched* representative = Representative(scope);
  if (!representative || !representative->periodic) {
    Schedule(id, std::nullopt);
    return;
  }
  if (!periodic) return;
  const SteadyTime now = services_.timers.clock().Steady();
  SteadyTime due =
      now + std::max<Duration>(std::chrono::seconds(loaded.due_in.value_or(0)), Duration{});
  if (!started_ && loaded.due_in && *loaded.due_in <= 0 && options_.spread > Duration{}) {
    // Everything is overdue after a stop; scopes have numbers in a row, so this spreads evenly.
    due += options_.spread * (id.value % 64) / 64;
  }
  if (!scope.due || due < *scope.due) Schedule(id, due);
}

void Checker::Forget(ResourceId resource) {
  const auto found = watched_.find(resource);
  if (found == watched_.end()) return;
  const ScopeId id = found->second.request.scope;
  if (const auto of = of_pipeline_.find(found->second.request.owner.pipeline);
      of != of_pipeline_.end()) {
    of->second.erase(resource);
  }
  watched_.erase(found);
  ScopeState& scope = scopes_.at(id);
  scope.members.erase(resource);
  const Watched* representative = Representative(scope);
  if (!scope.running && (!representative || (!representative->periodic && !scope.requested))) {
    Schedule(id, std::nullopt);
  }
  if (scope.members.empty() && !scope.running) scopes_.erase(id);
}

void Checker::ForgetPipeline(PipelineId pipeline) {
  const auto found = of_pipeline_.find(pipeline);
  if (found == of_pipeline_.end()) return;
  const std::set<ResourceId> resources = std::move(found->second);
  of_pipeline_.erase(found);
  for (const ResourceId resource : resources)
    Forget(resource);
}

}  // namespace pinion::checking
