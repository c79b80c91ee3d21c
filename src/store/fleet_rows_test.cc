#include <gtest/gtest.h>

#include "store/artifacts.h"
#include "store/testing.h"
#include "store/volumes.h"
#include "store/workers.h"

namespace pinion::store {
namespace {

class FleetRowsTest : public testing::DatabaseTest {
 protected:
  void SetUp() override {
    DatabaseTest::SetUp();
    if (IsSkipped()) return;
    Write([](Transaction& t) {
      t.Execute("insert into teams (name) values ('main')");
      t.Execute(
          "insert into pipelines (team_id, name, config, config_version, last_updated) "
          "values (1, 'p', '{}', 1, 0)");
      t.Execute("insert into jobs (pipeline_id, name, config) values (1, 'j', '{}')");
      RegisterWorker(t, Worker("w"), 0);
    });
  }

  static WorkerRow Worker(std::string name) {
    WorkerRow worker;
    worker.name = std::move(name);
    worker.platform = "linux";
    worker.tags = {"a", "b"};
    worker.garden_addr = "10.0.0.1:7777";
    worker.baggageclaim_url = "http://10.0.0.1:7788";
    worker.resource_types = {{"git", "/types/git", "1.2", true, false}};
    worker.version = "3.0";
    return worker;
  }

  /// A build of job 1, or a one-off build; ended `ago` seconds ago.
  static BuildId Build(Transaction& t, std::string_view status, bool of_job, std::int64_t ago = 0) {
    const auto row = t.QueryOne(
        "insert into builds (name, team_id, job_id, status, create_time, end_time) "
        "values ($1, 1, $2, $3, 0, $4) returning id",
        {std::to_string(++names_), of_job ? Param(1) : Param(nullptr), status, t.now() - ago});
    return row->IdAt<BuildId>(0);
  }

  static ContainerRow Container(std::string handle, BuildId build) {
    ContainerRow container;
    container.handle = std::move(handle);
    container.worker_name = "w";
    container.team = TeamId{1};
    container.build = build;
    container.plan_id = "3";
    container.step_name = "unit";
    container.type = "task";
    container.metadata.job_name = "j";
    return container;
  }

  static VolumeRow Volume(std::string handle, std::string_view type) {
    VolumeRow volume;
    volume.handle = std::move(handle);
    volume.worker_name = "w";
    volume.type = type;
    return volume;
  }

  std::string ContainerState(std::string_view handle) {
    return Read([&](Transaction& t) {
      const auto row = FindContainer(t, handle);
      return row ? std::string(Name(row->state)) : "gone";
    });
  }
  std::string VolumeState(std::string_view handle) {
    return Read([&](Transaction& t) {
      const auto row = FindVolume(t, handle);
      return row ? std::string(Name(row->state)) : "gone";
    });
  }

  static inline int names_ = 0;
};
PINION_FOR_EACH_DATABASE(FleetRowsTest);

TEST_P(FleetRowsTest, AWorkerIsReadAsItWasRegistered) {
  const auto worker = Read([](Transaction& t) { return FindWorker(t, "w"); });
  EXPECT_EQ(worker, Worker("w"));
  EXPECT_EQ(Read([](Transaction& t) { return ListWorkers(t); }).size(), 1U);
}

TEST_P(FleetRowsTest, AnExpiredWorkerStallsAndAHeartbeatWakesIt) {
  Write([](Transaction& t) {
    RegisterWorker(t, Worker("old"), -5);
    WorkerRow ephemeral = Worker("passing");
    ephemeral.ephemeral = true;
    RegisterWorker(t, ephemeral, -5);
    EXPECT_EQ(SweepWorkers(t), 2);
    EXPECT_EQ(FindWorker(t, "old")->state, WorkerState::kStalled);
    EXPECT_FALSE(FindWorker(t, "passing"));
    EXPECT_EQ(SweepWorkers(t), 0);
    const auto woken = HeartbeatWorker(t, "old", 60, 3, 4);
    EXPECT_EQ(woken->state, WorkerState::kRunning);
    EXPECT_EQ(woken->active_containers, 3);
    EXPECT_EQ(*woken->expires, t.now() + 60);
    EXPECT_FALSE(HeartbeatWorker(t, "nobody", 60, 0, 0));
  });
}

TEST_P(FleetRowsTest, LandingWaitsForBuildsThatMustNotBeInterrupted) {
  Write([](Transaction& t) {
    const BuildId build = Build(t, "started", true);
    CreateContainer(t, Container("c", build));
    EXPECT_TRUE(LandWorker(t, "w"));
    EXPECT_FALSE(LandWorker(t, "nobody"));
    SweepWorkers(t);
    EXPECT_EQ(FindWorker(t, "w")->state, WorkerState::kLanding);
    EXPECT_EQ(HeartbeatWorker(t, "w", 60, 0, 0)->state, WorkerState::kLanding);
    t.Execute("update jobs set config = $1", {R"({"name":"j","interruptible":true})"});
    SweepWorkers(t);
    EXPECT_EQ(FindWorker(t, "w")->state, WorkerState::kLanded);
    EXPECT_EQ(FindWorker(t, "w")->garden_addr, "");
    RegisterWorker(t, Worker("w"), 0);
    EXPECT_EQ(FindWorker(t, "w")->state, WorkerState::kRunning);
    EXPECT_TRUE(RetireWorker(t, "w"));
    SweepWorkers(t);
    EXPECT_FALSE(FindWorker(t, "w"));
    EXPECT_FALSE(FindContainer(t, "c"));
  });
}

TEST_P(FleetRowsTest, ARunningWorkerIsNotPrunedAndANameIsNotTakenOver) {
  EXPECT_THROW(Write([](Transaction& t) { PruneWorker(t, "w"); }), Failure);
  EXPECT_THROW(Write([](Transaction& t) {
                 WorkerRow other = Worker("w");
                 other.team = TeamId{1};
                 RegisterWorker(t, other, 0);
               }),
               Failure);
  Write([](Transaction& t) {
    RetireWorker(t, "w");
    EXPECT_TRUE(PruneWorker(t, "w"));
    EXPECT_FALSE(PruneWorker(t, "w"));
  });
}

TEST_P(FleetRowsTest, CreatingAContainerTwiceIsFindingIt) {
  Write([](Transaction& t) {
    const BuildId build = Build(t, "started", true);
    RegisterWorker(t, Worker("w2"), 0);
    EXPECT_EQ(CreateContainer(t, Container("c", build)).state, ResidentState::kCreating);
    EXPECT_TRUE(SetContainerCreated(t, "c"));
    ContainerRow elsewhere = Container("c", build);
    elsewhere.worker_name = "w2";
    const ContainerRow known = CreateContainer(t, elsewhere);
    EXPECT_EQ(known.worker_name, "w");
    EXPECT_EQ(known.state, ResidentState::kCreated);
    EXPECT_EQ(known.metadata.job_name, "j");
    EXPECT_EQ(FindStepContainer(t, build, "3", "")->handle, "c");
    EXPECT_FALSE(FindStepContainer(t, build, "4", ""));
    EXPECT_EQ(ListBuildContainers(t, build).size(), 1U);
    EXPECT_EQ(ListContainers(t, TeamId{1}).size(), 1U);
    EXPECT_TRUE(SetContainerDestroying(t, "c"));
    EXPECT_FALSE(SetContainerCreated(t, "c"));
    EXPECT_FALSE(SetContainerHijacked(t, "c"));
    EXPECT_FALSE(FindStepContainer(t, build, "3", ""));
  });
}

TEST_P(FleetRowsTest, ContainersStayAsLongAsSomebodyMayLookIntoThem) {
  Write([](Transaction& t) {
    CreateContainer(t, Container("running", Build(t, "started", true)));
    CreateContainer(t, Container("succeeded", Build(t, "succeeded", true)));
    CreateContainer(t, Container("failed-before", Build(t, "failed", true)));
    const BuildId last = Build(t, "failed", true);
    CreateContainer(t, Container("failed-last", last));
    t.Execute("update jobs set latest_completed_build_id = $1", {last});
    CreateContainer(t, Container("one-off-new", Build(t, "succeeded", false, 10)));
    CreateContainer(t, Container("one-off-old", Build(t, "failed", false, 1000)));
    CreateContainer(t, Container("hijacked", Build(t, "succeeded", true)));
    SetContainerCreated(t, "hijacked");
    SetContainerHijacked(t, "hijacked");
    CreateContainer(t, Container("nobodys", BuildId{}));
    EXPECT_EQ(MarkUnneededContainers(t, {}), 4);
  });
  for (const char* kept : {"running", "failed-last", "one-off-new"}) {
    EXPECT_EQ(ContainerState(kept), "creating") << kept;
  }
  EXPECT_EQ(ContainerState("hijacked"), "created");
  for (const char* gone : {"succeeded", "failed-before", "one-off-old", "nobodys"}) {
    EXPECT_EQ(ContainerState(gone), "destroying") << gone;
  }
  Write([](Transaction& t) {
    EXPECT_EQ(ListDoomedContainers(t).size(), 4U);
    EXPECT_EQ(ListDestroyingContainers(t, "w").size(), 4U);
    // A newer build ended: the last one's turn.
    t.Execute("update jobs set latest_completed_build_id = $1", {Build(t, "succeeded", true)});
    MarkUnneededContainers(t, {});
    ContainerRetention soon;
    soon.one_off_seconds = 5;
    soon.hijacked_seconds = -1;
    MarkUnneededContainers(t, soon);
  });
  for (const char* gone : {"failed-last", "one-off-new", "hijacked"}) {
    EXPECT_EQ(ContainerState(gone), "destroying") << gone;
  }
}

TEST_P(FleetRowsTest, FailedContainersGoAfterTheirTimeIfThereIsOne) {
  Write([](Transaction& t) {
    const BuildId last = Build(t, "failed", true, 100);
    CreateContainer(t, Container("c", last));
    t.Execute("update jobs set latest_completed_build_id = $1", {last});
    EXPECT_EQ(MarkUnneededContainers(t, {}), 0);
    ContainerRetention retention;
    retention.failed_seconds = 200;
    EXPECT_EQ(MarkUnneededContainers(t, retention), 0);
    retention.failed_seconds = 50;
    EXPECT_EQ(MarkUnneededContainers(t, retention), 1);
  });
}

TEST_P(FleetRowsTest, ReportsFindWhatIsMissingAndWhatNobodyKnows) {
  Write([](Transaction& t) {
    const BuildId build = Build(t, "started", true);
    for (const char* handle : {"here", "lost", "new", "going", "begun"}) {
      CreateContainer(t, Container(handle, build));
      if (handle != std::string_view("begun")) SetContainerCreated(t, handle);
    }
    SetContainerDestroying(t, "going");
    t.Execute("update containers set created_at = $1 where handle <> 'new'", {t.now() - 100});
    EXPECT_EQ(ReportContainers(t, "w", {"here", "unknown"}, t.now() - 1), 1);
    EXPECT_FALSE(FindContainer(t, "here")->missing_since);
    EXPECT_TRUE(FindContainer(t, "lost")->missing_since);
    EXPECT_FALSE(FindContainer(t, "new")->missing_since);
    EXPECT_FALSE(FindContainer(t, "begun")->missing_since);
    EXPECT_FALSE(FindContainer(t, "going"));
    EXPECT_EQ(FindContainer(t, "unknown")->state, ResidentState::kDestroying);
    ContainerRetention retention;
    retention.missing_seconds = -1;
    EXPECT_EQ(MarkUnneededContainers(t, retention), 1);
    EXPECT_FALSE(FindContainer(t, "lost"));
    // It was seen again in time.
    t.Execute("update containers set missing_since = 5 where handle = 'here'");
    ReportContainers(t, "w", {"here"}, t.now());
    EXPECT_FALSE(FindContainer(t, "here")->missing_since);
    EXPECT_EQ(ReportContainers(t, "forgotten worker", {"x"}, t.now()), 0);
  });
}

TEST_P(FleetRowsTest, AVolumeLivesWithItsContainer) {
  Write([](Transaction& t) {
    CreateContainer(t, Container("c", Build(t, "started", true)));
    VolumeRow volume = Volume("v", volume_types::kContainer);
    volume.container_handle = "c";
    volume.path = "/tmp/build";
    volume.team = TeamId{1};
    CreateVolume(t, volume);
    EXPECT_TRUE(SetVolumeCreated(t, "v"));
    CreateVolume(t, volume);
    EXPECT_EQ(FindVolume(t, "v")->state, ResidentState::kCreated);
    EXPECT_EQ(ListContainerVolumes(t, "c").size(), 1U);
    const auto listed = ListVolumes(t, TeamId{1});
    ASSERT_EQ(listed.size(), 1U);
    EXPECT_EQ(listed[0].step_name, "unit");
    EXPECT_EQ(listed[0].metadata.job_name, "j");
    EXPECT_TRUE(ListVolumes(t, TeamId{2}).empty());
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 0);
    DeleteContainer(t, "c");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    EXPECT_EQ(ListDoomedVolumes(t), (std::vector<Doomed>{{"w", "v"}}));
  });
}

TEST_P(FleetRowsTest, AParentWaitsForItsCopies) {
  Write([](Transaction& t) {
    CreateVolume(t, Volume("parent", volume_types::kContainer));
    SetVolumeCreated(t, "parent");
    VolumeRow child = Volume("child", volume_types::kContainer);
    child.parent_handle = "parent";
    CreateVolume(t, child);
    SetVolumeCreated(t, "child");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    EXPECT_EQ(ListDoomedVolumes(t), (std::vector<Doomed>{{"w", "child"}}));
    DeleteVolume(t, "child");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    EXPECT_EQ(ListDoomedVolumes(t), (std::vector<Doomed>{{"w", "parent"}}));
  });
}

TEST_P(FleetRowsTest, AResourceCacheIsOnePerWorkerAndLivesWhileItIsUsed) {
  Write([](Transaction& t) {
    const BuildId build = Build(t, "started", true);
    const auto cache = UseResourceCache(t, "key", R"({"ref":"1"})", build);
    EXPECT_EQ(UseResourceCache(t, "key", R"({"ref":"1"})", build).id, cache.id);
    SetResourceCacheMetadata(t, cache.id, "[1]");
    EXPECT_EQ(UseResourceCache(t, "key", "", build).metadata, "[1]");
    for (const char* handle : {"first", "second"}) {
      CreateVolume(t, Volume(handle, volume_types::kContainer));
      EXPECT_FALSE(SetVolumeResourceCache(t, handle, cache.id));  // not made yet
      SetVolumeCreated(t, handle);
    }
    EXPECT_TRUE(SetVolumeResourceCache(t, "first", cache.id));
    EXPECT_FALSE(SetVolumeResourceCache(t, "second", cache.id));
    const auto found = FindResourceCacheVolumes(t, cache.id);
    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].handle, "first");
    VolumeRow third = Volume("third", volume_types::kResource);
    third.resource_cache = cache.id;
    EXPECT_THROW(CreateVolume(t, third), Failure);

    VolumeRetention unused_goes_at_once;
    unused_goes_at_once.unused_cache_seconds = -1;
    EXPECT_EQ(MarkUnneededVolumes(t, unused_goes_at_once), 1);  // the second
    EXPECT_EQ(FindVolume(t, "first")->state, ResidentState::kCreated);
    t.Execute("update builds set status = 'succeeded'");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 0);
    EXPECT_EQ(MarkUnneededVolumes(t, unused_goes_at_once), 1);
    EXPECT_EQ(FindVolume(t, "first")->state, ResidentState::kDestroying);
  });
}

TEST_P(FleetRowsTest, AnUploadsVolumeGoesRightAfterItsArtifactOrWhenNobodyFillsItAnyMore) {
  Write([](Transaction& t) {
    CreateVolume(t, Volume("kept", volume_types::kArtifact));
    SetVolumeCreated(t, "kept");
    CreateArtifact(t, TeamId{1}, "", BuildId{}, "w", "kept");
    CreateVolume(t, Volume("filling", volume_types::kArtifact));
    CreateVolume(t, Volume("left", volume_types::kArtifact));
    t.Execute("update volumes set created_at = created_at - 1000 where state = 'creating'");
    KeepMaking(t, "filling");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    EXPECT_EQ(ListDoomedVolumes(t), (std::vector<Doomed>{{"w", "left"}}));
    EXPECT_FALSE(SetVolumeCreated(t, "left"));
    t.Execute("delete from artifacts");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    EXPECT_EQ(FindVolume(t, "kept")->state, ResidentState::kDestroying);
    EXPECT_EQ(FindVolume(t, "filling")->state, ResidentState::kCreating);
  });
}

TEST_P(FleetRowsTest, ContainersAndVolumesOutliveWhatTheyWereMadeFor) {
  Write([](Transaction& t) {
    const BuildId build = Build(t, "started", true);
    CreateContainer(t, Container("c", build));
    SetContainerCreated(t, "c");
    VolumeRow volume = Volume("v", volume_types::kContainer);
    volume.container_handle = "c";
    volume.team = TeamId{1};
    CreateVolume(t, volume);
    SetVolumeCreated(t, "v");
    CreateVolume(t, Volume("cache", volume_types::kContainer));
    SetVolumeCreated(t, "cache");
    EXPECT_TRUE(SetVolumeTaskCache(t, "cache", TaskCacheKey(JobId{1}, "unit", "cache")));
    MarkUnneededContainers(t, {});
    MarkUnneededVolumes(t, {});
    EXPECT_TRUE(ListDoomedContainers(t).empty() && ListDoomedVolumes(t).empty());
    t.Execute("delete from teams");  // with pipelines, jobs and builds
    MarkUnneededContainers(t, {});
    MarkUnneededVolumes(t, {});
    EXPECT_EQ(ListDoomedContainers(t).size(), 1U);
    EXPECT_EQ(ListDoomedVolumes(t).at(0).handle, "cache");
    DeleteContainer(t, "c");
    DeleteVolume(t, "cache");
    MarkUnneededVolumes(t, {});
    EXPECT_EQ(ListDoomedVolumes(t).at(0).handle, "v");
  });
}

TEST_P(FleetRowsTest, WhatOneWorkerDoesNotGetRidOfHidesNothingOfAnother) {
  Write([](Transaction& t) {
    RegisterWorker(t, Worker("other"), 0);
    for (int i = 0; i < 5; ++i) {
      CreateContainer(t, Container("c" + std::to_string(i), BuildId{}));
    }
    ContainerRow other = Container("other", BuildId{});
    other.worker_name = "other";
    CreateContainer(t, other);
    t.Execute("update containers set state = 'destroying'");
    t.Execute("update containers set created_at = created_at + 60 where handle = 'other'");
    const auto doomed = ListDoomedContainers(t, 2);
    ASSERT_EQ(doomed.size(), 3U);
    EXPECT_EQ(doomed.back().worker_name, "other");
  });
}

TEST_P(FleetRowsTest, TaskCachesAreReplacedAndCleared) {
  Write([](Transaction& t) {
    for (const char* handle : {"old", "new"}) {
      CreateVolume(t, Volume(handle, volume_types::kContainer));
      SetVolumeCreated(t, handle);
      EXPECT_TRUE(SetVolumeTaskCache(t, handle, TaskCacheKey(JobId{1}, "unit", "cache")));
    }
    EXPECT_EQ(FindTaskCacheVolumes(t, TaskCacheKey(JobId{1}, "unit", "cache")).at(0).handle, "new");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    EXPECT_EQ(FindVolume(t, "old")->state, ResidentState::kDestroying);
    EXPECT_EQ(ClearTaskCaches(t, JobId{1}, "unit", "other"), 0);
    EXPECT_EQ(ClearTaskCaches(t, JobId{1}, "un", std::nullopt), 0);
    EXPECT_EQ(ClearTaskCaches(t, JobId{1}, "unit", std::nullopt), 1);
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 1);
    CreateVolume(t, Volume("base", volume_types::kResourceType));
    SetVolumeCreated(t, "base");
    EXPECT_EQ(MarkUnneededVolumes(t, {}), 0);
  });
}

TEST_P(FleetRowsTest, VolumesOfWorkersThatCannotBeReachedWait) {
  Write([](Transaction& t) {
    CreateVolume(t, Volume("v", volume_types::kContainer));
    SetVolumeDestroying(t, "v");
    EXPECT_EQ(ListDoomedVolumes(t).size(), 1U);
    t.Execute("update workers set state = 'stalled'");
    EXPECT_TRUE(ListDoomedVolumes(t).empty());
    EXPECT_EQ(ReportVolumes(t, "w", {"unknown"}, t.now() + 1), 1);
    EXPECT_FALSE(FindVolume(t, "v"));
    EXPECT_EQ(ListDestroyingVolumes(t, "w"), std::vector<std::string>{"unknown"});
  });
}

}  // namespace
}  // namespace pinion::store
