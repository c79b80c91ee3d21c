#include "store/artifacts.h"
#include "base/text.h"

#include "api/handlers.h"
#include "api/present/artifact.h"
#include "api/server.h"
#include "store/database.h"
#include "store/volumes.h"

namespace pinion::api {

Task<Answer> CreateArtifact(Call& call) {
  if (!call.services.volumes) co_return NotWired("the volumes' transport");
  std::vector<std::string> tags;
  for (const std::string_view tag : call.query.All("tags")) {
    if (!tag.empty()) tags.emplace_back(tag);
  }
  std::string platform(call.query.Get("platform").value_or(""));
  if (platform.empty()) platform = "linux";
  const auto place =
      co_await call.services.volumes->Upload(call.team.id, std::move(platform), std::move(tags),
                                             call.exchange.body(), call.exchange.stop());
  if (!place) throw Failure(place.error());
  auto work = [&call, place = *place](store::Transaction& t) {
    call.SignAs(t);
    if (!store::SetVolumeCreated(t, place.volume) && store::FindVolume(t, place.volume)) {
      throw Failure(ErrorKind::kConflict, "the upload was given up meanwhile: upload it again");
    }
    return store::CreateArtifact(t, call.team.id, "", BuildId{}, place.worker, place.volume);
  };
  const auto row = co_await call.database().Write(store::Pool::kApi, work);
  co_return JsonOf(201, present::ToArtifact(row));
}

Task<Answer> GetArtifact(Call& call) {
  if (!call.services.volumes) co_return NotWired("the volumes' transport");
  const auto id = ParseNumber(call.Param("artifact_id"));
  if (!id) co_return TextAnswer(400, "the artifact's id is not a number");
  auto work = [team = call.team.id, id = *id](store::Transaction& t) {
    return store::FindArtifact(t, team, ArtifactId{id});
  };
  const auto row = co_await call.database().Read(store::Pool::kApi, work);
  if (!row) co_return EmptyAnswer(404);
  const std::stop_token stop = call.exchange.stop();
  auto stream = co_await call.services.volumes->Download({row->worker, row->volume}, stop);
  if (!stream) throw Failure(stream.error());
  http::Response head = StreamHead(call, 200, "application/octet-stream");
  call.answered = true;
  http::BodyWriter* out = co_await call.exchange.Start(std::move(head), false);
  std::vector<char> buffer(64 << 10);
  while (const std::size_t count = co_await (*stream)->Read(buffer, stop)) {
    co_await out->Write({buffer.data(), count}, stop);
  }
  co_await out->Finish(stop);
  co_return std::nullopt;
}

}  // namespace pinion::api
