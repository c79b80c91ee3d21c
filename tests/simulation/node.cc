#include "node.h"

#include <boost/asio/io_context.hpp>

#include "await_sites.h"
#include "store/builds.h"
#include "store/change_kinds.h"
#include "store/scopes.h"
#include "world.h"

namespace pinion::simulation {

using namespace std::chrono_literals;

/// The world's one database as this node reaches it: its own pools, its own faults.
class NodeDatabase final : public store::Database {
 public:
  NodeDatabase(World& world, Node& node) : Database(false), world_(world), node_(node) {}

  void Run(store::Pool pool, bool write, const Closure& work, std::stop_token stop) override {
    world_.RunTransaction(node_, pool, write, work, std::move(stop));
  }
  void OnChange(std::function<void()> look) override { node_.looks_.push_back(std::move(look)); }
  store::Dialect dialect() const override { return store::Dialect::kSqlite; }
  ThreadPool& threads(store::Pool pool) override {
    return *node_.sql_.at(static_cast<std::size_t>(pool));
  }
  std::int64_t statements(store::Pool) const override { return 0; }

 private:
  World& world_;
  Node& node_;
};

namespace {

class Starter final : public scheduling::BuildStarter {
 public:
  explicit Starter(engine::Engine& engine) : engine_(engine) {}
  void BuildStarted(BuildId build) override { engine_.Start(build); }
  void BuildErrored(BuildId build, const std::string& message) override {
    engine_.ReportError(build, message);
  }

 private:
  engine::Engine& engine_;
};

class PlainSources final : public checking::SourceFiller {
 public:
  Task<Json> FillIn(checking::SourceOwner, Json value, std::stop_token) override {
    co_return value;
  }
};

}  // namespace

Node::Node(World& world, int index, std::string name)
    : world_(world),
      index_(index),
      name_(std::move(name)),
      loop_("node"),
      timers_(world.clock()),
      database_(std::make_unique<NodeDatabase>(world, *this)),
      log_(world.LoggerOf(name_)),
      parts_(std::make_unique<Parts>()) {
  for (auto& pool : sql_)
    pool = std::make_unique<ThreadPool>("sql", 0, 100'000);
  log_pool_ = std::make_unique<ThreadPool>("logs", 0, 100'000);
}

Node::~Node() = default;

const store::Lease& Node::lease() const {
  return parts_->lease->lease();
}

void Node::Start() {
  SetCurrentNode(index_);
  parts_->tasks = std::make_unique<TaskGroup>(loop_.executor(), log_, "server");
  parts_->tasks->Spawn(TryToStart());
  SetCurrentNode(-1);
}

Task<void> Node::TryToStart() {
  try {
    co_await StartUp();
  } catch (const Failure&) {
    failed_ = true;
  }
}

// As app::Server::Start.
Task<void> Node::StartUp() {
  Parts& p = *parts_;
  const Executor executor = loop_.executor();
  p.logs = events::MakeFileLogStore("/logs", executor, timers_, *log_pool_, log_, {},
                                    world_.disk().Mount(mount_));
  p.lease = std::make_unique<store::LeaseKeeper>(
      *database_, timers_, log_, name_, "web",
      store::LeaseOptions{.renew = world_.alone() ? Duration::zero() : store::LeaseOptions().renew},
      store::LeaseKeeper::Events{.take_over =
                                     [](store::Transaction& transaction, const store::Lease& dead,
                                        const store::Lease& own) {
                                       store::TakeOverBuilds(transaction, dead.node,
                                                             {own.node, own.last_epoch});
                                       store::ReleaseClaimsOf(transaction, dead.node);
                                     },
                                 .taken_over =
                                     [this] {
                                       if (parts_->engine)
                                         parts_->tasks->Spawn(parts_->engine->TakeUp());
                                     },
                                 .lost = [this] { lease_lost_ = true; }});
  co_await p.lease->Acquire(p.tasks->stop_token());
  p.tasks->Spawn(p.lease->Run(p.tasks->stop_token()));

  p.feed = std::make_unique<store::ChangeFollower>(*database_, executor, timers_, log_);
  p.fleet = std::make_unique<fleet::WorkerRegistry>(
      executor, timers_, *database_, log_,
      fleet::WorkerRegistryOptions{.make_client = [this](const store::WorkerRow& row) {
        return MakeSimulatedClient(world_.WorkerNamed(row.name), world_, timers_);
      }});
  co_await p.fleet->Start();

  const auto owner = [&lease = *p.lease] {
    return store::Owner{lease.lease().node, lease.lease().last_epoch};
  };
  const engine::EngineServices services{.executor = executor,
                                        .database = *database_,
                                        .timers = timers_,
                                        .logs = *p.logs,
                                        .fleet = *p.fleet,
                                        .log = log_,
                                        .owner = owner,
                                        .external_url = "http://pinion",
                                        .image_metadata = p.image_metadata,
                                        .base_types = p.base_types,
                                        .gets = p.gets,
                                        .checks = p.checks_in_flight};
  p.engine = std::make_unique<engine::Engine>(services);
  p.starter = std::make_unique<Starter>(*p.engine);
  p.check_runner = std::make_unique<engine::CheckRunner>(services, [&p] { p.collector->Notify(); });
  p.sources = std::make_unique<PlainSources>();
  p.checker =
      std::make_unique<checking::Checker>(checking::Checker::Services{.executor = executor,
                                                                      .database = *database_,
                                                                      .timers = timers_,
                                                                      .feed = *p.feed,
                                                                      .sources = *p.sources,
                                                                      .runner = *p.check_runner,
                                                                      .log = log_,
                                                                      .node = name_},
                                          checking::Checker::Options{.timeout = 3min});
  p.planner = scheduling::MakePipelinePlanner({});
  p.scheduler = std::make_unique<scheduling::Scheduler>(
      scheduling::Scheduler::Services{.executor = executor,
                                      .database = *database_,
                                      .timers = timers_,
                                      .feed = *p.feed,
                                      .planner = *p.planner,
                                      .starter = *p.starter,
                                      .checks = *p.checker,
                                      .owner = owner,
                                      .log = log_},
      scheduling::Scheduler::Options{.sweep_parts = 4});
  // What is kept for a day by default is kept for minutes, so that a run sees its end.
  p.collector = std::make_unique<fleet::Collector>(
      executor, timers_, *database_, *p.fleet, log_,
      fleet::CollectorOptions{.containers = {.one_off_seconds = 60, .failed_seconds = 120},
                              .volumes = {.unused_cache_seconds = 300}});
  p.feed->Subscribe(
      [this](const std::vector<store::Change>& changes, bool) { OnChanges(changes); });
  co_await p.feed->Start();
  co_await p.engine->TakeUp();
  co_await p.scheduler->Start();
  co_await p.checker->Start();
  p.tasks->Spawn(p.collector->Run(p.tasks->stop_token()));
  started_ = true;
}

void Node::OnChanges(const std::vector<store::Change>& changes) {
  Parts& p = *parts_;
  for (const store::Change& change : changes) {
    if (change.kind == store::kinds::kBuildAborted) p.engine->Abort(BuildId{change.id});
    if (change.kind == store::kinds::kBuildFinished) {
      p.collector->Notify();
      p.logs->MarkEnded(BuildId{change.id});
    }
    if (change.kind == store::kWorkerChanged) p.tasks->Spawn(p.fleet->Refresh());
  }
}

void Node::BeginShutdown() {
  SetCurrentNode(index_);
  SpawnDetached(loop_.executor(), Shutdown());
  SetCurrentNode(-1);
}

// As app::Server::Shutdown.
Task<void> Node::Shutdown() {
  Parts& p = *parts_;
  if (p.checker) co_await p.checker->Stop();
  if (p.scheduler) co_await p.scheduler->Stop();
  if (p.engine) co_await p.engine->Release();
  if (p.feed) co_await p.feed->Stop();
  p.tasks->RequestStop();
  co_await p.tasks->Join();
  if (p.fleet) co_await p.fleet->Close();
  try {
    if (p.lease) co_await p.lease->Release({});
  } catch (const Failure&) {
    // It runs out by itself.
  }
  if (p.logs) co_await p.logs->Close();
  ended_ = true;
}

bool Node::Step() {
  SetCurrentNode(index_);
  const std::uint64_t choice = world_.random().Below(8);
  std::array<ThreadPool*, 4> pools = {sql_[0].get(), sql_[1].get(), sql_[2].get(), log_pool_.get()};
  bool done = false;
  const auto run_loop = [&] {
    loop_.context().restart();
    return loop_.context().poll_one() > 0;
  };
  if (choice < 4) done = pools[choice]->RunOne();
  if (!done) done = run_loop();
  for (std::size_t i = 0; !done && i < pools.size(); ++i)
    done = pools[(choice + i) % pools.size()]->RunOne();
  SetCurrentNode(-1);
  return done;
}

void Node::FireTimers() {
  SetCurrentNode(index_);
  timers_.FireDue();
  SetCurrentNode(-1);
}

void Node::Look() {
  for (const auto& look : looks_)
    look();
}

void Node::Spawn(Task<void> task) {
  SetCurrentNode(index_);
  parts_->tasks->Spawn(std::move(task));
  SetCurrentNode(-1);
}

}  // namespace pinion::simulation
