#include <gtest/gtest.h>

#include "fleet/cache_budget.h"
#include "fleet/collector.h"
#include "fleet/fake_worker.h"
#include "fleet/registry.h"
#include "store/testing.h"

namespace pinion::fleet {
namespace {

using namespace std::chrono_literals;
using store::Transaction;
using store::WorkerState;

/// A registry over a database of either kind, and fake workers.
class FleetTest : public store::testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    WorkerRegistryOptions options;
    options.containers_max = 2;
    options.sweep_interval = 5ms;
    options.worker_version = "3.0";
    registry_ =
        std::make_unique<WorkerRegistry>(loop_.executor(), *timers_, database(), Logger(), options);
    Run(registry_->Start());
    Write([](Transaction& t) {
      t.Execute("insert into teams (name) values ('main')");
      t.Execute("insert into teams (name) values ('other')");
    });
  }
  void TearDown() override {
    if (registry_) Run(registry_->Close());
    registry_.reset();
    for (auto& worker : fakes_)
      Run(worker->Shutdown());
    fakes_.clear();
    DatabaseTest::TearDown();
  }

  template <class T>
  T Run(Task<T> task) {
    return loop_.RunUntilDone(std::move(task));
  }
  void RunUntil(std::function<bool()> condition) {
    auto wait = [](Timers& timers, std::function<bool()> done) -> Task<void> {
      while (!done())
        co_await timers.Sleep(1ms, {});
    };
    Run(wait(*timers_, std::move(condition)));
  }

  static store::WorkerRow Row(std::string name) {
    store::WorkerRow row;
    row.name = std::move(name);
    row.platform = "linux";
    row.version = "3.1";
    row.garden_addr = "127.0.0.1:1";
    row.baggageclaim_url = "http://127.0.0.1:1";
    row.resource_types = {{"git", "/types/git", "1.0", false, false}};
    return row;
  }
  void Register(const store::WorkerRow& row, Duration ttl = 0ns) {
    Run(registry_->Register(row, ttl));
  }
  FakeWorker& StartFake(std::string name) {
    fakes_.push_back(std::make_unique<FakeWorker>(loop_.executor(), *timers_, true));
    store::WorkerRow row = Row(std::move(name));
    row.garden_addr = row.baggageclaim_url = fakes_.back()->url();
    Register(row);
    return *fakes_.back();
  }

  static PlacementRequest Linux(TeamId team = TeamId{1}) {
    PlacementRequest request;
    request.platform = "linux";
    request.team = team;
    return request;
  }
  Placement Choose(PlacementRequest request) {
    return Run(registry_->Choose(std::move(request), nullptr, {}));
  }
  std::string ChosenName(PlacementRequest request) {
    return Choose(std::move(request)).worker().name();
  }

  /// A step that waits for its place, and says when it has it.
  struct Step {
    std::optional<Placement> placement;
    int told = 0;
  };
  void Begin(TaskGroup& group, PlacementRequest request, Step& step, std::stop_token stop = {}) {
    auto wait = [](WorkerRegistry& registry, PlacementRequest wanted, Step& out,
                   std::stop_token token) -> Task<void> {
      Placement placement =
          co_await registry.Choose(std::move(wanted), [&out] { ++out.told; }, token);
      out.placement.emplace(std::move(placement));
    };
    group.Spawn(wait(*registry_, std::move(request), step, stop));
    loop_.Poll();
  }

  Loop loop_{"test"};
  SystemClock system_clock_;
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), system_clock_);
  std::unique_ptr<WorkerRegistry> registry_;
  std::vector<std::unique_ptr<FakeWorker>> fakes_;
};
PINION_FOR_EACH_DATABASE(FleetTest);

TEST_P(FleetTest, PlacesByPlatformTagsTeamTypeAndVersion) {
  Register(Row("plain"));
  store::WorkerRow tagged = Row("tagged");
  tagged.tags = {"gpu", "big"};
  Register(tagged);
  store::WorkerRow windows = Row("windows");
  windows.platform = "windows";
  Register(windows);
  store::WorkerRow owned = Row("owned");
  owned.team = TeamId{2};
  Register(owned);
  store::WorkerRow typed = Row("typed");
  typed.tags = {"special"};
  typed.resource_types.push_back({"s3", "/types/s3", "2", true, false});
  Register(typed);
  store::WorkerRow old = Row("old");
  old.version = "2.9";
  Register(old);

  EXPECT_EQ(ChosenName(Linux()), "plain");
  EXPECT_EQ(ChosenName(Linux(TeamId{2})), "owned");
  PlacementRequest request = Linux();
  request.tags = {"gpu"};
  EXPECT_EQ(ChosenName(request), "tagged");
  request = {};
  request.platform = "windows";
  EXPECT_EQ(ChosenName(request), "windows");
  request = Linux();
  request.tags = {"special"};
  request.resource_type = "s3";
  EXPECT_EQ(ChosenName(request), "typed");
  EXPECT_TRUE(registry_->BaseType("typed", "s3")->privileged);
  EXPECT_EQ(registry_->BaseType("plain", "s3"), nullptr);
}

TEST_P(FleetTest, PrefersLocalVolumesThenTheLeastLoad) {
  Register(Row("a"));
  Register(Row("b"));
  PlacementRequest request = Linux();
  request.local_volumes = {{"b", 2}};
  const Placement first = Choose(request);
  EXPECT_EQ(first.worker().name(), "b");
  const Placement second = Choose(Linux());
  EXPECT_EQ(second.worker().name(), "a");
  request = Linux();
  request.worker_name = "b";
  EXPECT_EQ(ChosenName(request), "b");
}

TEST_P(FleetTest, WaitsVisiblyUntilAWorkerComes) {
  TaskGroup group(loop_.executor(), Logger(), "steps");
  Step step;
  PlacementRequest request = Linux();
  request.tags = {"gpu"};
  Begin(group, request, step);
  EXPECT_EQ(step.told, 1);
  Register(Row("plain"));
  loop_.Poll();
  ASSERT_FALSE(step.placement);
  ASSERT_EQ(registry_->waiting().size(), 1U);
  EXPECT_EQ(registry_->waiting()[0].reason, "no running worker has platform 'linux', tags 'gpu'");
  store::WorkerRow row = Row("tagged");
  row.tags = {"gpu"};
  Register(row);
  Run(group.Join());
  EXPECT_EQ(step.placement->worker().name(), "tagged");
  EXPECT_TRUE(registry_->waiting().empty());
  EXPECT_EQ(step.told, 1);
}

TEST_P(FleetTest, TeamsTakeTurnsWhenWorkersAreFull) {
  Register(Row("w"));
  std::optional<Placement> first(Choose(Linux()));
  std::optional<Placement> second(Choose(Linux()));
  TaskGroup group(loop_.executor(), Logger(), "steps");
  Step steps[4];
  Begin(group, Linux(TeamId{1}), steps[0]);
  Begin(group, Linux(TeamId{1}), steps[1]);
  Begin(group, Linux(TeamId{2}), steps[2]);
  EXPECT_EQ(registry_->waiting()[0].reason, "all workers that fit are full");
  first.reset();
  loop_.Poll();
  second.reset();
  loop_.Poll();
  EXPECT_TRUE(steps[0].placement);
  EXPECT_FALSE(steps[1].placement);
  EXPECT_TRUE(steps[2].placement);
  // Who stops waiting frees nothing and holds nothing up.
  std::stop_source stop;
  Begin(group, Linux(TeamId{2}), steps[3], stop.get_token());
  stop.request_stop();
  steps[0].placement.reset();
  Run(group.Join());
  EXPECT_TRUE(steps[1].placement);
  EXPECT_FALSE(steps[3].placement);
  EXPECT_TRUE(registry_->waiting().empty());
}

TEST_P(FleetTest, AStepWithAContainerWaitsForItsWorkerAndFailsWhenThatIsGone) {
  Register(Row("w"));
  Write([](Transaction& t) { t.Execute("update workers set state = 'stalled'"); });
  Run(registry_->Refresh());
  TaskGroup group(loop_.executor(), Logger(), "steps");
  Step step;
  PlacementRequest request = Linux();
  request.worker_name = "w";
  Begin(group, request, step);
  EXPECT_EQ(registry_->waiting()[0].reason, "worker 'w', which has the container, is stalled");
  Run(registry_->Heartbeat("w", 0ns, 0, 0));
  Run(group.Join());
  EXPECT_TRUE(step.placement);
  request.worker_name = "gone";
  EXPECT_THROW(Choose(request), Failure);
}

TEST_P(FleetTest, ExpiredWorkersStallByThemselvesAndComeBack) {
  Register(Row("w"), 60s);
  EXPECT_TRUE(registry_->Client("w"));
  Write([](Transaction& t) { t.Execute("update workers set expires = 5"); });
  RunUntil([&] { return registry_->workers().at("w").state == WorkerState::kStalled; });
  EXPECT_TRUE(registry_->Client("w"));  // its containers are still somebody's
  EXPECT_TRUE(Run(registry_->Heartbeat("w", 60s, 1, 2)));
  EXPECT_EQ(registry_->workers().at("w").state, WorkerState::kRunning);
  EXPECT_FALSE(Run(registry_->Heartbeat("stranger", 60s, 1, 2)));
}

TEST_P(FleetTest, LandedAndRetiredWorkersTakeNoWork) {
  Register(Row("a"));
  Register(Row("b"));
  EXPECT_TRUE(Run(registry_->Land("a")));
  EXPECT_TRUE(Run(registry_->Retire("b")));
  EXPECT_FALSE(Run(registry_->Retire("c")));
  RunUntil([&] {
    return registry_->workers().size() == 1 &&
           registry_->workers().at("a").state == WorkerState::kLanded;
  });
  EXPECT_FALSE(registry_->Client("a"));
  EXPECT_TRUE(Run(registry_->Prune("a")));
  EXPECT_TRUE(registry_->workers().empty());
}

TEST_P(FleetTest, AnotherAddressIsAnotherClientAndTheOldOneStaysGood) {
  StartFake("w");
  const std::shared_ptr<WorkerClient> before = registry_->Client("w");
  FakeWorker& second = StartFake("w");
  second.volumes["v"];
  EXPECT_NE(registry_->Client("w"), before);
  EXPECT_TRUE(Run(before->ListVolumes({})).empty());
  EXPECT_EQ(Run(registry_->Client("w")->ListVolumes({})).size(), 1U);
}

// --- Collection
// -------------------------------------------------------------------------------------

class CollectorTest : public FleetTest {
 protected:
  void SetUp() override {
    FleetTest::SetUp();
    if (IsSkipped()) return;
    fake_ = &StartFake("w");
    CollectorOptions options;
    options.shortest_pause = 1ms;
    options.longest_pause = 5ms;
    options.sweep_interval = 20ms;
    options.destroy_timeout = 50ms;
    options.at_once = 4;
    collector_ = std::make_unique<Collector>(loop_.executor(), *timers_, database(), *registry_,
                                             Logger(), options);
    group_ = std::make_unique<TaskGroup>(loop_.executor(), Logger(), "collector");
  }
  void TearDown() override {
    if (group_) {
      group_->RequestStop();
      Run(group_->Join());
    }
    collector_.reset();
    FleetTest::TearDown();
  }
  void Start() { group_->Spawn(collector_->Run(group_->stop_token())); }

  /// A container with a volume, of a build with this status.
  void Add(const std::string& handle, std::string_view status) {
    fake_->containers[handle];
    fake_->volumes[handle + "-volume"];
    Write([&](Transaction& t) {
      const auto build = t.QueryOne(
          "insert into builds (name, team_id, status, create_time, end_time) "
          "values ($1, 1, $2, 0, 1) returning id",
          {handle, status});
      store::ContainerRow container;
      container.handle = handle;
      container.worker_name = "w";
      container.build = build->IdAt<BuildId>(0);
      container.type = "task";
      store::CreateContainer(t, container);
      store::SetContainerCreated(t, handle);
      store::VolumeRow volume;
      volume.handle = handle + "-volume";
      volume.worker_name = "w";
      volume.type = store::volume_types::kContainer;
      volume.container_handle = handle;
      store::CreateVolume(t, volume);
      store::SetVolumeCreated(t, volume.handle);
    });
  }
  std::int64_t Rows(std::string_view table) {
    return Read([&](Transaction& t) {
      return t.QueryOne("select count(*) from " + std::string(table))->Integer(0);
    });
  }

  FakeWorker* fake_ = nullptr;
  std::unique_ptr<Collector> collector_;
  std::unique_ptr<TaskGroup> group_;
};
PINION_FOR_EACH_DATABASE(CollectorTest);

TEST_P(CollectorTest, CollectsContainersOfEndedBuildsThenTheirVolumes) {
  Add("running", "started");
  for (int i = 0; i < 20; ++i)
    Add("ended" + std::to_string(i), "succeeded");
  Start();
  RunUntil([&] { return fake_->volumes.size() == 1; });
  RunUntil([&] { return Rows("volumes") == 1 && Rows("containers") == 1; });
  EXPECT_TRUE(fake_->containers.contains("running"));
  EXPECT_TRUE(fake_->volumes.contains("running-volume"));
  // At least: a worker's list that is older than the destruction brings some back once, to no harm.
  EXPECT_GE(collector_->numbers().destroyed, 40);
  // Told of the end, it does not wait for the next sweep to begin.
  Write([](Transaction& t) { t.Execute("update builds set status = 'succeeded'"); });
  collector_->Notify();
  RunUntil([&] { return fake_->containers.empty() && fake_->volumes.empty(); });
}

TEST_P(CollectorTest, AStuckContainerHoldsUpNoOther) {
  for (int i = 0; i < 10; ++i) {
    fake_->stuck.insert("stuck" + std::to_string(i));
    Add("stuck" + std::to_string(i), "failed");
  }
  for (int i = 0; i < 10; ++i)
    Add("fine" + std::to_string(i), "failed");
  Start();
  RunUntil([&] { return fake_->destroyed.size() >= 20; });
  EXPECT_EQ(fake_->containers.size(), 10U);
  EXPECT_GT(collector_->numbers().failed, 0);
  fake_->stuck.clear();
  RunUntil([&] { return fake_->containers.empty() && fake_->volumes.empty(); });
  RunUntil([&] { return Rows("containers") == 0 && Rows("volumes") == 0; });
}

TEST_P(CollectorTest, DestroysWhatNobodyKnowsAndForgetsWhatIsMissing) {
  fake_->containers["orphan"];
  fake_->volumes["orphan-volume"];
  Add("lost", "started");
  fake_->containers.erase("lost");
  Write([](Transaction& t) { t.Execute("update containers set created_at = 5"); });
  Start();
  RunUntil([&] { return !fake_->containers.contains("orphan") && fake_->volumes.size() == 1; });
  RunUntil([&] {
    return Read(
        [](Transaction& t) { return store::FindContainer(t, "lost")->missing_since.has_value(); });
  });
  Write([](Transaction& t) { t.Execute("update containers set missing_since = 5"); });
  // Its volume goes with it.
  RunUntil([&] { return Rows("containers") == 0 && fake_->volumes.empty(); });
}

TEST_P(CollectorTest, ParentsOfCopiesGoRightAfterThem) {
  // A chain, whose rows do not tell of it: each try of a parent would be later than the one before.
  constexpr int kCount = 12;
  for (int i = 0; i < kCount; ++i) {
    const std::string handle = "c" + std::to_string(i);
    Add(handle, "succeeded");
    if (i > 0) fake_->copy_of[handle + "-volume"] = "c" + std::to_string(i - 1) + "-volume";
  }
  CollectorOptions options;
  options.shortest_pause = 1ms;
  options.longest_pause = std::chrono::hours(1);
  options.sweep_interval = std::chrono::hours(1);
  collector_ = std::make_unique<Collector>(loop_.executor(), *timers_, database(), *registry_,
                                           Logger(), options);
  const SteadyTime begun = system_clock_.Steady();
  Start();
  RunUntil([&] { return Rows("volumes") == 0; });
  // Doubling pauses alone would take 2^12 ms.
  EXPECT_LT(system_clock_.Steady() - begun, 3s);
}

TEST_P(CollectorTest, GoesAtOnceWhenItIsNobodysAnyMore) {
  Add("mine", "started");
  CollectorOptions options;
  options.shortest_pause = 1ms;
  options.sweep_interval = std::chrono::hours(1);
  collector_ = std::make_unique<Collector>(loop_.executor(), *timers_, database(), *registry_,
                                           Logger(), options);
  Start();
  RunUntil([&] { return collector_->numbers().rounds == 1; });
  // As with its pipeline; and something came to be of which no row tells.
  Write([](Transaction& t) { t.Execute("delete from builds"); });
  fake_->containers["late"];
  collector_->RequestSweep();
  RunUntil([&] { return fake_->containers.empty() && fake_->volumes.empty(); });
  RunUntil([&] { return Rows("containers") == 0 && Rows("volumes") == 0; });
}

TEST_P(CollectorTest, UnusedCachesGoWhileTheDiskIsTooFull) {
  Write([](Transaction& t) {
    const auto build = t.QueryOne(
        "insert into builds (name, team_id, status, create_time) values ('b', 1, 'started', 0) "
        "returning id");
    for (int i = 0; i < 20; ++i) {
      const std::string handle = "cache" + std::to_string(i);
      const auto cache =
          store::UseResourceCache(t, handle, "{}", i == 0 ? build->IdAt<BuildId>(0) : BuildId{});
      t.Execute("update resource_caches set last_used = $2 where id = $1", {cache.id, i});
      store::VolumeRow volume;
      volume.handle = handle;
      volume.worker_name = "w";
      volume.type = store::volume_types::kResource;
      volume.resource_cache = cache.id;
      store::CreateVolume(t, volume);
      store::SetVolumeCreated(t, handle);
    }
  });
  int evictions = 0;
  CacheBudget budget(*timers_, database(), *registry_, Logger(), [&] { ++evictions; },
                     {.percent = 80});
  Run(budget.Run({}));  // a worker that does not tell
  fake_->disk = R"({"total_bytes":1000000,"available_bytes":200000})";
  Run(budget.Run({}));
  EXPECT_EQ(evictions, 0);
  fake_->disk = R"({"total_bytes":1000000,"available_bytes":190000})";
  Run(budget.Run({}));
  EXPECT_EQ(evictions, 1);
  const auto state = [&](const std::string& handle) {
    return Read([&](Transaction& t) { return store::FindVolume(t, handle)->state; });
  };
  EXPECT_EQ(state("cache0"), store::ResidentState::kCreated);  // a build uses it
  EXPECT_EQ(state("cache1"), store::ResidentState::kDestroying);
  EXPECT_EQ(state("cache8"), store::ResidentState::kDestroying);
  EXPECT_EQ(state("cache9"), store::ResidentState::kCreated);
  Run(budget.Run({}));
  Run(budget.Run({}));
  Run(budget.Run({}));
  EXPECT_EQ(evictions, 3);  // then nothing unused was left
  EXPECT_EQ(state("cache0"), store::ResidentState::kCreated);
}

TEST_P(CollectorTest, LeavesStalledWorkersAlone) {
  Add("c", "succeeded");
  Write([](Transaction& t) { t.Execute("update workers set state = 'stalled'"); });
  Run(registry_->Refresh());
  Start();
  RunUntil([&] { return collector_->numbers().rounds > 3; });
  EXPECT_TRUE(fake_->destroyed.empty());
  Run(registry_->Heartbeat("w", 0ns, 0, 0));
  RunUntil([&] { return fake_->destroyed.size() == 2; });
}

}  // namespace
}  // namespace pinion::fleet
