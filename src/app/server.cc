#include "app/server.h"
#include "protocol/versions.h"

#include <unistd.h>

#include <filesystem>
#include <random>

#include "api/server.h"
#include "app/controls.h"
#include "app/local_worker.h"
#include "base/encoding.h"
#include "base/files.h"
#include "checking/checker.h"
#include "components/registry.h"
#include "engine/check_runner.h"
#include "engine/container.h"
#include "engine/engine.h"
#include "fleet/cache_budget.h"
#include "fleet/collector.h"
#include "http/server.h"
#include "linux/files.h"
#include "retention/build_logs.h"
#include "retention/history.h"
#include "scheduling/pipeline_planner.h"
#include "scheduling/scheduler.h"
#include "secrets/var_sources.h"
#include "store/builds.h"
#include "store/change_follower.h"
#include "store/change_kinds.h"
#include "store/leases_keeper.h"
#include "store/scopes.h"
#include "store/teams.h"

namespace pinion::app {
namespace {

namespace fs = std::filesystem;

constexpr Duration kRequestGrace = std::chrono::seconds(3);
constexpr std::string_view kRole = "quickstart";
constexpr scheduling::Scheduler::Options kScheduling;

/// This process's name among the nodes: kept, so that the next process in this folder is the same
/// node and takes up what this one left.
std::string NodeName(const std::string& state_dir) {
  const fs::path path = fs::path(state_dir) / "node";
  if (const auto kept = ReadFile(path, 256)) return *kept;
  const std::string made = "node-" + ToHex(RandomBytes(8));
  ValueOrThrow(WriteFile(path, made, 0600));
  return made;
}

protocol::ContainerLimits DefaultTaskLimits(const ServerOptions& options) {
  protocol::ContainerLimits limits;
  if (options.default_task_cpu_limit > 0) limits.cpu = options.default_task_cpu_limit;
  if (options.default_task_memory_limit.bytes > 0) {
    limits.memory = options.default_task_memory_limit.bytes;
  }
  return limits;
}

std::int64_t Seconds(Duration duration) {
  return std::chrono::duration_cast<std::chrono::seconds>(duration).count();
}

fleet::CollectorOptions CollectionOf(const ServerOptions& options) {
  fleet::CollectorOptions collection;
  collection.sweep_interval = options.gc_interval;
  collection.containers = {.hijacked_seconds = Seconds(options.hijack_grace),
                           .one_off_seconds = Seconds(options.one_off_grace),
                           .failed_seconds = Seconds(options.failed_grace),
                           .missing_seconds = Seconds(options.missing_grace)};
  collection.volumes = {.unused_cache_seconds = Seconds(options.unused_cache_grace),
                        .artifact_seconds = Seconds(options.artifact_grace),
                        .missing_seconds = Seconds(options.missing_grace)};
  return collection;
}

retention::BuildLogOptions LogRetentionOf(const ServerOptions& options) {
  return {.logs = {.default_builds = options.default_build_logs,
                   .max_builds = options.max_build_logs,
                   .default_days = options.default_log_days,
                   .max_days = options.max_log_days},
          .one_off_seconds = Seconds(options.one_off_retention)};
}

retention::HistoryOptions HistoryRetentionOf(const ServerOptions& options) {
  return {.scope_seconds = Seconds(options.unused_scope_grace),
          .change_seconds = Seconds(options.change_retention)};
}

/// Who may do what in the main team, as the options say.
std::string MainTeamAuth(const ServerOptions& options) {
  JsonArray users;
  for (const std::string& user : options.main_team_local_users)
    users.push_back("local:" + user);
  return ToText(
      JsonObject{{"owner", JsonObject{{"users", std::move(users)}, {"groups", JsonArray()}}}});
}

}  // namespace

/// In the order of their making; they go in reverse.
struct Server::Parts {
  linux::UniqueFd state_lock;
  SystemClock clock;
  std::unique_ptr<Timers> timers;
  ThreadPool log_pool{"build logs", 2, 10'000};
  identity::LocalUsers local_users;
  std::unique_ptr<store::Database> database;
  std::unique_ptr<events::LogStore> logs;
  std::unique_ptr<store::LeaseKeeper> lease;
  std::unique_ptr<store::ChangeFollower> feed;
  std::unique_ptr<fleet::WorkerRegistry> fleet;
  std::unique_ptr<LocalWorker> worker;
  std::unique_ptr<components::Registry> components;
  engine::ImageMetadataCache image_metadata;
  engine::BaseTypes base_types;
  engine::SingleFlight gets;
  engine::SingleFlight checks_in_flight;
  std::unique_ptr<engine::Engine> engine;
  std::unique_ptr<EngineControl> engine_control;
  std::unique_ptr<engine::CheckRunner> check_runner;
  std::unique_ptr<secrets::IdTokens> id_tokens;
  std::unique_ptr<secrets::VarSources> var_sources;
  std::unique_ptr<engine::SourceFiller> sources;
  std::unique_ptr<checking::Checker> checker;
  std::unique_ptr<scheduling::BuildPlanner> planner;
  std::unique_ptr<scheduling::Scheduler> scheduler;
  std::unique_ptr<fleet::Collector> collector;
  std::unique_ptr<fleet::CacheBudget> cache_budget;
  std::unique_ptr<retention::BuildLogs> log_retention;
  std::unique_ptr<retention::History> history_retention;
  std::unique_ptr<ManualChecks> manual_checks;
  std::unique_ptr<Hijacking> hijacking;
  std::unique_ptr<ArtifactStreams> artifacts;
  api::ChangeNotice notice;
  std::unique_ptr<api::Services> services;
  std::unique_ptr<api::Api> api;
  std::unique_ptr<http::Server> http;
  std::unique_ptr<TaskGroup> tasks;
};

Server::Server(Loop& loop, Logger log, ServerOptions options)
    : loop_(loop), log_(std::move(log)), options_(std::move(options)) {}

Server::~Server() = default;

int Server::port() const {
  return parts_->http->port();
}

Task<Result<void>> Server::Start() {
  parts_ = std::make_unique<Parts>();
  Parts& p = *parts_;
  const Executor executor = loop_.executor();
  p.timers = MakeSystemTimers(executor, p.clock);
  p.tasks = std::make_unique<TaskGroup>(executor, log_, "server");
  std::error_code error;
  fs::create_directories(options_.state_dir, error);
  // Others may pass, for root inside containers is nobody here; what is secret is 0600.
  fs::permissions(options_.state_dir, fs::perms(0711), error);
  // Before anything is read: a second server must not take this one's lease from it.
  auto lock = linux::TryLockFile(fs::path(options_.state_dir) / "lock");
  if (!lock) co_return std::unexpected(std::move(lock.error()).Context("state folder"));
  if (!*lock) {
    co_return Fail(ErrorKind::kConflict, "another server runs with the state folder " +
                                             options_.state_dir +
                                             ": stop it, or name another by --state-dir");
  }
  p.state_lock = std::move(*lock);
  for (const std::string& user : options_.local_users) {
    if (auto added = p.local_users.Add(user); !added) co_return added;
  }

  auto database = store::Database::Open({.url = options_.DatabaseUrl(),
                                         .api_connections = options_.api_max_conns,
                                         .engine_connections = options_.backend_max_conns},
                                        p.clock, log_);
  if (!database) co_return std::unexpected(std::move(database.error()).Context("database"));
  p.database = std::move(*database);
  p.database->Run(store::Pool::kApi, true, [&](store::Transaction& transaction) {
    store::EnsureMainTeam(transaction, MainTeamAuth(options_));
  });
  const bool shared_logs = !options_.build_log_dir.empty();
  p.logs = events::MakeFileLogStore(
      shared_logs ? fs::path(options_.build_log_dir) : fs::path(options_.state_dir) / "logs",
      executor, *p.timers, p.log_pool, log_, {.shared = shared_logs});

  // Everything that runs builds does so under this lease.
  const bool alone = p.database->dialect() == store::Dialect::kSqlite;
  p.lease = std::make_unique<store::LeaseKeeper>(
      *p.database, *p.timers, log_, NodeName(options_.state_dir), std::string(kRole),
      store::LeaseOptions{.renew = alone ? Duration::zero() : store::LeaseOptions().renew},
      store::LeaseKeeper::Events{.take_over =
                                     [](store::Transaction& transaction, const store::Lease& dead,
                                        const store::Lease& own) {
                                       store::TakeOverBuilds(transaction, dead.node,
                                                             {own.node, own.last_epoch});
                                       store::ReleaseClaimsOf(transaction, dead.node);
                                     },
                                 .taken_over = [this] { TakeUpBuilds(); },
                                 .let_go = [this] { return LetGo(); }});
  co_await p.lease->Acquire(p.tasks->stop_token());
  p.tasks->Spawn(p.lease->Run(p.tasks->stop_token()));

  p.feed = std::make_unique<store::ChangeFollower>(*p.database, executor, *p.timers, log_);
  p.fleet = std::make_unique<fleet::WorkerRegistry>(
      executor, *p.timers, *p.database, log_,
      fleet::WorkerRegistryOptions{.worker_version = std::string(protocol::kWorkerVersion)});
  co_await p.fleet->Start();
  p.worker = std::make_unique<LocalWorker>(executor, *p.timers, log_, options_);
  if (auto started = co_await p.worker->Start(); !started) {
    co_return std::unexpected(std::move(started.error()).Context("local worker"));
  }
  co_await p.fleet->Register(p.worker->Registration(), Duration::zero());

  AddComponents();
  p.id_tokens = std::make_unique<secrets::IdTokens>(*p.database, p.clock);
  p.id_tokens->SetIssuer(options_.external_url);
  p.var_sources = std::make_unique<secrets::VarSources>(*p.database, *p.id_tokens);
  p.sources = std::make_unique<engine::SourceFiller>(*p.var_sources);
  // Builds of nodes that died meanwhile are claimed under a later epoch than this one's first.
  const auto owner = [&lease = *p.lease] {
    return store::Owner{lease.lease().node, lease.lease().last_epoch};
  };
  const engine::EngineServices services{
      .executor = executor,
      .database = *p.database,
      .timers = *p.timers,
      .logs = *p.logs,
      .fleet = *p.fleet,
      .log = log_,
      .owner = owner,
      .external_url = options_.external_url,
      .image_metadata = p.image_metadata,
      .base_types = p.base_types,
      .gets = p.gets,
      .checks = p.checks_in_flight,
      .global_resources = options_.global_resources,
      .var_sources = p.var_sources.get(),
      .build_log_bytes_max = static_cast<std::uint64_t>(options_.max_build_log_size.bytes),
      .default_task_limits = DefaultTaskLimits(options_)};
  p.engine = std::make_unique<engine::Engine>(services, p.components->RunsOf("engine"));
  p.engine_control = std::make_unique<EngineControl>(*p.engine);
  p.check_runner = std::make_unique<engine::CheckRunner>(services, [&p] { p.collector->Notify(); });
  p.checker = std::make_unique<checking::Checker>(
      checking::Checker::Services{.executor = executor,
                                  .database = *p.database,
                                  .timers = *p.timers,
                                  .feed = *p.feed,
                                  .sources = *p.sources,
                                  .runner = *p.check_runner,
                                  .log = log_,
                                  .node = p.lease->lease().node,
                                  .ran = p.components->RunsOf("checker")},
      checking::Checker::Options{
          .interval = options_.resource_checking_interval,
          .webhook_interval = options_.resource_with_webhook_checking_interval,
          .timeout = options_.global_resource_check_timeout,
          .global_resources = options_.global_resources});
  p.planner = scheduling::MakePipelinePlanner({});
  p.scheduler = std::make_unique<scheduling::Scheduler>(
      scheduling::Scheduler::Services{.executor = executor,
                                      .database = *p.database,
                                      .timers = *p.timers,
                                      .feed = *p.feed,
                                      .planner = *p.planner,
                                      .starter = *p.engine_control,
                                      .checks = *p.checker,
                                      .owner = owner,
                                      .log = log_,
                                      .ran = p.components->RunsOf("scheduler")},
      kScheduling);
  p.collector =
      std::make_unique<fleet::Collector>(executor, *p.timers, *p.database, *p.fleet, log_,
                                         CollectionOf(options_), p.components->RunsOf("collector"));
  p.feed->Subscribe(
      [this](const std::vector<store::Change>& changes, bool) { OnChanges(changes); });
  co_await p.feed->Start();
  co_await p.components->Start(p.tasks->stop_token());
  co_await p.engine->TakeUp();
  co_await p.scheduler->Start();
  co_await p.checker->Start();
  p.tasks->Spawn(p.collector->Run(p.tasks->stop_token()));
  co_return co_await Serve();
}

void Server::AddComponents() {
  Parts& p = *parts_;
  p.components = std::make_unique<components::Registry>(loop_.executor(), *p.database, *p.timers,
                                                        log_, std::random_device()());
  const auto add = [&p](std::string name, Duration interval, std::function<void(bool)> set_paused) {
    p.components->Add({.name = std::move(name),
                       .role = std::string(kRole),
                       .interval = interval,
                       .set_paused = std::move(set_paused)});
  };
  add("scheduler", kScheduling.sweep, [&p](bool paused) { p.scheduler->SetPaused(paused); });
  add("checker", {}, [&p](bool paused) { p.checker->SetPaused(paused); });
  add("engine", {}, [&p](bool paused) { p.engine->SetPaused(paused); });
  add("collector", CollectionOf(options_).sweep_interval,
      [&p](bool paused) { p.collector->SetPaused(paused); });
  // One pass each: they are made before anything is triggered.
  p.log_retention = std::make_unique<retention::BuildLogs>(*p.database, *p.logs, *p.timers, log_,
                                                           LogRetentionOf(options_));
  p.history_retention =
      std::make_unique<retention::History>(*p.database, HistoryRetentionOf(options_));
  p.cache_budget = std::make_unique<fleet::CacheBudget>(
      *p.timers, *p.database, *p.fleet, log_, [&p] { p.collector->Notify(); },
      fleet::CacheBudgetOptions{.percent = options_.cache_budget});
  p.components->Add({.name = "cache-budget",
                     .role = std::string(kRole),
                     .interval = options_.gc_interval,
                     .run = [&p](std::stop_token stop) { return p.cache_budget->Run(stop); },
                     .shared = true});
  p.components->Add({.name = "log-retention",
                     .role = std::string(kRole),
                     .interval = options_.gc_interval,
                     .run = [&p](std::stop_token stop) { return p.log_retention->Run(stop); }});
  p.components->Add({.name = "history-retention",
                     .role = std::string(kRole),
                     .interval = options_.gc_interval,
                     .run = [&p](std::stop_token stop) { return p.history_retention->Run(stop); },
                     .shared = true});
  for (const std::string_view serving : {"api", "change-feed", "lease", "worker"})
    add(std::string(serving), {}, nullptr);
}

Task<Result<void>> Server::Serve() {
  Parts& p = *parts_;
  const Executor executor = loop_.executor();
  p.manual_checks = std::make_unique<ManualChecks>(*p.database, *p.engine);
  p.hijacking = std::make_unique<Hijacking>(*p.fleet);
  p.artifacts = std::make_unique<ArtifactStreams>(*p.fleet, *p.database, p.timers->clock());
  p.services = std::make_unique<api::Services>(
      api::Services{.database = *p.database,
                    .clock = p.clock,
                    .timers = *p.timers,
                    .executor = executor,
                    .log = log_,
                    .settings = {.cluster_name = options_.cluster_name,
                                 .secure_cookies = options_.cookie_secure,
                                 .token_lifetime = options_.auth_duration,
                                 .global_resources = options_.global_resources},
                    .local_users = p.local_users,
                    .logs = p.logs.get(),
                    .builds = p.engine_control.get(),
                    .checks = p.manual_checks.get(),
                    .hijack = p.hijacking.get(),
                    .volumes = p.artifacts.get(),
                    .changes = &p.notice,
                    .id_tokens = p.id_tokens.get(),
                    .files = &p.log_pool});
  p.api = std::make_unique<api::Api>(*p.services);
  co_await p.api->Start();
  p.http = http::Server::Make(executor, *p.timers, log_, {}, p.api->handler());
  const std::string host =
      options_.bind_ip.contains(':') ? "[" + options_.bind_ip + "]" : options_.bind_ip;
  if (auto listening = p.http->Listen(host + ":" + std::to_string(options_.bind_port));
      !listening) {
    co_return listening;
  }
  p.services->settings.external_url = options_.ExternalUrl(p.http->port());
  p.id_tokens->SetIssuer(p.services->settings.external_url);
  co_return Result<void>();
}

void Server::OnChanges(const std::vector<store::Change>& changes) {
  Parts& p = *parts_;
  p.notice.Notify();
  for (const store::Change& change : changes) {
    if (p.log_retention->Look(change)) p.components->Trigger("log-retention");
    if (change.kind == store::kinds::kBuildAborted) p.engine->Abort(BuildId{change.id});
    if (change.kind == store::kinds::kBuildFinished) {
      p.collector->Notify();
      p.logs->MarkEnded(BuildId{change.id});  // another node may have run it
    }
    if (change.kind == store::kinds::kPipelineDestroyed ||
        change.kind == store::kinds::kTeamDestroyed) {
      p.tasks->Spawn(DropDeletedBuilds());
    }
    if (change.kind == store::kWorkerChanged) p.tasks->Spawn(p.fleet->Refresh());
    if (components::Registry::Concerns(change.kind)) p.tasks->Spawn(ReloadComponents());
  }
}

Task<void> Server::ReloadComponents() {
  try {
    co_await parts_->components->Reload(parts_->tasks->stop_token());
  } catch (const Failure& failure) {
    log_.Warn("which components are paused could not be read: pause or unpause again",
              {{"error", failure.what()}});
  }
}

Task<void> Server::DropDeletedBuilds() {
  Parts& p = *parts_;
  co_await p.engine->DropDeleted(p.tasks->stop_token());
  // A build may have been making a container when its row went.
  p.collector->RequestSweep();
}

void Server::TakeUpBuilds() {
  if (parts_->engine) parts_->tasks->Spawn(parts_->engine->TakeUp());
}

Task<void> Server::LetGo() {
  log_.LogError("this node's builds are let go, for another may have taken them over");
  if (parts_->engine) co_await parts_->engine->LetGo();
}

Task<void> Server::Shutdown() {
  if (!parts_) co_return;
  Parts& p = *parts_;
  if (p.http) co_await p.http->Shutdown(kRequestGrace);
  if (p.checker) co_await p.checker->Stop();
  if (p.scheduler) co_await p.scheduler->Stop();
  if (p.engine) co_await p.engine->Release();
  if (p.feed) co_await p.feed->Stop();
  if (p.tasks) {
    p.tasks->RequestStop();
    co_await p.tasks->Join();
  }
  if (p.components) co_await p.components->Stop();
  if (p.fleet) co_await p.fleet->Close();
  if (p.worker) co_await p.worker->Shutdown();
  if (p.lease) co_await p.lease->Release({});
  if (p.logs) co_await p.logs->Close();
}

}  // namespace pinion::app
