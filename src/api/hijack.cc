#include <exception>

#include "api/handlers.h"
#include "api/hijack_messages.h"
#include "api/server.h"
#include "async/task_group.h"
#include "base/encoding.h"
#include "base/units.h"
#include "fleet/worker_client.h"
#include "store/containers.h"
#include "store/database.h"

/// `fly hijack`: a process in a container behind a WebSocket. Messages are upstream's: first the
/// process, then input; output comes back until the exit status.
namespace pinion::api {

namespace {

using hijack::InputMessage;
using hijack::ProcessMessage;
using hijack::SpecOf;

constexpr std::size_t kMessageBytesMax = 1 << 20;
constexpr Duration kSpecTimeout = std::chrono::seconds(60);
constexpr Duration kTouchInterval = std::chrono::minutes(1);
constexpr std::uint16_t kUnsupportedData = 1003;
constexpr std::uint16_t kNormal = 1000;

/// Keeps collection away from the container; false if it is too late for that.
Task<bool> MarkHijacked(Call& call, std::string handle) {
  auto work = [handle](store::Transaction& t) { return store::SetContainerHijacked(t, handle); };
  return call.database().Write(store::Pool::kApi, work);
}

/// One session: the client's messages go to the process, its output to the client, until either
/// ends.
class HijackSession {
 public:
  HijackSession(Call& call, http::WebSocket& socket, fleet::InteractiveProcess& process,
                std::string handle)
      : call_(call),
        socket_(socket),
        process_(process),
        handle_(std::move(handle)),
        stop_(call.exchange.stop()),
        tasks_(call.services.executor, call.log, "hijack") {}

  Task<void> Run() {
    ResetIdle();
    tasks_.Spawn(ReadInput());
    tasks_.Spawn(Touch());
    std::exception_ptr failure;
    try {
      co_await WriteOutput();
    } catch (...) {
      failure = std::current_exception();
    }
    stop_.RequestStop();
    tasks_.RequestStop();
    co_await tasks_.Join();
    // Upstream's client takes a session that closes without a word for a success.
    std::string error = idle_error_;
    if (error.empty() && failure) error = ErrorOf(failure);
    if (!error.empty()) co_await Send(JsonObject{{"error", Json(error)}});
  }

 private:
  Task<void> Send(Json message) {
    co_await socket_.Write({.data = ToText(message), .text = true}, call_.exchange.stop());
  }

  Task<void> WriteOutput() {
    while (true) {
      const fleet::ProcessOutput output = co_await process_.Next(stop_.token());
      if (output.stream != 0) {
        co_await Send(
            JsonObject{{output.stream == 2 ? "stderr" : "stdout", Json(ToBase64(output.bytes))}});
        continue;
      }
      if (output.exit_status) {
        co_await Send(JsonObject{{"exit_status", Json(*output.exit_status)}});
      } else {
        co_await Send(JsonObject{{"error", Json(output.error)}});
      }
      co_return;
    }
  }

  /// What went wrong with the process; Cancelled goes on, for then nobody listens any more.
  static std::string ErrorOf(const std::exception_ptr& failure) {
    try {
      std::rethrow_exception(failure);
    } catch (const Failure& known) {
      return known.error().message;
    }
  }

  /// The client's going away ends the session: the process is stopped by dropping it.
  Task<void> ReadInput() {
    try {
      while (const auto message = co_await socket_.Read(stop_.token())) {
        ResetIdle();
        const auto input = FromText<InputMessage>(message->data);
        if (!input) break;
        co_await Apply(*input);
      }
    } catch (const Failure&) {
      // A broken connection is an end like any other.
    }
    stop_.RequestStop();
  }

  /// Hands the input on. A process that takes none, for it has ended, still has output to deliver
  /// and an exit status.
  Task<void> Apply(InputMessage input) {
    try {
      co_await HandOver(std::move(input));
    } catch (const Failure& failure) {
      call_.log.Debug("input was not taken", {{"error", failure.error().message}});
    }
  }

  Task<void> HandOver(InputMessage input) {
    if (input.tty) {
      co_await process_.SetWindowSize(input.tty->window_size.columns, input.tty->window_size.rows);
    }
    if (!input.stdin_bytes.empty()) {
      auto bytes = FromBase64(input.stdin_bytes);
      if (bytes) co_await process_.WriteInput(std::move(*bytes));
    }
    if (input.closed) co_await process_.CloseInput();
  }

  /// Collection spares a container while somebody is in it.
  Task<void> Touch() {
    while (true) {
      co_await call_.services.timers.Sleep(kTouchInterval, stop_.token());
      co_await MarkHijacked(call_, handle_);
    }
  }

  void ResetIdle() {
    const Duration limit = call_.services.settings.hijack_idle_timeout;
    if (limit == Duration(0)) return;
    idle_ = call_.services.timers.After(limit, [this, limit] {
      idle_error_ = "idle timeout (" + DurationText(limit) + ") reached";
      stop_.RequestStop();
    });
  }

  Call& call_;
  http::WebSocket& socket_;
  fleet::InteractiveProcess& process_;
  std::string handle_;
  LinkedStop stop_;
  Timers::Handle idle_;
  std::string idle_error_;
  TaskGroup tasks_;
};

/// The container, if the caller may enter it.
Task<std::optional<http::Response>> FindForHijack(Call& call, store::ContainerRow& out) {
  auto work = [handle = call.Param("id")](store::Transaction& t) {
    return store::FindContainer(t, handle);
  };
  auto row = co_await call.database().Read(store::Pool::kApi, work);
  if (!row) co_return EmptyAnswer(404);
  // Check containers are shared by teams: what lies in them is not one team's.
  if (row->type == "check") {
    if (!call.access.admin) co_return EmptyAnswer(403);
  } else if (row->team != call.team.id) {
    co_return EmptyAnswer(404);
  }
  out = std::move(*row);
  co_return std::nullopt;
}

Task<std::optional<ProcessMessage>> ReadProcess(Call& call, http::WebSocket& socket) {
  Deadline deadline(call.services.timers, kSpecTimeout, call.exchange.stop());
  const auto message = co_await socket.Read(deadline.token());
  if (!message) co_return std::nullopt;
  auto spec = FromText<ProcessMessage>(message->data);
  if (!spec) co_return std::nullopt;
  co_return std::move(*spec);
}

}  // namespace

Task<Answer> HijackContainer(Call& call) {
  store::ContainerRow container;
  if (auto denial = co_await FindForHijack(call, container)) co_return denial;
  if (!call.services.hijack) co_return NotWired("hijacking");
  if (!call.exchange.IsWebSocketUpgrade()) co_return TextAnswer(400, "not a websocket request");

  // Marked before the process starts: it must not lose the container under its feet.
  const bool alive = co_await MarkHijacked(call, container.handle);
  if (!alive) co_return EmptyAnswer(404);

  call.answered = true;
  auto socket = co_await call.exchange.AcceptWebSocket(kMessageBytesMax);
  const auto message = co_await ReadProcess(call, *socket);
  if (!message) {
    co_await socket->Close(kUnsupportedData, "malformed process spec");
    co_return std::nullopt;
  }
  call.log.Info("hijack", {{"container", Json(container.handle)},
                           {"user", Json(call.access.UserText())},
                           {"path", Json(message->path)}});
  bool executable_missing = false;
  auto process = co_await call.services.hijack->Start(container.worker_name, container.handle,
                                                      SpecOf(*message), executable_missing,
                                                      call.exchange.stop());
  if (!process) {
    const std::stop_token stop = call.exchange.stop();
    if (executable_missing) {
      co_await socket->Write({.data = R"({"executable_not_found":true})"}, stop);
    }
    const JsonObject error{{"error", Json(process.error().message)}};
    co_await socket->Write({.data = ToText(Json(error))}, stop);
    co_await socket->Close(kNormal, "");
    co_return std::nullopt;
  }
  HijackSession session(call, *socket, **process, container.handle);
  co_await session.Run();
  co_await socket->Close(kNormal, "");
  co_return std::nullopt;
}

}  // namespace pinion::api
