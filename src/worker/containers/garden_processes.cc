#include <algorithm>

#include "base/text.h"
#include "protocol/garden.h"
#include "worker/containers/output_cursor.h"
#include "worker/containers/process_input.h"
#include "worker/garden_server.h"

// The part of Garden's API that is about processes and their streams.
namespace pinion::worker {
namespace {

using http::Exchange;
using http::PathParams;
using protocol::garden::ErrorBody;
using protocol::garden::LogFrameSource;
using protocol::garden::ProcessPayload;
using protocol::garden::ProcessSpec;

constexpr std::size_t kBodyBytesMax = 16 << 20;
constexpr std::size_t kLineBytesMax = 4 << 20;
/// How long after a process's end its output streams can still be opened.
constexpr Duration kAttachmentLife = std::chrono::minutes(2);

void AppendBigEndian(std::string& out, std::uint64_t value, int bytes) {
  for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>(value >> shift & 0xFF));
  }
}

std::string FrameHead(LogFrameSource source, std::int64_t offset, std::size_t bytes) {
  std::string head;
  head.push_back(static_cast<char>(source));
  AppendBigEndian(head, static_cast<std::uint64_t>(offset), 8);
  AppendBigEndian(head, bytes, 4);
  return head;
}

/// Why the process has no exit status; empty if it has one.
std::string ErrorOf(const ContainerProcess& process) {
  const ProcessEnd& end = *process.end;
  if (!end.unexecuted || !end.error.empty()) return end.error;
  return SystemError("exec " + process.spec.path, end.exit_status).message;
}

ProcessPayload EndPayload(const ContainerProcess& process) {
  ProcessPayload payload;
  payload.process_id = process.id;
  const std::string error = ErrorOf(process);
  if (error.empty()) {
    payload.exit_status = process.end->exit_status;
  } else {
    payload.error = error;
  }
  return payload;
}

std::int64_t Number(std::string_view text, std::string_view name) {
  const auto number = ParseNumber(text);
  if (!number || *number < 0) {
    throw Failure(ErrorKind::kInvalid, std::string(name) + " is no byte offset");
  }
  return *number;
}

std::int64_t OffsetOf(const http::Query& query, std::string_view name) {
  const auto text = query.Get(name);
  return text ? Number(*text, name) : 0;
}

/// Forgets what the request says has been read for good.
Task<void> TakeAcknowledgement(const Exchange& exchange, std::shared_ptr<Container> container,
                               std::shared_ptr<ContainerProcess> process) {
  const std::string_view out = exchange.request().headers.Get("X-Pinion-Acknowledged-Stdout");
  const std::string_view err = exchange.request().headers.Get("X-Pinion-Acknowledged-Stderr");
  if (out.empty() && err.empty()) co_return;
  const std::array<std::int64_t, 2> offsets{
      out.empty() ? 0 : Number(out, "X-Pinion-Acknowledged-Stdout"),
      err.empty() ? 0 : Number(err, "X-Pinion-Acknowledged-Stderr")};
  co_await container->Acknowledge(std::move(process), offsets);
}

}  // namespace

std::shared_ptr<ContainerProcess> GardenServer::FindProcess(const Container& container,
                                                            const PathParams& params) const {
  const std::string id = params.find("pid")->second;
  auto process = container.FindProcess(id);
  if (process) return process;
  throw GardenFailure(404, {.type = "ProcessNotFoundError",
                            .message = "unknown process: " + id,
                            .handle = container.handle(),
                            .process_id = id});
}

void GardenServer::ForgetOldAttachments() {
  const SteadyTime now = timers_.clock().Steady();
  std::erase_if(attachments_, [now](const auto& item) {
    return item.second->ended && *item.second->ended + kAttachmentLife < now;
  });
}

Task<void> GardenServer::Run(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  auto text = co_await exchange.ReadBody(kBodyBytesMax);
  if (!text) throw Failure(text.error());
  auto spec = FromText<ProcessSpec>(*text);
  if (!spec) throw Failure(std::move(spec).error().Context("request body"));
  if (spec->id.empty()) spec->id = "process-" + std::to_string(next_attachment_);
  if (!exchange.request().headers.Get(protocol::garden::kOnceHeader).empty() &&
      container->FindProcess(spec->id)) {
    throw Failure(ErrorKind::kConflict, "process " + spec->id + " of container " +
                                            container->handle() + " was started before");
  }
  const auto process = co_await container->Run(std::move(*spec), exchange.stop());
  co_await Converse(exchange, 201, container, process, {0, 0});
}

Task<void> GardenServer::Attach(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const auto process = FindProcess(*container, params);
  // Where the last reader stopped, so that one after another gets everything.
  co_await Converse(exchange, 200, container, process, process->delivered);
}

Task<void> GardenServer::Converse(Exchange& exchange, int status,
                                  std::shared_ptr<Container> container,
                                  std::shared_ptr<ContainerProcess> process,
                                  std::array<std::int64_t, 2> offsets) {
  ForgetOldAttachments();
  const std::string id = std::to_string(next_attachment_++);
  auto attachment = std::make_shared<Attachment>(Attachment{.handle = container->handle(),
                                                            .container = container,
                                                            .process = process,
                                                            .offsets = offsets,
                                                            .ended = std::nullopt});
  attachments_[id] = attachment;
  const Executor executor = co_await boost::asio::this_coro::executor;
  const auto stream = co_await exchange.Hijack(
      {.status = status, .headers = {{"Content-Type", "application/json"}}, .body = {}});
  TaskGroup input(executor, log_, "process input");
  LinkedStop gone(exchange.stop());
  std::exception_ptr error;
  try {
    ProcessPayload hello;
    hello.process_id = process->id;
    hello.stream_id = id;
    co_await stream->Write(ToText(ToJson(hello)) + "\n", gone.token());
    input.Spawn(ReadInput(*stream, container, process, gone));
    while (!process->end)
      co_await process->changed.Wait(gone.token());
    co_await stream->Write(ToText(ToJson(EndPayload(*process))) + "\n", gone.token());
  } catch (...) {
    error = std::current_exception();
  }
  attachment->ended = timers_.clock().Steady();
  gone.RequestStop();
  stream->Close();
  co_await input.Join();
  if (!error) co_return;
  try {
    std::rethrow_exception(error);
  } catch (const Failure&) {
    // The client went away; the process goes on.
  }
}

Task<void> GardenServer::ReadInput(http::Stream& stream, std::shared_ptr<Container> container,
                                   std::shared_ptr<ContainerProcess> process, LinkedStop& gone) {
  ProcessInput input(container, process);
  http::LineReader lines(stream, kLineBytesMax);
  const std::stop_token stop = gone.token();
  bool broken = false;
  try {
    while (auto line = co_await lines.Next(stop)) {
      if (line->empty()) continue;
      auto payload = FromText<ProcessPayload>(*line, {.bytes = kLineBytesMax});
      if (!payload) break;
      if (payload->tty) {
        if (payload->tty->window_size) co_await input.Resize(*payload->tty->window_size, stop);
      } else if (payload->signal) {
        co_await container->Signal(process, *payload->signal == 1, stop);
      } else if (payload->source && payload->data) {
        co_await input.Write(std::move(*payload->data), stop);
      } else {
        break;  // no more input
      }
    }
  } catch (const Failure&) {
    broken = true;
  }
  if (!process->end) co_await input.End(stop);
  if (broken) {
    gone.RequestStop();
    co_return;
  }
  // The connection still tells when the client goes away, and terminals are still resized.
  try {
    while (auto line = co_await lines.Next(stop)) {
      auto payload = FromText<ProcessPayload>(*line, {.bytes = kLineBytesMax});
      if (payload && payload->tty && payload->tty->window_size) {
        co_await input.Resize(*payload->tty->window_size, stop);
      }
    }
  } catch (const Failure&) {
    gone.RequestStop();
  }
}

Task<void> GardenServer::Stdout(Exchange& exchange, PathParams params) {
  return StreamOutput(exchange, std::move(params), OutputStream::kStdout);
}

Task<void> GardenServer::Stderr(Exchange& exchange, PathParams params) {
  return StreamOutput(exchange, std::move(params), OutputStream::kStderr);
}

Task<void> GardenServer::StreamOutput(Exchange& exchange, PathParams params, OutputStream which) {
  const auto container = co_await Find(exchange, params);
  const auto process = FindProcess(*container, params);
  const auto found = attachments_.find(params.find("streamid")->second);
  if (found == attachments_.end() || found->second->process->id != process->id) {
    throw Failure(ErrorKind::kNotFound, "unknown stream of process " + process->id);
  }
  const std::shared_ptr<Attachment> attachment = found->second;
  const auto stream = co_await exchange.Hijack(
      {.status = 200, .headers = {{"Content-Type", "application/json"}}, .body = {}});
  std::array<std::optional<std::int64_t>, 2> offsets;
  const auto index = static_cast<std::size_t>(which);
  offsets[index] = attachment->offsets[index];
  OutputCursor cursor(pool_, attachment->container, attachment->process, offsets);
  try {
    while (auto chunk = co_await cursor.Next(exchange.stop())) {
      co_await stream->Write(chunk->bytes, exchange.stop());
    }
  } catch (const Failure& failure) {
    log_.Debug("output not delivered",
               {{"container", attachment->handle}, {"error", failure.error().message}});
  }
  stream->Close();
}

Task<void> GardenServer::Log(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const auto process = FindProcess(*container, params);
  const http::Query query = ValueOrThrow(http::Query::Parse(exchange.request().QueryText()));
  OutputCursor cursor(pool_, container, process,
                      {OffsetOf(query, "stdout"), OffsetOf(query, "stderr")});
  co_await TakeAcknowledgement(exchange, container, process);
  http::BodyWriter* body = co_await exchange.Start(
      {.status = 200, .headers = {{"Content-Type", "application/octet-stream"}}, .body = {}},
      false);
  while (auto chunk = co_await cursor.Next(exchange.stop())) {
    const auto source =
        chunk->stream == OutputStream::kStdout ? LogFrameSource::kStdout : LogFrameSource::kStderr;
    // Two writes are cheaper than a copy.
    const std::string head = FrameHead(source, chunk->offset, chunk->bytes.size());
    co_await body->Write(head, exchange.stop());
    co_await body->Write(chunk->bytes, exchange.stop());
  }
  JsonObject end;
  const std::string error = ErrorOf(*process);
  if (error.empty()) {
    end.Set("exit_status", process->end->exit_status);
  } else {
    end.Set("error", error);
  }
  const std::string text = ToText(end);
  const std::string frame = FrameHead(LogFrameSource::kExit, 0, text.size()) + text;
  co_await body->Write(frame, exchange.stop());
  co_await body->Finish(exchange.stop());
}

Task<void> GardenServer::Acknowledge(Exchange& exchange, PathParams params) {
  const auto container = co_await Find(exchange, params);
  const auto process = FindProcess(*container, params);
  co_await TakeAcknowledgement(exchange, container, process);
  co_await exchange.Respond(
      {.status = 200, .headers = {{"Content-Type", "application/json"}}, .body = "{}\n"});
}

}  // namespace pinion::worker
