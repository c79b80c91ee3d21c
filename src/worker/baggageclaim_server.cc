#include "worker/baggageclaim_server.h"

#include <sys/statvfs.h>

#include <cerrno>

#include <array>
#include <charconv>
#include <cmath>
#include <set>

#include "base/encoding.h"
#include "base/json_fields.h"

namespace pinion::worker {

using protocol::baggageclaim::Volume;
using protocol::baggageclaim::VolumeRequest;

namespace {

constexpr std::size_t kBodyMax = 4 << 20;
constexpr std::size_t kCreationsMax = 10'000;
constexpr Duration kCreationKept = std::chrono::hours(1);
constexpr Duration kCheckWait = std::chrono::seconds(1);

/// {"value": ...} of the property and privileged routes.
struct TextValue {
  std::string value;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("value", self.value);
  }
};
struct BoolValue {
  bool value = false;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("value", self.value);
  }
};

int StatusOf(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kInvalid:
      return 400;
    case ErrorKind::kNotFound:
      return 404;
    case ErrorKind::kTooLarge:
      return 403;
    case ErrorKind::kConflict:  // a volume that has copies
      return 409;
    default:
      return 500;
  }
}

// A request that cannot be carried out as asked is 422 where volumes are created.
int CreationStatusOf(ErrorKind kind) {
  return kind == ErrorKind::kNotFound || kind == ErrorKind::kInvalid ? 422 : 500;
}

http::Response JsonResponse(int status, const Json& body) {
  return {status, {{"Content-Type", "application/json"}}, ToText(body) + "\n"};
}

}  // namespace

/// One request being answered.
struct BaggageclaimServer::Call {
  http::Exchange* exchange;
  const Route* route;
  http::PathParams params;
  http::Query query;

  std::string handle() const { return params.at("handle"); }
  Task<void> Answer(int status) { co_await exchange->Respond({status, {}, {}}); }
  Task<void> Answer(int status, Json body) {
    co_await exchange->Respond(JsonResponse(status, body));
  }
  Task<void> Fail(int status, std::string message) {
    co_await exchange->Respond(
        JsonResponse(status, JsonObject{{"error", std::string(route->failure) + ": " + message}}));
  }
};

/// A volume that is made without anybody waiting on the connection.
struct BaggageclaimServer::Creation {
  std::string handle;
  std::optional<Volume> volume;
  std::optional<Error> error;
  std::uint64_t progress_done = 0;
  std::uint64_t progress_total = 0;
  bool cancelled = false;
  std::stop_source stop;
  Event finished;
  SteadyTime finished_at{};
};

const std::vector<BaggageclaimServer::Route>& BaggageclaimServer::Routes() {
  using S = BaggageclaimServer;
  // "/volumes/destroy" stands before "/volumes/:handle", which would match it too.
  static const std::vector<Route> routes = {
      {"GET", "/volumes", &S::ListVolumes, "failed to list volumes"},
      {"POST", "/volumes", &S::CreateVolume, "failed to create volume"},
      {"POST", "/volumes/cleanup-orphans", &S::CleanupOrphans, "failed to clean up"},
      {"POST", "/volumes-async", &S::CreateVolumeAsync, "failed to create volume"},
      {"GET", "/volumes-async/:handle", &S::CheckCreation, "failed to create volume"},
      {"DELETE", "/volumes-async/:handle", &S::CancelCreation, "failed to create volume"},
      {"DELETE", "/volumes/destroy", &S::DestroyVolumes, "failed to destroy volume"},
      {"GET", "/volumes/:handle", &S::GetVolume, "failed to get volume"},
      {"DELETE", "/volumes/:handle", &S::DestroyVolume, "failed to destroy volume"},
      {"PUT", "/volumes/:handle/properties/:property", &S::SetProperty,
       "failed to set property on volume"},
      {"GET", "/volumes/:handle/privileged", &S::GetPrivileged,
       "failed to get privileged status of volume"},
      {"PUT", "/volumes/:handle/privileged", &S::SetPrivileged,
       "failed to change privileged status of volume"},
      {"PUT", "/volumes/:handle/stream-in", &S::StreamIn, "failed to stream in to volume"},
      {"PUT", "/volumes/:handle/stream-out", &S::StreamOut, "failed to stream out from volume"},
      {"PUT", "/volumes/:handle/stream-p2p-out", &S::StreamP2pOut,
       "failed to stream p2p out from volume"},
      {"GET", "/disk", &S::GetDisk, "failed to look at the disk"},
      {"GET", "/p2p-url", &S::GetP2pUrl, "failed to get p2p url"},
      {"GET", "/capabilities", &S::GetCapabilities, "failed to get capabilities"},
  };
  return routes;
}

BaggageclaimServer::BaggageclaimServer(Executor executor, Timers& timers, Logger log,
                                       VolumeStore& store)
    : executor_(executor),
      timers_(timers),
      log_(log),
      store_(store),
      tasks_(executor, log, "baggageclaim") {
  const auto& routes = Routes();
  for (std::size_t i = 0; i < routes.size(); ++i)
    router_.Add(routes[i].method, routes[i].path, i);
}

BaggageclaimServer::~BaggageclaimServer() = default;

Task<void> BaggageclaimServer::Shutdown() {
  for (const auto& [handle, creation] : creations_)
    creation->stop.request_stop();
  tasks_.RequestStop();
  co_await tasks_.Join();
}

Task<void> BaggageclaimServer::Handle(http::Exchange& exchange) {
  const auto match = router_.Match(exchange.request().method, exchange.request().Path());
  if (const auto* wrong = std::get_if<http::Router::MethodNotAllowed>(&match)) {
    http::Response response = JsonResponse(405, JsonObject{{"error", "method not allowed"}});
    response.headers.Set("Allow", wrong->allow);
    co_await exchange.Respond(std::move(response));
    co_return;
  }
  const auto* found = std::get_if<http::Router::Found>(&match);
  if (!found) {
    co_await exchange.Respond(JsonResponse(404, JsonObject{{"error", "no such route"}}));
    co_return;
  }
  Call call{&exchange, &Routes()[found->route], found->params, {}};
  auto query = http::Query::Parse(exchange.request().QueryText());
  if (!query) {
    co_await call.Fail(400, query.error().message);
    co_return;
  }
  call.query = std::move(*query);
  std::optional<Error> error;
  try {
    co_await (this->*call.route->handler)(call);
  } catch (const Failure& failure) {
    error = failure.error();
  }
  if (!error) co_return;
  if (error->kind != ErrorKind::kNotFound && error->kind != ErrorKind::kConflict) {
    log_.Warn("baggageclaim request failed",
              {{"route", call.route->path}, {"error", error->message}});
  }
  co_await call.Fail(StatusOf(error->kind), error->message);
}

Task<void> BaggageclaimServer::ListVolumes(Call call) {
  std::map<std::string, std::string> wanted;
  for (const auto& [name, value] : call.query) {
    if (!wanted.emplace(name, value).second) {
      co_await call.Fail(422, "a property may only have a single value: " + name);
      co_return;
    }
  }
  JsonArray list;
  for (const Volume& volume : store_.List(wanted))
    list.push_back(ToJson(volume));
  co_await call.Answer(200, std::move(list));
}

Task<Result<VolumeRequest>> BaggageclaimServer::ReadRequest(Call call) {
  auto body = co_await call.exchange->ReadBody(kBodyMax);
  if (!body) co_return std::unexpected(std::move(body).error());
  co_return FromText<VolumeRequest>(*body);
}

Task<void> BaggageclaimServer::CreateVolume(Call call) {
  auto request = co_await ReadRequest(call);
  if (!request) {
    co_await call.Fail(400, request.error().message);
    co_return;
  }
  std::optional<Error> error;
  std::optional<Volume> volume;
  try {
    volume = co_await store_.Create(std::move(*request), {}, call.exchange->stop());
  } catch (const Failure& failure) {
    error = failure.error();
  }
  if (error) {
    co_await call.Fail(CreationStatusOf(error->kind), error->message);
    co_return;
  }
  co_await call.Answer(201, ToJson(*volume));
}

Task<void> BaggageclaimServer::CreateVolumeAsync(Call call) {
  auto request = co_await ReadRequest(call);
  if (!request) {
    co_await call.Fail(400, request.error().message);
    co_return;
  }
  if (request->handle.empty()) request->handle = RandomUuid();
  const std::string handle = request->handle;
  // A missing parent shows at the check, as upstream's clients expect; a bad request here.
  if (auto checked = store_.CheckRequest(*request);
      !checked && checked.error().kind != ErrorKind::kNotFound) {
    co_await call.Fail(422, checked.error().message);
    co_return;
  }
  ForgetOldCreations();
  if (!creations_.contains(handle)) {
    if (creations_.size() >= kCreationsMax) {
      co_await call.Fail(500, "too many volumes are being created: try again later");
      co_return;
    }
    auto creation = std::make_shared<Creation>();
    creation->handle = handle;
    creations_.emplace(handle, creation);
    tasks_.Spawn(RunCreation(std::move(creation), std::move(*request)));
  }
  if (!call.exchange->request().headers.Get(protocol::baggageclaim::kWaitHeader).empty()) {
    const std::shared_ptr<Creation> creation = creations_.at(handle);
    co_await WaitFor(call, *creation);
    if (creation->volume && !creation->cancelled) {
      creations_.erase(handle);
      co_await call.Answer(201, ToJson(*creation->volume));
      co_return;
    }
  }
  co_await call.Answer(201, JsonObject{{"handle", handle}});
}

Task<void> BaggageclaimServer::RunCreation(std::shared_ptr<Creation> creation,
                                           VolumeRequest request) {
  ProgressReport progress = [creation](std::uint64_t done, std::uint64_t total) {
    creation->progress_done = done;
    creation->progress_total = total;
  };
  try {
    creation->volume =
        co_await store_.Create(std::move(request), std::move(progress), creation->stop.get_token());
  } catch (const Cancelled&) {
    creation->error = Error{ErrorKind::kInternal, "creation was cancelled"};
  } catch (...) {
    creation->error = CurrentError();
    log_.Warn("volume not created",
              {{"handle", creation->handle}, {"error", creation->error->message}});
  }
  creation->finished_at = timers_.clock().Steady();
  creation->finished.Set();
  if (!creation->cancelled || !creation->volume) co_return;
  // It was cancelled too late to stop: nobody knows of the volume.
  std::optional<Error> error;
  try {
    co_await store_.Destroy(creation->handle);
  } catch (const Failure& failure) {
    error = failure.error();
  }
  if (error && error->kind != ErrorKind::kNotFound) {
    log_.Warn("cancelled volume not destroyed",
              {{"handle", creation->handle}, {"error", error->message}});
  }
}

void BaggageclaimServer::ForgetOldCreations() {
  if (creations_.size() < kCreationsMax / 10) return;
  const SteadyTime limit = timers_.clock().Steady() - kCreationKept;
  std::erase_if(creations_, [&](const auto& item) {
    return item.second->finished.IsSet() && item.second->finished_at < limit;
  });
}

/// Most volumes take a millisecond or two: waiting here saves the client its own pause.
Task<void> BaggageclaimServer::WaitFor(Call call, Creation& creation) {
  Deadline deadline(timers_, kCheckWait, call.exchange->stop());
  try {
    co_await creation.finished.Wait(deadline.token());
  } catch (const Cancelled&) {
    if (!deadline.expired()) throw;
  }
}

Task<void> BaggageclaimServer::CheckCreation(Call call) {
  const auto at = creations_.find(call.handle());
  if (at == creations_.end()) {
    co_await call.Fail(404, "no such creation");
    co_return;
  }
  const std::shared_ptr<Creation> creation = at->second;
  co_await WaitFor(call, *creation);
  if (!creation->finished.IsSet()) {
    http::Response working{204, {}, {}};
    working.headers.Set("X-Pinion-Progress", std::to_string(creation->progress_done) + "/" +
                                                 std::to_string(creation->progress_total));
    co_await call.exchange->Respond(std::move(working));
  } else if (creation->error) {
    co_await call.Fail(CreationStatusOf(creation->error->kind), creation->error->message);
  } else {
    co_await call.Answer(200, ToJson(*creation->volume));
  }
}

Task<void> BaggageclaimServer::CancelCreation(Call call) {
  const auto at = creations_.find(call.handle());
  if (at == creations_.end()) {
    co_await call.Fail(404, "no such creation");
    co_return;
  }
  const std::shared_ptr<Creation> creation = at->second;
  creations_.erase(at);
  if (!creation->finished.IsSet()) {
    creation->cancelled = true;
    creation->stop.request_stop();
  }
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::GetVolume(Call call) {
  const auto volume = store_.Find(call.handle());
  if (!volume) {
    co_await call.Fail(404, "volume '" + call.handle() + "' does not exist");
    co_return;
  }
  co_await call.Answer(200, ToJson(*volume));
}

Task<void> BaggageclaimServer::SetProperty(Call call) {
  const std::string body = ValueOrThrow(co_await call.exchange->ReadBody(kBodyMax));
  const auto value = ValueOrThrow(FromText<TextValue>(body));
  co_await store_.SetProperty(call.handle(), call.params.at("property"), value.value);
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::GetPrivileged(Call call) {
  const auto volume = store_.Find(call.handle());
  if (!volume) {
    co_await call.Fail(404, "volume '" + call.handle() + "' does not exist");
    co_return;
  }
  co_await call.Answer(200, Json(volume->privileged));
}

Task<void> BaggageclaimServer::SetPrivileged(Call call) {
  const std::string body = ValueOrThrow(co_await call.exchange->ReadBody(kBodyMax));
  const auto value = ValueOrThrow(FromText<BoolValue>(body));
  co_await store_.SetPrivileged(call.handle(), value.value);
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::DestroyVolume(Call call) {
  co_await store_.Destroy(call.handle());
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::DestroyVolumes(Call call) {
  const std::string body = ValueOrThrow(co_await call.exchange->ReadBody(kBodyMax));
  const Json list = ValueOrThrow(ParseJson(body));
  if (!list.IsArray()) throw Failure(ErrorKind::kInvalid, "expected an array of handles");
  std::set<std::string> left;
  for (const Json& handle : list.AsArray()) {
    if (!handle.IsString()) throw Failure(ErrorKind::kInvalid, "a handle is no string");
    left.insert(handle.AsString());
  }
  // Copies go before what they were copied from, whatever the order in the list.
  std::string failures;
  for (bool again = true; again && !left.empty();) {
    again = false;
    failures.clear();
    const std::set<std::string> round = left;
    for (const std::string& handle : round) {
      std::optional<Error> error;
      try {
        co_await store_.Destroy(handle);
      } catch (const Failure& failure) {
        error = failure.error();
      }
      if (!error || error->kind == ErrorKind::kNotFound) {
        left.erase(handle);
        again = true;
      } else {
        failures += (failures.empty() ? "" : "; ") + error->message;
      }
    }
  }
  if (!failures.empty()) {
    co_await call.Fail(500, failures);
    co_return;
  }
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::CleanupOrphans(Call call) {
  // The store removes leftovers by itself, at its start and behind every destroy.
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::GetDisk(Call call) {
  struct statvfs status{};
  if (::statvfs(store_.folder().c_str(), &status) != 0) {
    throw Failure(SystemError("statvfs " + store_.folder().string(), errno));
  }
  const auto block = static_cast<std::int64_t>(status.f_frsize);
  // What only root may fill counts as used.
  const protocol::baggageclaim::Disk disk{
      .total_bytes = static_cast<std::int64_t>(status.f_blocks) * block,
      .available_bytes = static_cast<std::int64_t>(status.f_bavail) * block};
  co_await call.exchange->Respond(JsonResponse(200, ToJson(disk)));
}

Task<void> BaggageclaimServer::GetP2pUrl(Call call) {
  co_await call.Fail(500, "streaming between workers is not configured on this worker");
}

Task<void> BaggageclaimServer::StreamP2pOut(Call call) {
  for (const char* name : {"path", "streamInURL", "encoding"}) {
    if (call.query.Get(name).value_or("").empty()) {
      co_await call.Fail(400, std::string("missing parameter ") + name);
      co_return;
    }
  }
  co_await call.Fail(500, "streaming between workers is not configured on this worker");
}

Task<void> BaggageclaimServer::GetCapabilities(Call call) {
  co_await call.Answer(200, JsonObject{{"registry_image", store_.HasStrategy("registry-image")}});
}

namespace {

// The limit in MB of the query as bytes, 0 for none.
Result<std::uint64_t> ParseLimit(std::optional<std::string_view> text) {
  if (!text) return 0;
  double megabytes = 0;
  const auto [end, failed] = std::from_chars(text->data(), text->data() + text->size(), megabytes);
  if (failed != std::errc() || end != text->data() + text->size() || !std::isfinite(megabytes) ||
      megabytes < 0 || megabytes > 1e12) {
    return Fail(ErrorKind::kInvalid, "invalid limit " + std::string(text->substr(0, 64)));
  }
  return static_cast<std::uint64_t>(megabytes * 1024 * 1024);
}

Task<void> PumpBody(http::BodyReader& body, archive::BytePipe& pipe, std::stop_token stop) {
  try {
    std::string buffer;
    for (;;) {
      buffer.resize(128 << 10);
      const std::size_t got = co_await body.Read(buffer, stop);
      if (got == 0) break;
      buffer.resize(got);
      co_await pipe.Write(std::move(buffer), stop);
      buffer = {};
    }
    pipe.CloseWrite();
  } catch (...) {
    pipe.Fail(std::current_exception());
  }
}

// The pipe's reader gets the failure, so nobody else needs it.
Task<void> StreamOutQuietly(VolumeStore& store, std::string handle, std::string path,
                            archive::Encoding encoding, archive::BytePipe& pipe,
                            std::stop_token stop) {
  try {
    co_await store.StreamOut(std::move(handle), std::move(path), encoding, pipe, stop);
  } catch (const Failure&) {
  }
}

}  // namespace

Task<void> BaggageclaimServer::StreamIn(Call call) {
  const std::string path(call.query.Get("path").value_or(""));
  const auto encoding = ValueOrThrow(
      archive::ParseEncoding(call.exchange->request().headers.Get("Content-Encoding")));
  const std::uint64_t limit = ValueOrThrow(ParseLimit(call.query.Get("limit")));
  archive::BytePipe pipe;
  TaskGroup pump(executor_, log_, "stream-in");
  pump.Spawn(PumpBody(call.exchange->body(), pipe, pump.stop_token()));
  std::exception_ptr error;
  try {
    co_await store_.StreamIn(call.handle(), path, encoding, limit, pipe, call.exchange->stop());
  } catch (...) {
    error = std::current_exception();
  }
  pump.RequestStop();
  co_await pump.Join();
  if (error) std::rethrow_exception(error);
  co_await call.Answer(204);
}

Task<void> BaggageclaimServer::StreamOut(Call call) {
  const std::string path(call.query.Get("path").value_or(""));
  const auto encoding =
      ValueOrThrow(archive::ParseEncoding(call.exchange->request().headers.Get("Accept-Encoding")));
  archive::BytePipe pipe;
  TaskGroup producer(executor_, log_, "stream-out");
  const std::stop_token stop = call.exchange->stop();
  producer.Spawn(
      StreamOutQuietly(store_, call.handle(), path, encoding, pipe, producer.stop_token()));
  std::exception_ptr error;
  std::optional<Error> refused;
  bool started = false;
  try {
    // Nothing is answered before there is something: a missing path must still become a 404.
    std::string chunk = co_await pipe.Read(stop);
    http::BodyWriter* writer = co_await call.exchange->Start({200, {}, {}}, false);
    started = true;
    while (!chunk.empty()) {
      co_await writer->Write(chunk, stop);
      chunk = co_await pipe.Read(stop);
    }
    co_await writer->Finish(stop);
  } catch (const Failure& failure) {
    refused = failure.error();
    error = std::current_exception();
  } catch (...) {
    error = std::current_exception();
  }
  producer.RequestStop();
  if (error) pipe.Fail(error);
  co_await producer.Join();
  if (refused && !started && refused->kind == ErrorKind::kNotFound && store_.Find(call.handle())) {
    // This exact text is what clients take as "no such file".
    co_await call.Answer(404, JsonObject{{"error", "no such file or directory"}});
    co_return;
  }
  // After the start, leaving without the regular end breaks the answer off, as it must.
  if (refused && started) {
    log_.Warn("stream broke off", {{"handle", call.handle()}, {"error", refused->message}});
    co_return;
  }
  if (error) std::rethrow_exception(error);
}

}  // namespace pinion::worker
