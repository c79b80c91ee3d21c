#include "app/controls.h"

#include "base/encoding.h"
#include "checking/check_plan.h"
#include "store/volumes.h"

namespace pinion::app {
namespace {

std::unexpected<Error> WorkerGone(const std::string& name) {
  return Fail(ErrorKind::kUnavailable, "worker '" + name + "' is gone");
}

/// Says now and then, while a body is read, that the volume it fills is still being made.
class KeepingReader final : public http::BodyReader {
 public:
  KeepingReader(http::BodyReader& body, store::Database& database, const Clock& clock,
                std::string volume)
      : body_(body), database_(database), clock_(clock), volume_(std::move(volume)) {}

  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    const SteadyTime now = clock_.Steady();
    if (now >= last_ + kPause) {
      last_ = now;
      co_await database_.Write(
          store::Pool::kApi,
          [volume = volume_](store::Transaction& t) { store::KeepMaking(t, volume); }, stop);
    }
    co_return co_await body_.Read(buffer, stop);
  }

 private:
  static constexpr Duration kPause = std::chrono::seconds(20);
  http::BodyReader& body_;
  store::Database& database_;
  const Clock& clock_;
  std::string volume_;
  SteadyTime last_ = clock_.Steady();
};

}  // namespace

Task<Result<BuildId>> ManualChecks::CheckNow(api::CheckRequest request) {
  std::optional<protocol::Version> from;
  if (request.from_version) {
    auto parsed = FromText<protocol::Version>(*request.from_version);
    if (!parsed) co_return std::unexpected(std::move(parsed.error()).Context("from"));
    from = std::move(*parsed);
  }
  const Result<BuildId> build =
      co_await database_.Write(store::Pool::kApi, [request, from](store::Transaction& transaction) {
        if (request.resource_type) {
          return checking::CreateManualTypeCheck(transaction, request.resource_type, {}, from,
                                                 request.shallow, request.created_by);
        }
        return checking::CreateManualCheck(transaction, request.resource, {}, from, request.shallow,
                                           request.created_by);
      });
  if (build) engine_.Start(*build);
  co_return build;
}

Task<Result<std::unique_ptr<fleet::InteractiveProcess>>> Hijacking::Start(
    std::string worker, std::string container, protocol::garden::ProcessSpec spec,
    bool& executable_missing, std::stop_token stop) {
  const auto client = registry_.Client(worker);
  if (!client) co_return WorkerGone(worker);
  Error error;
  try {
    co_return co_await client->RunInteractive(container, std::move(spec), stop);
  } catch (const Failure& failure) {
    error = failure.error();
  }
  // The container's row was there, so what is not found is the program, unless the worker lost
  // both.
  executable_missing =
      error.kind == ErrorKind::kNotFound && co_await client->ContainerExists(container, stop);
  co_return std::unexpected(std::move(error));
}

Task<Result<api::VolumeStreams::Place>> ArtifactStreams::Upload(TeamId team, std::string platform,
                                                                std::vector<std::string> tags,
                                                                http::BodyReader& tar,
                                                                std::stop_token stop) {
  const fleet::Placement placement = co_await registry_.Choose(
      {.platform = std::move(platform), .tags = std::move(tags), .team = team}, [] {}, stop);
  fleet::WorkerClient& worker = placement.worker();
  const std::string handle = "artifact-" + ToHex(RandomBytes(16));
  const store::VolumeRow row{.handle = handle,
                             .worker_name = worker.name(),
                             .team = team,
                             .type = std::string(store::volume_types::kArtifact)};
  // It becomes "created" together with its artifact.
  co_await database_.Write(store::Pool::kApi, [row](store::Transaction& transaction) {
    store::CreateVolume(transaction, row);
  });
  std::exception_ptr broken;
  try {
    co_await Fill(worker, handle, tar, stop);
  } catch (...) {
    broken = std::current_exception();
  }
  if (broken) {
    co_await database_.Write(store::Pool::kApi, [handle](store::Transaction& transaction) {
      store::SetVolumeDestroying(transaction, handle);
    });
    std::rethrow_exception(broken);
  }
  co_return Place{.worker = worker.name(), .volume = handle};
}

Task<void> ArtifactStreams::Fill(fleet::WorkerClient& worker, std::string handle,
                                 http::BodyReader& tar, std::stop_token stop) {
  KeepingReader keeping(tar, database_, clock_, handle);
  co_await worker.CreateVolume({.handle = handle, .strategy = JsonObject{{"type", "empty"}}}, stop);
  co_await worker.StreamIn(handle, ".", "gzip", keeping, stop);
}

Task<Result<std::unique_ptr<http::BodyReader>>> ArtifactStreams::Download(Place place,
                                                                          std::stop_token stop) {
  const auto client = registry_.Client(place.worker);
  if (!client) co_return WorkerGone(place.worker);
  Error error;
  try {
    co_return co_await client->StreamOut(place.volume, ".", "gzip", stop);
  } catch (const Failure& failure) {
    error = failure.error();
  }
  co_return std::unexpected(std::move(error));
}

}  // namespace pinion::app
