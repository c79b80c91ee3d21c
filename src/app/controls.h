#pragma once

#include "api/services.h"
#include "engine/engine.h"
#include "fleet/registry.h"
#include "scheduling/interfaces.h"

/// The small interfaces through which modules drive each other, each a few lines onto the module
/// that does it.
namespace pinion::app {

/// The engine for the API and the scheduler.
class EngineControl final : public api::BuildControl, public scheduling::BuildStarter {
 public:
  explicit EngineControl(engine::Engine& engine) : engine_(engine) {}
  void Aborted(BuildId build) override { engine_.Abort(build); }
  void Created(BuildId build) override { engine_.Start(build); }
  void BuildStarted(BuildId build) override { engine_.Start(build); }
  void BuildErrored(BuildId build, const std::string& message) override {
    engine_.ReportError(build, message);
  }

 private:
  engine::Engine& engine_;
};

/// Checks that somebody asked for, as builds.
class ManualChecks final : public api::CheckControl {
 public:
  ManualChecks(store::Database& database, engine::Engine& engine)
      : database_(database), engine_(engine) {}
  Task<Result<BuildId>> CheckNow(api::CheckRequest request) override;

 private:
  store::Database& database_;
  engine::Engine& engine_;
};

/// Shells in containers.
class Hijacking final : public api::HijackControl {
 public:
  explicit Hijacking(fleet::WorkerRegistry& registry) : registry_(registry) {}
  Task<Result<std::unique_ptr<fleet::InteractiveProcess>>> Start(std::string worker,
                                                                 std::string container,
                                                                 protocol::garden::ProcessSpec spec,
                                                                 bool& executable_missing,
                                                                 std::stop_token stop) override;

 private:
  fleet::WorkerRegistry& registry_;
};

/// Artifacts that `fly execute` uploads and downloads.
class ArtifactStreams final : public api::VolumeStreams {
 public:
  ArtifactStreams(fleet::WorkerRegistry& registry, store::Database& database, const Clock& clock)
      : registry_(registry), database_(database), clock_(clock) {}
  Task<Result<Place>> Upload(TeamId team, std::string platform, std::vector<std::string> tags,
                             http::BodyReader& tar, std::stop_token stop) override;
  Task<Result<std::unique_ptr<http::BodyReader>>> Download(Place place,
                                                           std::stop_token stop) override;

 private:
  Task<void> Fill(fleet::WorkerClient& worker, std::string handle, http::BodyReader& tar,
                  std::stop_token stop);

  fleet::WorkerRegistry& registry_;
  store::Database& database_;
  const Clock& clock_;
};

}  // namespace pinion::app
