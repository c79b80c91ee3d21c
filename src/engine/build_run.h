#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include "async/timers.h"
#include "base/log.h"
#include "engine/interruption.h"
#include "engine/scope.h"
#include "engine/single_flight.h"
#include "events/log_store.h"
#include "fleet/registry.h"
#include "protocol/task_config.h"
#include "store/builds.h"
#include "store/database.h"

namespace pinion::secrets {
class VarSources;
}

namespace pinion::engine {

class BaseTypes;
class ImageMetadataCache;

/// What the engine works with. All references outlive it; everything on one loop.
struct EngineServices {
  Executor executor;
  store::Database& database;
  Timers& timers;
  events::LogStore& logs;
  fleet::WorkerRegistry& fleet;
  Logger log;
  /// This process's lease, under its last epoch: what it claims from now on.
  std::function<store::Owner()> owner;
  std::string external_url;
  ImageMetadataCache& image_metadata;
  BaseTypes& base_types;
  SingleFlight& gets;    ///< fetches of resources, by cache key
  SingleFlight& checks;  ///< by scope key
  /// Resources of equal type and source share their versions and checks.
  bool global_resources = true;
  secrets::VarSources* var_sources = nullptr;  ///< null: no ((source:var)) is known
  /// What the steps of one build may print; a step that goes past it errs. 0: any.
  std::uint64_t build_log_bytes_max = 0;
  /// Of tasks that say nothing else.
  protocol::ContainerLimits default_task_limits;
};

/// The stages of a leaf step that are announced once each, in this order.
enum class Stage { kInitialized = 1, kSelectedWorker = 2, kStarted = 3, kFinished = 4 };

/// One running build as its steps see it. Owned by the engine, on its loop. A check that is no
/// build has one too, with id 0 and a log that keeps nothing: then conclusions are not stored.
class BuildRun {
 public:
  BuildRun(EngineServices& services, store::BuildRow build,
           std::unique_ptr<events::BuildLogWriter> writer, std::vector<store::StepRow> concluded);
  BuildRun(const BuildRun&) = delete;
  BuildRun& operator=(const BuildRun&) = delete;

  const store::BuildRow& build() const { return build_; }
  /// Under which lease and epoch it was claimed: everything that is done in its name carries it.
  const store::Owner& owner() const { return owner_; }
  EngineServices& services() { return services_; }
  Timers& timers() { return services_.timers; }
  const Logger& log() const { return log_; }
  events::BuildLogWriter& writer() { return *writer_; }
  std::int64_t now() const { return services_.timers.clock().UnixSeconds(); }

  /// The scope of everything; interrupted by an abort.
  Interruption& root() { return root_; }
  /// The scope of hooks that run because of an abort: interrupted by nothing but Release().
  const Interruption& hooks() const { return hooks_; }
  /// Lets go of the build without ending it: waits end, nothing more is written, containers go on.
  /// The next process that owns the build takes it up.
  void Release();
  bool released() const { return released_; }

  /// False if a former life of this process, or another node, ran it already.
  bool IsNew() const { return !Announced("", Stage::kStarted); }

  /// Appends an event of the build or of a step that may be repeated.
  void Emit(const protocol::Event& event);
  /// Appends an event that a step announces once in its life, crashes included.
  void EmitOnce(const std::string& plan_id, Stage stage, const protocol::Event& event);
  bool Announced(const std::string& plan_id, Stage stage) const;
  /// The last status event of the build, from which on its end is decided, crashes included.
  void EmitEnd(store::BuildStatus status);
  /// What a former life decided, but did not write to the database any more.
  std::optional<store::BuildStatus> DecidedEnd() const;
  /// Tells what went wrong in a step (or, with an empty id, in the build).
  void Errored(const std::string& plan_id, std::string_view message);
  /// A line of the engine's own in a step's log.
  void Say(const std::string& plan_id, std::string_view text);
  /// Counts what a step has printed. Throws kTooLarge once the build has printed too much.
  void CountOutput(std::size_t bytes);
  /// Where the time of a step goes: a debug line for each thing that is done.
  void Passed(std::string_view plan_id, std::string_view stage) const;

  /// Texts that must not be seen in its log: values that credential managers gave.
  const std::vector<std::string>& secret_texts() const { return secret_texts_; }
  void AddSecret(const Json& value);

  /// What the step concluded in a former life, or null.
  const store::StepRow* Concluded(const std::string& plan_id) const;
  /// Makes the conclusion durable: flushes the log, then writes the step's row and whatever `also`
  /// writes in one transaction. After that the step never runs again.
  using Also = std::function<void(store::Transaction&)>;
  Task<void> Conclude(std::string plan_id, Outcome outcome, Json result, Also also = {});
  /// Concludes a step that may well run again, for it only looked something up. Its row is written
  /// by the next Write or Conclude: before anything on a worker rests on it, and with one flush of
  /// the log and one commit for them all.
  void ConcludeLater(std::string plan_id, Outcome outcome, Json result, Also also = {});
  /// One transaction, with the conclusions that are still to be written. While the database or the
  /// disk of the log is away it is tried again.
  Task<void> Write(Also work);
  /// A transaction of the engine's. While the database is away it waits, and says so in the log;
  /// throws Cancelled on a release. `work` may run more than once.
  template <class Work, class T = std::invoke_result_t<Work, store::Transaction&>>
  Task<T> InDatabase(bool write, Work work) {
    for (;;) {
      std::optional<Error> error;
      try {
        if (write) co_return co_await services_.database.Write(store::Pool::kEngine, work);
        co_return co_await services_.database.Read(store::Pool::kEngine, work);
      } catch (const Failure& failure) {
        if (!IsOutage(failure.error())) throw;
        error = failure.error();
      }
      co_await WaitOutside("the database", std::move(*error));
    }
  }
  /// As the log's Flush, but waits while the disk takes nothing.
  Task<void> FlushLog();

  /// Makes this the run of a check that is no build: its containers belong to the scope.
  void BeCheck(std::string container_prefix, ScopeId scope) {
    container_prefix_ = std::move(container_prefix);
    scope_ = scope;
  }
  /// What the handles of its containers start with.
  const std::string& container_prefix() const { return container_prefix_; }
  ScopeId scope() const { return scope_; }
  /// Handles of the containers that it made or found.
  const std::vector<std::string>& containers() const { return containers_; }
  void AddContainer(const std::string& handle) { containers_.push_back(handle); }

  /// Says so in the build's log, as long as the result is held, when the worker is waited for.
  std::shared_ptr<void> TellWhileWaitingFor(fleet::WorkerClient& worker);

  /// The worker's client; kUnavailable if it is gone.
  std::shared_ptr<fleet::WorkerClient> Worker(const std::string& name) const;

  /// BUILD_* variables and ATC_EXTERNAL_URL, as resources get them.
  std::vector<std::string> ResourceEnv() const;

 private:
  /// Whether trying again may help, without anybody's doing here.
  static bool IsOutage(const Error& error) {
    return error.kind == ErrorKind::kUnavailable || error.kind == ErrorKind::kTimeout;
  }
  Task<void> WaitOutside(std::string_view what, Error error);
  void SayWaiting(std::string_view what, std::string_view why);

  EngineServices& services_;
  store::BuildRow build_;
  store::Owner owner_;
  Logger log_;
  std::unique_ptr<events::BuildLogWriter> writer_;
  std::map<std::string, store::StepRow> concluded_;
  struct Unwritten {
    std::uint64_t number = 0;
    store::StepRow step;
    Also also;
  };
  std::vector<Unwritten> unwritten_;
  std::uint64_t next_unwritten_ = 0;
  Interruption root_;
  Interruption hooks_;
  bool released_ = false;
  std::uint64_t printed_bytes_ = 0;  ///< former lives included
  SteadyTime told_outage_{};
  std::string container_prefix_;
  ScopeId scope_;
  std::vector<std::string> containers_;
  std::vector<std::string> secret_texts_;
};

std::string_view Name(Outcome outcome);
Outcome ParseOutcome(std::string_view name);

}  // namespace pinion::engine
