#include "fleet/worker_calls.h"

#include <algorithm>

#include "base/encoding.h"

namespace pinion::fleet {

using protocol::garden::ErrorBody;

namespace {

// A worker that is only started anew is no trouble.
constexpr Duration kTroubleAfter = std::chrono::seconds(2);
constexpr Duration kTellTroubleAgain = std::chrono::minutes(1);

}  // namespace

Backoff::Backoff(WorkerCalls& calls) : calls_(calls), pause_(calls.options.first_pause) {}

Task<bool> Backoff::Wait(std::string why, std::stop_token stop) {
  const SteadyTime now = calls_.timers.clock().Steady();
  if (!failing_since_) failing_since_ = now;
  if (now - *failing_since_ >= calls_.options.unreachable_limit) co_return false;
  if (now - *failing_since_ >= kTroubleAfter && (!told_ || now - *told_ >= kTellTroubleAgain)) {
    told_ = now;
    calls_.TellTrouble(why);
  }
  const Duration pause = pause_;
  pause_ = std::min(pause_ * 2, calls_.options.longest_pause);
  co_await calls_.timers.Sleep(pause, stop);
  co_return true;
}

void Backoff::Succeeded() {
  failing_since_.reset();
  told_.reset();
  pause_ = calls_.options.first_pause;
}

namespace {

std::unique_ptr<http::Client> MakeHttp(const Executor& executor, Timers& timers, std::string url,
                                       std::size_t connections, Duration response_timeout) {
  http::ClientOptions options;
  options.url = std::move(url);
  options.connections_max = connections;
  options.response_timeout = response_timeout;
  return http::Client::Make(executor, timers, std::move(options));
}

}  // namespace

WorkerCalls::WorkerCalls(Executor executor_in, Timers& timers_in, Logger log_in,
                         WorkerClientOptions options_in)
    : options(std::move(options_in)),
      executor(std::move(executor_in)),
      timers(timers_in),
      log(std::move(log_in)),
      // Creating and stopping containers take their time; a stop waits 10 s for the process alone.
      garden(MakeHttp(executor, timers, options.garden_url, 64, std::chrono::minutes(2))),
      streams(MakeHttp(executor, timers, options.garden_url, 8192, std::chrono::minutes(1))),
      baggageclaim(
          MakeHttp(executor, timers, options.baggageclaim_url, 64, std::chrono::minutes(1))),
      // The answer to a stream comes when all of it is unpacked.
      bulk(MakeHttp(executor, timers, options.baggageclaim_url, 256, std::chrono::hours(1))),
      tasks(executor, log, "worker client") {}

void WorkerCalls::TellTrouble(const std::string& why) {
  log.Warn("a worker cannot be reached", {{"worker", options.name}, {"error", why}});
  std::erase_if(trouble_listeners, [](const auto& listener) { return listener.expired(); });
  const auto listeners = trouble_listeners;
  for (const auto& one : listeners) {
    if (const auto listener = one.lock()) (*listener)(why);
  }
}

Failure WorkerCalls::Fail(ErrorKind kind, std::string_view what, std::string_view message) const {
  return {kind,
          "worker '" + options.name + "': " + std::string(what) + ": " + std::string(message)};
}

Failure WorkerCalls::AnswerFailure(std::string_view what, const http::Response& response) const {
  ErrorKind kind = ErrorKind::kInternal;
  if (response.status == 404) kind = ErrorKind::kNotFound;
  if (response.status == 409) kind = ErrorKind::kConflict;
  if (response.status == 400 || response.status == 422) kind = ErrorKind::kInvalid;
  if (response.status == 403) kind = ErrorKind::kTooLarge;  // Baggageclaim's limit of a stream
  if (response.status == 502 || response.status == 503) kind = ErrorKind::kUnavailable;
  std::string message;
  if (const auto json = ParseJson(response.body); json && json->IsObject()) {
    message = std::string(json->StringAt("error"));  // Baggageclaim
    if (auto body = FromJson<ErrorBody>(*json); body && message.empty()) {
      message = body->message;
      if (body->type == "ServiceUnavailableError") kind = ErrorKind::kUnavailable;
      if (body->type == "ExecutableNotFoundError") kind = ErrorKind::kNotFound;
      if (body->type == "ContainerNotFoundError" || body->type == "ProcessNotFoundError") {
        kind = ErrorKind::kNotFound;
        if (message.empty()) {
          message =
              body->type == "ContainerNotFoundError" ? "no such container" : "no such process";
        }
      }
    }
  }
  if (message.empty()) message = response.body.substr(0, 500);
  if (message.empty()) message = "status " + std::to_string(response.status);
  return Fail(kind, what, message);
}

Task<http::Response> WorkerCalls::Send(http::Client& client, std::string what,
                                       http::Request request, Repeat repeat, std::stop_token stop) {
  Backoff backoff(*this);
  for (;;) {
    std::optional<Error> error;
    try {
      http::Response response = co_await client.Send(request, stop);
      if (response.status < 502 || response.status > 503) co_return response;
      error = AnswerFailure(what, response).error();
    } catch (const Failure& failure) {
      error = Fail(failure.error().kind, what, failure.error().message).error();
    }
    const bool transient =
        error->kind == ErrorKind::kUnavailable || error->kind == ErrorKind::kTimeout;
    if (repeat == Repeat::kNo || !transient) throw Failure(*error);
    const bool again = co_await backoff.Wait(error->message, stop);
    if (!again) throw Failure(*error);
  }
}

Task<http::Response> WorkerCalls::Call(http::Client& client, std::string what,
                                       http::Request request, Repeat repeat, std::stop_token stop) {
  http::Response response = co_await Send(client, what, std::move(request), repeat, stop);
  if (response.status >= 300) throw AnswerFailure(what, response);
  co_return response;
}

Task<Capabilities> WorkerCalls::Ask(std::stop_token stop) {
  if (capabilities) co_return *capabilities;
  Capabilities found;
  http::Request request;
  request.target = "/ping";
  const http::Response response =
      co_await Call(*garden, "asking what it can do", std::move(request), Repeat::kYes, stop);
  if (const auto json = ParseJson(response.body)) {
    if (const Json* pinion = json->Find("pinion")) {
      found.log_offsets = pinion->BoolAt("log_offsets");
    }
  }
  // The volume server speaks for itself; upstream's has no such route.
  http::Request volumes;
  volumes.target = "/capabilities";
  const http::Response answer =
      co_await Send(*baggageclaim, "asking what it can do", volumes, Repeat::kYes, stop);
  if (answer.status == 200) {
    const auto json = ParseJson(answer.body);
    found.registry_image = json && json->BoolAt("registry_image");
  }
  capabilities = found;
  co_return found;
}

std::string ContainerPath(std::string_view handle, std::string_view rest) {
  return "/containers/" + PercentEncode(handle) + std::string(rest);
}

std::string VolumePath(std::string_view handle, std::string_view rest) {
  return "/volumes/" + PercentEncode(handle) + std::string(rest);
}

http::Request JsonRequest(std::string method, std::string target, const Json& body) {
  http::Request request;
  request.method = std::move(method);
  request.target = std::move(target);
  request.headers.Set("Content-Type", "application/json");
  request.body = ToText(body);
  return request;
}

}  // namespace pinion::fleet
