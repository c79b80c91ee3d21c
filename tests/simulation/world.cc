#include "world.h"

#include <algorithm>

#include "checking/check_plan.h"
#include "invariants.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"
#include "pipelines.h"
#include "store/changes.h"
#include "store/jobs.h"
#include "store/leases.h"
#include "store/pipeline_layout.h"
#include "store/pipelines.h"
#include "store/resources.h"
#include "store/teams.h"
#include "store/workers.h"

namespace pinion::simulation {

using namespace std::chrono_literals;

namespace {

constexpr Duration kActive = 12min;
// Longer than the sweeps of everything that sweeps, and than all retention.
constexpr Duration kRest = 30min;
constexpr std::int64_t kStepsMax = 3'000'000;

}  // namespace

World::World(RunOptions options) : options_(std::move(options)), random_(options_.seed) {
  if (!options_.trace_file.empty()) trace_ = std::fopen(options_.trace_file.c_str(), "w");
}

World::~World() {
  if (trace_) std::fclose(trace_);
}

Logger World::LoggerOf(const std::string& node) {
  if (!options_.log) return {};
  return Logger(std::make_shared<FdLogSink>(2), clock_, LogLevel::kInfo).With({{"node", node}});
}

void World::Note(const std::string& what) {
  report_.trace_hash = HashText(
      what, report_.trace_hash ^ static_cast<std::uint64_t>(Now().time_since_epoch().count()));
  if (!trace_) return;
  std::fprintf(trace_, "%.3f %s\n",
               static_cast<double>(Now().time_since_epoch().count() % 1'000'000'000'000'000) / 1e9,
               what.c_str());
  std::fflush(trace_);
}

void World::Violation(const std::string& what) {
  Note("VIOLATION " + what);
  report_.violations.push_back(what);
}

void World::At(SteadyTime when, std::function<void()> action) {
  events_.emplace(std::pair(when, ++next_event_), std::move(action));
}

// --- The database
// ------------------------------------------------------------------------------------

void World::RunTransaction(Node& node, store::Pool pool, bool write,
                           const store::Database::Closure& work, std::stop_token stop) {
  if (stop.stop_requested()) throw Cancelled();
  if (database_away_ || (faults_ && random_.OneIn(400))) {
    throw Failure(ErrorKind::kUnavailable, "the database does not answer");
  }
  Note(node.name() + (write ? " writes" : " reads"));
  // A lost race: the closure runs again, as PostgreSQL has it.
  if (write && faults_ && random_.OneIn(50)) {
    struct Rollback {};
    try {
      database_->Run(pool, write, [&](store::Transaction& transaction) {
        work(transaction);
        throw Rollback();
      });
    } catch (const Rollback&) {
    }
  }
  database_->Run(pool, write, work, stop);
  if (faults_ && write && random_.OneIn(1500)) {
    throw Failure(ErrorKind::kUnavailable, "the connection was lost after the commit");
  }
}

void World::Committed() {
  if (in_hook_) return;
  in_hook_ = true;
  std::set<std::pair<std::string, std::int64_t>> leases;
  database_->Run(store::Pool::kApi, false, [&](store::Transaction& transaction) {
    for (std::string& text : CheckLimits(transaction))
      Violation(text);
    for (const store::Lease& lease : store::ListLeases(transaction))
      leases.emplace(lease.node, lease.epoch);
  });
  in_hook_ = false;
  for (Slot& slot : slots_) {
    Node* const node = slot.node.get();
    if (!node) continue;
    if (node->parts().lease && node->lease().epoch > 0 &&
        !leases.contains({node->lease().node, node->lease().epoch})) {
      node->mount().refused = true;
    }
    const std::uint64_t luck = faults_ ? random_.Below(12) : 11;
    if (luck == 0) continue;  // lost
    if (luck == 1) {
      const int index = node->index();
      At(Now() + random_.Time(1ms, 30s), [this, index] {
        for (const Slot& other : slots_) {
          if (other.node && other.node->index() == index) other.node->Look();
        }
      });
      continue;
    }
    node->Look();
  }
}

void World::ProcessStarts(const std::string& handle, const std::string&) {
  if (!handle.starts_with('b')) return;
  const auto dash = handle.find('-');
  const BuildId build{std::stoll(handle.substr(1, dash - 1))};
  const std::string plan = handle.substr(dash + 1);
  Read([&](store::Transaction& transaction) {
    const auto row = store::FindBuild(transaction, build);
    if (!row) return;
    if (store::IsFinished(row->status)) {
      Violation("a process of " + handle + " starts, but its build has ended");
    }
    std::set<std::string> concluded;
    for (const store::StepRow& step : store::ListSteps(transaction, build)) {
      std::string id = step.plan_id;
      std::ranges::replace(id, '/', '.');
      if (id == plan && step.state == "succeeded") {
        Violation("step " + handle + " has succeeded and runs again");
      }
      concluded.insert(step.plan_id);
    }
    const auto text = store::FindPlan(transaction, build);
    if (!text) return;
    for (const std::string& before : StepsBefore(ValueOrThrow(ParseJson(*text)), plan)) {
      const bool ran = std::ranges::any_of(workers_, [&](const auto& worker) {
        return worker.second->transcripts.contains("b" + std::to_string(build.value) + "-" +
                                                   before);
      });
      if (ran && !concluded.contains(before)) {
        Violation("step " + handle + " starts before the conclusion of step " + before +
                  " is stored");
      }
    }
  });
}

// --- Set up
// ------------------------------------------------------------------------------------------

void World::SetUp() {
  database_ = ValueOrThrow(
      store::Database::Open({.url = "sqlite::memory:", .inline_calls = true}, clock_, Logger()));
  database_->OnChange([this] { Committed(); });
  const bool tagged = random_.OneIn(2);
  report_.pipeline = RandomPipeline(random_, tagged);
  auto parsed = ValueOrThrow(pipeline::ReadPipeline(report_.pipeline));
  if (!parsed.issues.empty()) {
    throw Failure(ErrorKind::kInternal,
                  report_.pipeline + "\n" + pipeline::IssuesText(parsed.issues));
  }
  const auto validation = pipeline::Validate(parsed.pipeline);
  if (!validation.ok()) {
    std::string text = report_.pipeline;
    for (const std::string& error : validation.ErrorTexts())
      text += "\n" + error;
    throw Failure(ErrorKind::kInternal, text);
  }
  const int workers = tagged ? 2 : random_.Between(1, 2);
  for (int i = 0; i < workers; ++i) {
    const std::string name = "worker-" + std::to_string(i);
    workers_.emplace(name, std::make_unique<Worker>(*this, name));
  }
  database_->Run(store::Pool::kApi, true, [&](store::Transaction& transaction) {
    const auto team = store::EnsureMainTeam(transaction, "{}");
    pipeline_ =
        store::SavePipeline(transaction, team.id, store::LayOut(parsed.pipeline, "main", ""),
                            {.expected_version = 0, .initially_paused = false})
            .id;
    for (const store::JobRow& job : store::ListJobs(transaction, pipeline_))
      jobs_.push_back(job.id);
    for (const store::Row& row : transaction.Query("select id from resources order by id"))
      resources_.push_back(row.IdAt<ResourceId>(0));
    for (const auto& [name, worker] : workers_) {
      store::WorkerRow row{.name = name, .platform = "linux", .garden_addr = "sim:" + name};
      row.baggageclaim_url = "http://sim-" + name;
      row.resource_types = {{.type = "mock", .image = "/types/mock", .version = "1"}};
      if (tagged && name != "worker-0") row.tags = {"far"};
      store::RegisterWorker(transaction, row, 0);
      registrations_.push_back(row);
    }
  });
  for (const char* name : {"r0", "r1", "r2", "image", "out"})
    versions_[name] = {"0"};
  const int nodes = random_.Between(1, 3);
  alone_ = nodes == 1;
  for (int i = 0; i < nodes; ++i)
    slots_.push_back({.name = "node-" + std::to_string(i)});
}

void World::StartNode(Slot& slot) {
  slot.frozen = false;
  slot.stopping = false;
  slot.node = std::make_unique<Node>(*this, next_node_++, slot.name);
  Note("start " + slot.name);
  slot.node->Start();
}

void World::PlanUsers(Duration length) {
  const int publications = random_.Between(3, 15);
  for (int i = 0; i < publications; ++i) {
    const std::string name = "r" + std::to_string(random_.Below(3));
    At(Now() + random_.Time(0s, length), [this, name] {
      versions_[name].push_back(std::to_string(versions_[name].size()));
      Note("published " + name);
    });
  }
  const int actions = random_.Between(5, 25);
  for (int i = 0; i < actions; ++i)
    At(Now() + random_.Time(10s, length), [this] { UserAction(); });
}

void World::Register(const store::WorkerRow& worker) {
  Note("register " + worker.name);
  database_->Run(store::Pool::kApi, true, [&](store::Transaction& transaction) {
    store::RegisterWorker(transaction, worker, 0);
  });
}

void World::PlanFaults(Duration length) {
  const auto often = [&](int most, std::function<void()> action) {
    const int times = random_.Between(0, most);
    for (int i = 0; i < times; ++i)
      At(Now() + random_.Time(1s, length), action);
  };
  often(12, [this] {
    Slot& slot = slots_[random_.Below(slots_.size())];
    if (!slot.node) return;
    if (random_.OneIn(3)) {
      slot.node->TearNextWrite(random_.Below(200));
    } else {
      Kill(slot, "by chance");
    }
  });
  often(4, [this] {
    Slot& slot = slots_[random_.Below(slots_.size())];
    if (!slot.node || slot.frozen) return;
    Note("freeze " + slot.name);
    slot.frozen = true;
    const int index = slot.node->index();
    At(Now() + random_.Time(1s, 90s), [this, &slot, index] {
      if (!slot.node || slot.node->index() != index) return;
      Note("thaw " + slot.name);
      slot.frozen = false;
      slot.node->FireTimers();
    });
  });
  often(4, [this] {
    auto worker = workers_.begin();
    std::advance(worker, static_cast<std::ptrdiff_t>(random_.Below(workers_.size())));
    Worker& one = *worker->second;
    Note("vanish " + one.name());
    one.reachable = false;
    const bool lost = random_.OneIn(2);
    At(Now() + random_.Time(1s, 7min), [this, &one, lost] {
      Note("return " + one.name());
      if (lost) one.LoseEverything();
      one.reachable = true;
    });
  });
  often(2, [this] {
    const store::WorkerRow row = random_.Pick(registrations_);
    Note("land " + row.name);
    database_->Run(store::Pool::kApi, true, [&](store::Transaction& transaction) {
      store::LandWorker(transaction, row.name);
    });
    At(Now() + random_.Time(5s, 3min), [this, row] { Register(row); });
  });
  often(3, [this] {
    Slot& slot = slots_[random_.Below(slots_.size())];
    if (!slot.node || !slot.node->started() || slot.stopping) return;
    Note("stop " + slot.name);
    slot.stopping = true;
    slot.node->BeginShutdown();
  });
  often(4, [this] {
    database_away_ = true;
    At(Now() + random_.Time(1s, 40s), [this] { database_away_ = false; });
  });
  often(2, [this] {
    Slot& slot = slots_[random_.Below(slots_.size())];
    if (!slot.node) return;
    slot.node->mount().failing = true;
    const int index = slot.node->index();
    At(Now() + random_.Time(1s, 30s), [&slot, index] {
      if (slot.node && slot.node->index() == index) slot.node->mount().failing = false;
    });
  });
  often(1, [this] {
    Note("the clock steps");
    stepped_ = true;
    clock_.StepWallTime(random_.OneIn(2) ? 1h : -1h);
  });
}

namespace {

Task<void> UserWrites(store::Database& database, store::Database::Closure work,
                      std::function<void()> then) {
  try {
    co_await database.Write(store::Pool::kApi, work);
  } catch (const Failure&) {
    co_return;  // the user sees an error
  }
  if (then) then();
}

}  // namespace

Node* World::AnyNode() {
  std::vector<Node*> alive;
  for (const Slot& slot : slots_) {
    if (slot.node && slot.node->started() && !slot.frozen && !slot.stopping)
      alive.push_back(slot.node.get());
  }
  return alive.empty() ? nullptr : random_.Pick(alive);
}

void World::UserAction() {
  Node* const node = AnyNode();
  if (!node || quiet_) return;
  const JobId job = random_.Pick(jobs_);
  const std::uint64_t choice = random_.Below(12);
  const auto act = [&](std::string_view what, store::Database::Closure work,
                       std::function<void()> then = {}) {
    Note("user " + std::string(what));
    node->Spawn(UserWrites(node->database(), std::move(work), std::move(then)));
  };
  if (choice < 4) {
    act("triggers", [job](store::Transaction& transaction) {
      store::CreateJobBuild(transaction, job, {.created_by = "user", .manual = true});
    });
  } else if (choice < 7) {
    std::vector<BuildId> builds;
    Read([&](store::Transaction& transaction) {
      for (const store::Row& row : transaction.Query(
               "select id from builds where status in ('pending', 'started') order by id")) {
        builds.push_back(row.IdAt<BuildId>(0));
      }
    });
    if (builds.empty()) return;
    const BuildId build = random_.Pick(builds);
    act(
        "aborts " + std::to_string(build.value),
        [build](store::Transaction& transaction) { store::SetAborted(transaction, build); },
        [node, build] { node->engine().Abort(build); });
  } else if (choice == 7) {
    act("pauses",
        [job](store::Transaction& transaction) { store::PauseJob(transaction, job, "user"); });
  } else if (choice == 8) {
    act("unpauses",
        [job](store::Transaction& transaction) { store::UnpauseJob(transaction, job); });
  } else if (choice == 9) {
    std::vector<BuildId> builds;
    Read([&](store::Transaction& transaction) {
      for (const store::Row& row : transaction.Query(
               "select id from builds where job_id = $1 and status not in ('pending', 'started') "
               "order by id",
               {job})) {
        builds.push_back(row.IdAt<BuildId>(0));
      }
    });
    if (builds.empty()) return;
    const BuildId build = random_.Pick(builds);
    act("reruns", [job, build](store::Transaction& transaction) {
      store::CreateJobBuild(transaction, job,
                            {.created_by = "user", .manual = true, .rerun_of = build});
    });
  } else if (choice == 10) {
    const ResourceId resource = random_.Pick(resources_);
    auto made = std::make_shared<BuildId>();
    act(
        "checks",
        [resource, made](store::Transaction& transaction) {
          const auto build =
              checking::CreateManualCheck(transaction, resource, {}, {}, false, "user");
          if (build) *made = *build;
        },
        [node, made] {
          if (*made) node->engine().Start(*made);
        });
  } else {
    node->Spawn([](Node& on, PipelineId id) -> Task<void> {
      co_await UserWrites(on.database(),
                          [id](store::Transaction& transaction) {
                            const auto row = store::FindPipelineById(transaction, id);
                            store::PausePipeline(transaction, *row, "user");
                          },
                          {});
    }(*node, pipeline_));
    At(Now() + random_.Time(5s, 60s), [this] {
      Node* const other = AnyNode();
      if (!other) return;
      other->Spawn(UserWrites(other->database(),
                              [id = pipeline_](store::Transaction& transaction) {
                                store::UnpausePipeline(transaction,
                                                       *store::FindPipelineById(transaction, id));
                              },
                              {}));
    });
  }
}

// --- Running
// ------------------------------------------------------------------------------------------

void World::Kill(Slot& slot, std::string_view why) {
  Note("kill " + slot.name + " " + std::string(why));
  ++report_.kills;
  const auto suspended = SuspendedAt(slot.node->index());
  report_.hit.insert(suspended.begin(), suspended.end());
  ForgetCoroutines(slot.node->index());
  // Put aside as it is: a process that is killed tidies nothing.
  dead_.push_back(std::move(slot.node));
  slot.frozen = false;
  slot.stopping = false;
  At(Now() + random_.Time(10ms, slots_.size() > 1 && random_.OneIn(3) ? 60s : 3s), [this, &slot] {
    if (!slot.node) StartNode(slot);
  });
}

void World::TakeAims() {
  for (const AwaitSite& site : options_.aims)
    Aim(site, random_.OneIn(2) ? 1 : random_.Between(1, 6));
  ArmAims(true);
}

void World::CheckAims() {
  const int index = AimHit();
  if (index < 0) return;
  for (Slot& slot : slots_) {
    if (slot.node && slot.node->index() == index) Kill(slot, "at its aim");
  }
  // Not all at once: what runs must come somewhere in between.
  ArmAims(false);
  At(Now() + random_.Time(100ms, 40s), [this] { ArmAims(faults_); });
}

void World::WatchSlots() {
  for (Slot& slot : slots_) {
    if (!slot.node) continue;
    if (slot.node->torn()) {
      Kill(slot, "in a write");
    } else if (slot.node->failed()) {
      Kill(slot, "at its start");
    } else if (slot.node->ended()) {
      Note("ended " + slot.name);
      ForgetCoroutines(slot.node->index());
      dead_.push_back(std::move(slot.node));
      At(Now() + random_.Time(10ms, 5s), [this, &slot] {
        if (!slot.node) StartNode(slot);
      });
    } else if (slot.node->lease_lost() && !slot.stopping) {
      // Its process ends, and another is started: it has nothing left to do.
      Note("lease lost " + slot.name);
      if (!slot.node->started()) {
        Kill(slot, "without its lease");
        continue;
      }
      slot.stopping = true;
      slot.node->BeginShutdown();
    }
  }
}

bool World::StepSomething() {
  std::vector<Slot*> able;
  for (Slot& slot : slots_) {
    if (slot.node && !slot.frozen) able.push_back(&slot);
  }
  while (!able.empty()) {
    const std::size_t at = random_.Below(able.size());
    if (able[at]->node->Step()) {
      ++report_.steps;
      return true;
    }
    able.erase(able.begin() + static_cast<std::ptrdiff_t>(at));
  }
  return false;
}

void World::AdvanceTo(SteadyTime time) {
  if (time > clock_.Steady()) clock_.Set(time);
  while (!events_.empty() && events_.begin()->first.first <= clock_.Steady()) {
    auto action = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    action();
  }
  for (Slot& slot : slots_) {
    if (slot.node && !slot.frozen) slot.node->FireTimers();
  }
}

void World::RunUntil(SteadyTime end) {
  while (clock_.Steady() < end && report_.violations.empty()) {
    if (report_.steps > kStepsMax) {
      Violation("there is no end of work: something spins");
      return;
    }
    // Sometimes time passes while there is work to do.
    if (!random_.OneIn(500) && StepSomething()) {
      CheckAims();
      WatchSlots();
      continue;
    }
    SteadyTime next = end;
    if (!events_.empty()) next = std::min(next, events_.begin()->first.first);
    for (const Slot& slot : slots_) {
      if (!slot.node || slot.frozen) continue;
      if (const auto timer = slot.node->NextTimer()) next = std::min(next, *timer);
    }
    AdvanceTo(next);
  }
}

void World::EndFaults() {
  Note("faults end");
  faults_ = false;
  quiet_ = true;
  ArmAims(false);
  database_away_ = false;
  for (const auto& [name, worker] : workers_)
    worker->reachable = true;
  for (const store::WorkerRow& row : registrations_)
    Register(row);
  for (Slot& slot : slots_) {
    slot.frozen = false;
    if (slot.node) slot.node->mount().failing = false;
    if (slot.node) slot.node->FireTimers();
  }
}

void World::PauseEverything() {
  database_->Run(store::Pool::kApi, true, [](store::Transaction& transaction) {
    for (const store::Row& row : transaction.Query("select id from pipelines order by id")) {
      store::PausePipeline(
          transaction, *store::FindPipelineById(transaction, row.IdAt<PipelineId>(0)), "harness");
    }
  });
}

RunReport World::Run() {
  SetUp();
  for (Slot& slot : slots_)
    StartNode(slot);
  PlanUsers(kActive);
  PlanFaults(kActive);
  TakeAims();
  const SteadyTime begun = Now();
  RunUntil(begun + kActive);
  if (report_.violations.empty()) {
    EndFaults();
    RunUntil(begun + kActive + kRest);
  }
  if (report_.violations.empty()) {
    for (std::string& text : CheckAtRest(*this))
      Violation(text);
  }
  if (report_.violations.empty()) {
    PauseEverything();
    // What was used before the clock was set back is kept for so much longer.
    RunUntil(Now() + kRest + (stepped_ ? 2h : 0h));
  }
  if (report_.violations.empty()) {
    for (std::string& text : CheckNothingLeft(*this))
      Violation(text);
  }
  Read([&](store::Transaction& transaction) {
    report_.builds = transaction.QueryOne("select count(*) from builds")->Integer(0);
  });
  ForgetAllCoroutines();
  return std::move(report_);
}

Task<void> World::ReadLogTask(Node& node, BuildId build, std::vector<Json>& out, bool& done) {
  auto reader = co_await node.logs().OpenReader(build, 0, false);
  for (;;) {
    const events::EventBatch batch = co_await reader->Next({});
    if (batch.end) break;
    for (const auto& item : batch.items)
      out.push_back(ValueOrThrow(ParseJson(item.envelope)));
  }
  done = true;
}

std::vector<Json> World::ReadLog(BuildId build) {
  std::vector<Json> out;
  bool done = false;
  Node* const node = AnyNode();
  if (!node) return out;
  node->Spawn(ReadLogTask(*node, build, out, done));
  for (int i = 0; i < 10'000 && !done; ++i)
    StepSomething();
  if (!done) Violation("the log of build " + std::to_string(build.value) + " cannot be read");
  return out;
}

}  // namespace pinion::simulation
