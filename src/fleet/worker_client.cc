#include "fleet/worker_client.h"

#include <algorithm>

#include "base/encoding.h"
#include "fleet/worker_calls.h"

namespace pinion::fleet {
namespace {

namespace garden = protocol::garden;
namespace baggageclaim = protocol::baggageclaim;
using Repeat = WorkerCalls::Repeat;

std::string Quoted(std::string_view noun, std::string_view name) {
  return std::string(noun) + " '" + std::string(name) + "'";
}

http::Request Plain(std::string method, std::string target) {
  http::Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  return request;
}

/// The answer to GET /containers.
struct Handles {
  std::vector<std::string> handles;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("Handles", self.handles);
  }
};

/// A body that keeps its client alive.
class OwnedBody final : public http::BodyReader {
 public:
  OwnedBody(std::shared_ptr<WorkerCalls> calls, std::unique_ptr<http::BodyReader> body,
            std::string what)
      : calls_(std::move(calls)), body_(std::move(body)), what_(std::move(what)) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    std::optional<Error> error;
    try {
      co_return co_await body_->Read(buffer, stop);
    } catch (const Failure& failure) {
      error = calls_->Fail(failure.error().kind, what_, failure.error().message).error();
    }
    throw Failure(*error);
  }

 private:
  std::shared_ptr<WorkerCalls> calls_;
  std::unique_ptr<http::BodyReader> body_;
  std::string what_;
};

class HttpInteractiveProcess final : public InteractiveProcess {
 public:
  HttpInteractiveProcess(std::shared_ptr<WorkerCalls> calls,
                         std::shared_ptr<ProcessStreams> streams, std::string what)
      : calls_(std::move(calls)), streams_(std::move(streams)), what_(std::move(what)) {}
  HttpInteractiveProcess(const HttpInteractiveProcess&) = delete;
  HttpInteractiveProcess& operator=(const HttpInteractiveProcess&) = delete;
  ~HttpInteractiveProcess() override { streams_->Close(); }

  Task<ProcessOutput> Next(std::stop_token stop) override {
    std::optional<ProcessOutput> output = co_await streams_->Next(stop);
    if (!output) {
      throw calls_->Fail(ErrorKind::kUnavailable, what_, "the connection broke off");
    }
    if (output->stream > 0) {
      std::uint64_t& offset = offsets_[output->stream - 1];
      output->offset = offset;
      offset += output->bytes.size();
    }
    co_return std::move(*output);
  }
  Task<void> WriteInput(std::string bytes) override {
    return streams_->SendInput(std::move(bytes));
  }
  Task<void> CloseInput() override { return streams_->SendInputEnd(); }
  Task<void> SetWindowSize(int columns, int rows) override {
    return streams_->SendWindowSize(columns, rows);
  }

 private:
  std::shared_ptr<WorkerCalls> calls_;
  std::shared_ptr<ProcessStreams> streams_;
  std::string what_;
  std::uint64_t offsets_[2] = {0, 0};
};

class HttpWorkerClient final : public WorkerClient {
 public:
  explicit HttpWorkerClient(std::shared_ptr<WorkerCalls> calls) : calls_(std::move(calls)) {}

  const std::string& name() const override { return calls_->options.name; }

  Task<void> CreateContainer(garden::ContainerSpec spec, std::uint64_t epoch,
                             std::stop_token stop) override {
    const std::string what = Quoted("creating container", spec.handle);
    http::Request request = JsonRequest("POST", "/containers", ToJson(spec));
    request.headers.Set(std::string(garden::kEpochHeader), std::to_string(epoch));
    const http::Response response =
        co_await calls_->Send(*calls_->garden, what, std::move(request), Repeat::kYes, stop);
    if (response.status < 300) co_return;
    const Failure failure = calls_->AnswerFailure(what, response);
    if (failure.error().kind == ErrorKind::kConflict) throw failure;
    // Upstream's worker refuses a handle that it has; so it does when the first try's answer was
    // lost.
    const bool exists = co_await ContainerExists(spec.handle, stop);
    if (!exists) throw failure;
  }

  Task<bool> ContainerExists(std::string handle, std::stop_token stop) override {
    const std::string what = Quoted("looking for container", handle);
    const http::Response response = co_await calls_->Send(
        *calls_->garden, what, Plain("GET", ContainerPath(handle, "/properties")), Repeat::kYes,
        stop);
    if (response.status < 300) co_return true;
    const Failure failure = calls_->AnswerFailure(what, response);
    if (failure.error().kind == ErrorKind::kNotFound) co_return false;
    throw failure;
  }

  Task<void> Fence(std::string handle, std::uint64_t epoch, std::stop_token stop) override {
    const std::string what = Quoted("taking over container", handle);
    http::Request request = Plain("GET", ContainerPath(handle, "/properties"));
    request.headers.Set(std::string(garden::kEpochHeader), std::to_string(epoch));
    const http::Response response =
        co_await calls_->Send(*calls_->garden, what, std::move(request), Repeat::kNo, stop);
    if (response.status >= 300 && response.status != 404) {
      throw calls_->AnswerFailure(what, response);
    }
  }

  Task<std::unique_ptr<ProcessFollower>> RunProcess(std::string handle, garden::ProcessSpec spec,
                                                    std::string input, std::uint64_t stdout_offset,
                                                    std::uint64_t stderr_offset,
                                                    std::uint64_t epoch,
                                                    std::stop_token stop) override {
    const Capabilities capabilities = co_await calls_->Ask(stop);
    if (!capabilities.log_offsets) {
      co_return co_await FollowByAttach(calls_, std::move(handle), std::move(spec),
                                        std::move(input), stdout_offset, stderr_offset, stop);
    }
    co_return co_await FollowByOffsets(calls_, std::move(handle), std::move(spec), std::move(input),
                                       stdout_offset, stderr_offset, epoch, stop);
  }

  Task<std::unique_ptr<InteractiveProcess>> RunInteractive(std::string handle,
                                                           garden::ProcessSpec spec,
                                                           std::stop_token stop) override {
    const std::string what = Quoted("running " + spec.path + " in container", handle);
    auto main = co_await HijackRun(calls_, handle, spec, std::nullopt, stop);
    auto streams = co_await ProcessStreams::Open(calls_, handle, what, std::move(main), stop);
    co_return std::make_unique<HttpInteractiveProcess>(calls_, std::move(streams), what);
  }

  Task<void> StopContainer(std::string handle, bool kill, std::stop_token stop) override {
    co_await calls_->Call(*calls_->garden, Quoted("stopping container", handle),
                          JsonRequest("PUT", ContainerPath(handle, "/stop"),
                                      JsonObject{{"handle", handle}, {"kill", kill}}),
                          Repeat::kYes, stop);
  }

  Task<void> DestroyContainer(std::string handle, std::stop_token stop) override {
    co_await CallUnlessGone(*calls_->garden, Quoted("destroying container", handle),
                            Plain("DELETE", ContainerPath(handle)), stop);
  }

  Task<std::map<std::string, std::string>> Properties(std::string handle,
                                                      std::stop_token stop) override {
    const std::string what = Quoted("reading properties of container", handle);
    const http::Response response = co_await calls_->Call(
        *calls_->garden, what, Plain("GET", ContainerPath(handle, "/properties")), Repeat::kYes,
        stop);
    co_return Read<std::map<std::string, std::string>>(what, response);
  }

  Task<void> SetProperty(std::string handle, std::string property, std::string value,
                         std::stop_token stop) override {
    co_await calls_->Call(
        *calls_->garden, Quoted("setting a property of container", handle),
        JsonRequest("PUT", ContainerPath(handle, "/properties/" + PercentEncode(property)),
                    JsonObject{{"value", value}}),
        Repeat::kYes, stop);
  }

  Task<std::vector<std::string>> ListContainers(std::stop_token stop) override {
    const std::string what = "listing containers";
    const http::Response response = co_await calls_->Call(
        *calls_->garden, what, Plain("GET", "/containers"), Repeat::kYes, stop);
    co_return Read<Handles>(what, response).handles;
  }

  Task<baggageclaim::Volume> CreateVolume(baggageclaim::VolumeRequest request,
                                          std::stop_token stop) override {
    const std::string what = Quoted("creating volume", request.handle);
    std::optional<Error> error;
    try {
      co_return co_await CreateNewVolume(request, what, stop);
    } catch (const Failure& failure) {
      error = failure.error();
    }
    // It may have been made by a former try.
    if (error->kind != ErrorKind::kUnavailable && error->kind != ErrorKind::kTimeout) {
      std::optional<baggageclaim::Volume> volume = co_await FindVolume(request.handle, stop);
      if (volume) co_return std::move(*volume);
    }
    throw Failure(*error);
  }

  Task<std::optional<baggageclaim::Volume>> FindVolume(std::string handle,
                                                       std::stop_token stop) override {
    const std::string what = Quoted("looking for volume", handle);
    const http::Response response = co_await calls_->Send(
        *calls_->baggageclaim, what, Plain("GET", VolumePath(handle)), Repeat::kYes, stop);
    if (response.status == 404) co_return std::nullopt;
    if (response.status >= 300) throw calls_->AnswerFailure(what, response);
    co_return Read<baggageclaim::Volume>(what, response);
  }

  Task<void> DestroyVolume(std::string handle, std::stop_token stop) override {
    co_await CallUnlessGone(*calls_->baggageclaim, Quoted("destroying volume", handle),
                            Plain("DELETE", VolumePath(handle)), stop);
  }

  Task<std::optional<baggageclaim::Disk>> FindDisk(std::stop_token stop) override {
    const std::string what = "looking at the disk";
    const http::Response response = co_await calls_->Send(
        *calls_->baggageclaim, what, Plain("GET", "/disk"), Repeat::kYes, stop);
    if (response.status == 404 || response.status == 405) co_return std::nullopt;
    if (response.status >= 300) throw calls_->AnswerFailure(what, response);
    co_return Read<baggageclaim::Disk>(what, response);
  }

  Task<std::vector<std::string>> ListVolumes(std::stop_token stop) override {
    const std::string what = "listing volumes";
    const http::Response response = co_await calls_->Call(
        *calls_->baggageclaim, what, Plain("GET", "/volumes"), Repeat::kYes, stop);
    std::vector<std::string> handles;
    for (baggageclaim::Volume& volume : Read<std::vector<baggageclaim::Volume>>(what, response)) {
      handles.push_back(std::move(volume.handle));
    }
    co_return handles;
  }

  Task<void> StreamIn(std::string handle, std::string path, std::string encoding,
                      http::BodyReader& tar, std::stop_token stop) override {
    const std::string what = Quoted("streaming into volume", handle);
    http::Request request =
        Plain("PUT", VolumePath(handle, "/stream-in?path=" + PercentEncode(path)));
    request.headers.Set("Content-Encoding", encoding);
    http::StreamedResponse response = co_await OpenBulk(what, std::move(request), &tar, stop);
    if (response.status >= 300) co_await ThrowAnswer(what, response, stop);
  }

  Task<std::unique_ptr<http::BodyReader>> StreamOut(std::string handle, std::string path,
                                                    std::string encoding,
                                                    std::stop_token stop) override {
    const std::string what = Quoted("streaming '" + path + "' out of volume", handle);
    http::Request request =
        Plain("PUT", VolumePath(handle, "/stream-out?path=" + PercentEncode(path)));
    request.headers.Set("Accept-Encoding", encoding);
    http::StreamedResponse response = co_await OpenBulk(what, std::move(request), nullptr, stop);
    if (response.status >= 300) co_await ThrowAnswer(what, response, stop);
    co_return std::make_unique<OwnedBody>(calls_, std::move(response.body), what);
  }

  Task<std::string> ReadFile(std::string handle, std::string path, std::size_t limit,
                             std::stop_token stop) override {
    auto tar = co_await StreamOut(handle, path, "raw", stop);
    Result<std::string> content = co_await ReadTarFile(*tar, limit, stop);
    if (content) co_return std::move(*content);
    throw calls_->Fail(content.error().kind, Quoted("reading '" + path + "' from volume", handle),
                       content.error().message);
  }

  Task<void> SetPrivileged(std::string handle, bool privileged, std::stop_token stop) override {
    co_await calls_->Call(
        *calls_->baggageclaim, Quoted("changing privileges of volume", handle),
        JsonRequest("PUT", VolumePath(handle, "/privileged"), JsonObject{{"value", privileged}}),
        Repeat::kYes, stop);
  }

  Task<bool> PullsImages(std::stop_token stop) override {
    const Capabilities capabilities = co_await calls_->Ask(stop);
    co_return capabilities.registry_image;
  }

  std::shared_ptr<void> OnTrouble(TroubleListener listener) override {
    auto kept = std::make_shared<TroubleListener>(std::move(listener));
    std::erase_if(calls_->trouble_listeners, [](const auto& one) { return one.expired(); });
    calls_->trouble_listeners.push_back(kept);
    return kept;
  }

  Task<void> Close() override {
    calls_->tasks.RequestStop();
    co_await calls_->tasks.Join();
  }

 private:
  template <class T>
  T Read(std::string_view what, const http::Response& response) const {
    auto value = FromText<T>(response.body);
    if (value) return std::move(*value);
    throw calls_->Fail(ErrorKind::kInternal, what,
                       "its answer is not understood: " + value.error().message);
  }

  Task<void> CallUnlessGone(http::Client& client, std::string what, http::Request request,
                            std::stop_token stop) {
    const http::Response response =
        co_await calls_->Send(client, what, std::move(request), Repeat::kYes, stop);
    if (response.status < 300 || response.status == 404) co_return;
    const Failure failure = calls_->AnswerFailure(what, response);
    if (failure.error().kind != ErrorKind::kNotFound) throw failure;
  }

  Task<http::StreamedResponse> OpenBulk(std::string what, http::Request request,
                                        http::BodyReader* source, std::stop_token stop) {
    std::optional<Error> error;
    try {
      co_return co_await calls_->bulk->Open(std::move(request), source, stop);
    } catch (const Failure& failure) {
      error = calls_->Fail(failure.error().kind, what, failure.error().message).error();
    }
    throw Failure(*error);
  }

  /// Throws what a streamed answer that is no success says.
  Task<void> ThrowAnswer(std::string what, http::StreamedResponse& streamed, std::stop_token stop) {
    http::Response response;
    response.status = streamed.status;
    std::string buffer(4096, '\0');
    while (response.body.size() < buffer.size()) {
      const std::size_t count = co_await streamed.body->Read(buffer, stop);
      if (count == 0) break;
      response.body.append(buffer, 0, count);
    }
    throw calls_->AnswerFailure(what, response);
  }

  Task<baggageclaim::Volume> CreateNewVolume(baggageclaim::VolumeRequest request, std::string what,
                                             std::stop_token stop) {
    http::Request begin = JsonRequest("POST", "/volumes-async", ToJson(request));
    begin.headers.Set(std::string(baggageclaim::kWaitHeader), "1");
    const http::Response begun =
        co_await calls_->Call(*calls_->baggageclaim, what, std::move(begin), Repeat::kYes, stop);
    const auto json = ParseJson(begun.body);
    if (json && json->Find("path")) co_return Read<baggageclaim::Volume>(what, begun);
    const std::string future = json ? std::string(json->StringAt("handle")) : std::string();
    if (future.empty()) {
      throw calls_->Fail(ErrorKind::kInternal, what, "its answer has no handle");
    }
    const std::string target = "/volumes-async/" + PercentEncode(future);
    std::exception_ptr error;
    std::optional<baggageclaim::Volume> volume;
    try {
      volume = co_await AwaitVolume(target, what, stop);
    } catch (...) {
      error = std::current_exception();
    }
    // The result is kept by the worker until it is told so; while it works, this cancels it.
    calls_->tasks.Spawn(EndFuture(calls_, target, what));
    if (error) std::rethrow_exception(error);
    co_return std::move(*volume);
  }

  Task<baggageclaim::Volume> AwaitVolume(std::string target, std::string what,
                                         std::stop_token stop) {
    Duration pause = std::chrono::milliseconds(5);
    for (;;) {
      const http::Response response = co_await calls_->Call(
          *calls_->baggageclaim, what, Plain("GET", target), Repeat::kYes, stop);
      if (response.status != 204) co_return Read<baggageclaim::Volume>(what, response);
      co_await calls_->timers.Sleep(pause, stop);
      pause = std::min<Duration>(pause * 2, std::chrono::milliseconds(500));
    }
  }

  static Task<void> EndFuture(std::shared_ptr<WorkerCalls> calls, std::string target,
                              std::string what) {
    Deadline deadline(calls->timers, std::chrono::seconds(30), calls->tasks.stop_token());
    try {
      co_await calls->Send(*calls->baggageclaim, what, Plain("DELETE", target), Repeat::kYes,
                           deadline.token());
    } catch (const Failure& failure) {
      calls->log.Warn("a volume's creation was not ended", {{"error", failure.error().message}});
    }
  }

  std::shared_ptr<WorkerCalls> calls_;
};

}  // namespace

std::unique_ptr<WorkerClient> MakeWorkerClient(Executor executor, Timers& timers, Logger log,
                                               WorkerClientOptions options) {
  return std::make_unique<HttpWorkerClient>(std::make_shared<WorkerCalls>(
      std::move(executor), timers, std::move(log), std::move(options)));
}

}  // namespace pinion::fleet
