// Processes through upstream's Run, Attach and output streams: upstream's workers, and hijacks.
#include <algorithm>
#include <charconv>

#include "base/encoding.h"
#include "fleet/worker_calls.h"

namespace pinion::fleet {
namespace {

using protocol::garden::ProcessPayload;
using protocol::garden::ProcessSpec;

constexpr std::size_t kQueuedBytesMax = 256 << 10;
constexpr std::size_t kInputPieceBytes = 16 << 10;
constexpr std::size_t kLineBytesMax = 1 << 20;

std::string Line(const ProcessPayload& payload) {
  return ToText(ToJson(payload)) + "\n";
}

ProcessPayload InputPayload(std::string process_id) {
  ProcessPayload payload;
  payload.process_id = std::move(process_id);
  payload.source = 0;
  return payload;
}

/// A piece of at most kInputPieceBytes that splits no UTF-8 sequence: pieces travel as JSON text.
std::string_view TakePiece(std::string_view& bytes) {
  std::size_t size = std::min(bytes.size(), kInputPieceBytes);
  if (size < bytes.size()) {
    std::size_t start = size;
    while (start > size - 4 && (static_cast<unsigned char>(bytes[start]) & 0xC0U) == 0x80U)
      --start;
    if ((static_cast<unsigned char>(bytes[start]) & 0xC0U) != 0x80U) size = start;
  }
  const std::string_view piece = bytes.substr(0, size);
  bytes.remove_prefix(size);
  return piece;
}

Task<std::unique_ptr<http::Stream>> Hijack(std::shared_ptr<WorkerCalls> calls, std::string what,
                                           http::Request request, std::stop_token stop) {
  http::Response head;
  std::unique_ptr<http::Stream> stream;
  std::optional<Error> error;
  try {
    stream = co_await calls->streams->Hijack(std::move(request), head, stop);
  } catch (const Failure& failure) {
    error = calls->Fail(failure.error().kind, what, failure.error().message).error();
  }
  if (error) throw Failure(*error);
  if (!stream) throw calls->AnswerFailure(what, head);
  co_return stream;
}

std::string ProcessPath(std::string_view handle, std::string_view process) {
  return ContainerPath(handle, "/processes/" + PercentEncode(process));
}

}  // namespace

Task<std::unique_ptr<http::Stream>> HijackRun(std::shared_ptr<WorkerCalls> calls,
                                              std::string handle, ProcessSpec spec,
                                              std::optional<std::uint64_t> epoch,
                                              std::stop_token stop) {
  http::Request request = JsonRequest("POST", ContainerPath(handle, "/processes"), ToJson(spec));
  if (epoch) {
    request.headers.Set(std::string(protocol::garden::kEpochHeader), std::to_string(*epoch));
    request.headers.Set(std::string(protocol::garden::kOnceHeader), "1");
  }
  return Hijack(calls, "starting process '" + spec.id + "' of container '" + handle + "'",
                std::move(request), std::move(stop));
}

// --- The three connections
// ------------------------------------------------------------------------

ProcessStreams::ProcessStreams(std::shared_ptr<WorkerCalls> calls,
                               std::unique_ptr<http::Stream> main)
    : calls_(std::move(calls)),
      main_(std::move(main)),
      main_lines_(std::make_unique<http::LineReader>(*main_, kLineBytesMax)) {}

Task<std::shared_ptr<ProcessStreams>> ProcessStreams::Open(std::shared_ptr<WorkerCalls> calls,
                                                           std::string handle, std::string what,
                                                           std::unique_ptr<http::Stream> main,
                                                           std::stop_token stop) {
  auto self = std::make_shared<ProcessStreams>(calls, std::move(main));
  const auto line = co_await self->main_lines_->Next(stop);
  if (!line) throw calls->Fail(ErrorKind::kUnavailable, what, "the connection broke off");
  const auto ids = FromText<ProcessPayload>(*line);
  if (!ids) throw calls->Fail(ErrorKind::kInvalid, what, "the worker sent no process id");
  self->process_id_ = ids->process_id;
  const char* names[2] = {"stdout", "stderr"};
  for (int i = 0; i < 2; ++i) {
    http::Request request;
    request.target = ProcessPath(handle, ids->process_id) + "/attaches/" +
                     PercentEncode(ids->stream_id) + "/" + names[i];
    request.headers.Set("Content-Type", "application/json");
    self->outputs_[i] = co_await Hijack(calls, what, std::move(request), stop);
  }
  self->pumps_ = 3;
  for (int i = 0; i < 2; ++i) {
    if (!calls->tasks.Spawn(PumpOutput(self, i + 1))) throw Cancelled();
  }
  if (!calls->tasks.Spawn(PumpMain(self))) throw Cancelled();
  co_return self;
}

void ProcessStreams::PumpEnded(bool broken) {
  broken_ = broken_ || broken;
  --pumps_;
  changed_.Set();
}

Task<void> ProcessStreams::PumpOutput(std::shared_ptr<ProcessStreams> self, int stream) {
  const std::stop_token stop = self->stop_.get_token();
  bool broken = false;
  try {
    std::string buffer(32 << 10, '\0');
    for (;;) {
      while (self->queued_bytes_ >= kQueuedBytesMax)
        co_await self->room_[stream - 1].Wait(stop);
      const std::size_t count = co_await self->outputs_[stream - 1]->Read(buffer, stop);
      if (count == 0) break;
      ProcessOutput output;
      output.stream = stream;
      output.bytes = buffer.substr(0, count);
      self->queued_bytes_ += count;
      self->queue_.push_back(std::move(output));
      self->changed_.Set();
    }
  } catch (const std::exception&) {
    broken = true;
  }
  self->PumpEnded(broken);
}

Task<void> ProcessStreams::PumpMain(std::shared_ptr<ProcessStreams> self) {
  bool broken = false;
  try {
    for (;;) {
      const auto line = co_await self->main_lines_->Next(self->stop_.get_token());
      if (!line) {
        broken = true;
        break;
      }
      const auto payload = FromText<ProcessPayload>(*line);
      if (!payload || (!payload->exit_status && !payload->error)) continue;
      ProcessOutput end;
      end.exit_status = payload->exit_status;
      if (payload->error) {
        end.exit_status.reset();
        end.error = *payload->error;
      }
      self->end_ = std::move(end);
      break;
    }
  } catch (const std::exception&) {
    broken = true;
  }
  // Without its main connection the process's end cannot be learned.
  if (broken) self->stop_.request_stop();
  self->PumpEnded(broken);
}

Task<std::optional<ProcessOutput>> ProcessStreams::Next(std::stop_token stop) {
  for (;;) {
    if (!queue_.empty()) {
      ProcessOutput output = std::move(queue_.front());
      queue_.pop_front();
      queued_bytes_ -= output.bytes.size();
      for (Signal& room : room_)
        room.Set();
      co_return output;
    }
    if (pumps_ == 0) {
      // An output that broke off although the end is known has lost something.
      if (end_ && !broken_) co_return end_;
      co_return std::nullopt;
    }
    co_await changed_.Wait(stop);
  }
}

Task<void> ProcessStreams::SendPayload(ProcessPayload payload) {
  payload.process_id = process_id_;
  const std::string line = Line(payload);
  const Semaphore::Permit permit = co_await sending_.Acquire(stop_.get_token());
  co_await main_->Write(line, stop_.get_token());
}

Task<void> ProcessStreams::SendInput(std::string bytes) {
  std::string_view rest = bytes;
  while (!rest.empty()) {
    ProcessPayload payload = InputPayload({});
    payload.data = std::string(TakePiece(rest));
    co_await SendPayload(std::move(payload));
  }
}

Task<void> ProcessStreams::SendInputEnd() {
  return SendPayload(InputPayload({}));
}

Task<void> ProcessStreams::SendWindowSize(int columns, int rows) {
  ProcessPayload payload;
  payload.tty.emplace();
  payload.tty->window_size = protocol::garden::WindowSize{columns, rows};
  co_await SendPayload(std::move(payload));
}

void ProcessStreams::Close() {
  stop_.request_stop();
}

// --- Following through attach
// -----------------------------------------------------------------------

namespace {

class AttachFollower final : public ProcessFollower {
 public:
  AttachFollower(std::shared_ptr<WorkerCalls> calls, std::string handle, std::string process,
                 std::uint64_t stdout_offset, std::uint64_t stderr_offset)
      : calls_(std::move(calls)),
        handle_(std::move(handle)),
        process_(std::move(process)),
        what_("following process '" + process_ + "' of container '" + handle_ + "'"),
        offsets_{stdout_offset, stderr_offset},
        backoff_(*calls_) {}
  AttachFollower(const AttachFollower&) = delete;
  AttachFollower& operator=(const AttachFollower&) = delete;
  ~AttachFollower() override {
    if (streams_) streams_->Close();
  }

  void Use(std::shared_ptr<ProcessStreams> streams) { streams_ = std::move(streams); }
  void SetEnded(int status) { ended_ = status; }

  /// Attaches, or finds the exit status that was kept. False if the worker refuses: no such
  /// process.
  Task<bool> Attach(std::stop_token stop);
  Task<ProcessOutput> Next(std::stop_token stop) override;

 private:
  static Task<void> KeepExitStatus(std::shared_ptr<WorkerCalls> calls, std::string handle,
                                   int status);

  std::shared_ptr<WorkerCalls> calls_;
  std::string handle_;
  std::string process_;
  std::string what_;
  std::uint64_t offsets_[2];
  std::shared_ptr<ProcessStreams> streams_;
  std::optional<int> ended_;
  Backoff backoff_;
};

Task<bool> AttachFollower::Attach(std::stop_token stop) {
  http::Request properties;
  properties.target = ContainerPath(handle_, "/properties");
  const http::Response kept =
      co_await calls_->Call(*calls_->garden, what_, properties, WorkerCalls::Repeat::kYes, stop);
  if (const auto json = ParseJson(kept.body)) {
    const std::string_view text = json->StringAt(protocol::garden::kExitStatusProperty);
    int status = 0;
    const auto parsed = std::from_chars(text.data(), text.data() + text.size(), status);
    if (!text.empty() && parsed.ec == std::errc()) {
      ended_ = status;
      co_return true;
    }
  }
  for (;;) {
    std::optional<Error> error;
    try {
      http::Request request;
      request.target = ProcessPath(handle_, process_);
      auto main = co_await Hijack(calls_, what_, std::move(request), stop);
      streams_ = co_await ProcessStreams::Open(calls_, handle_, what_, std::move(main), stop);
      co_return true;
    } catch (const Failure& failure) {
      const ErrorKind kind = failure.error().kind;
      // Upstream's workers answer unknown processes with more than one kind of error.
      if (kind == ErrorKind::kNotFound || kind == ErrorKind::kInternal) co_return false;
      if (kind != ErrorKind::kUnavailable && kind != ErrorKind::kTimeout) throw;
      error = failure.error();
    }
    const bool again = co_await backoff_.Wait(error->message, stop);
    if (!again) throw Failure(*error);
  }
}

Task<ProcessOutput> AttachFollower::Next(std::stop_token stop) {
  for (;;) {
    if (ended_) {
      ProcessOutput end;
      end.exit_status = ended_;
      co_return end;
    }
    if (!streams_) {
      const bool found = co_await Attach(stop);
      if (!found) {
        throw calls_->Fail(ErrorKind::kNotFound, what_, "the worker no longer knows the process");
      }
      continue;
    }
    std::optional<ProcessOutput> output = co_await streams_->Next(stop);
    if (!output) {
      streams_->Close();
      streams_.reset();
      const bool again = co_await backoff_.Wait("the connection broke off", stop);
      if (again) continue;
      throw calls_->Fail(ErrorKind::kUnavailable, what_, "it cannot be reached any more");
    }
    backoff_.Succeeded();
    if (output->stream > 0) {
      std::uint64_t& offset = offsets_[output->stream - 1];
      output->offset = offset;
      offset += output->bytes.size();
    } else if (output->exit_status) {
      calls_->tasks.Spawn(KeepExitStatus(calls_, handle_, *output->exit_status));
    }
    co_return std::move(*output);
  }
}

/// Upstream's worker forgets an ended process; its container's property remembers, for the next
/// owner of the build. Best effort, as in upstream's web.
Task<void> AttachFollower::KeepExitStatus(std::shared_ptr<WorkerCalls> calls, std::string handle,
                                          int status) {
  const std::string name(protocol::garden::kExitStatusProperty);
  try {
    co_await calls->Call(
        *calls->garden, "keeping the exit status of container '" + handle + "'",
        JsonRequest("PUT", ContainerPath(handle, "/properties/" + PercentEncode(name)),
                    JsonObject{{"value", std::to_string(status)}}),
        WorkerCalls::Repeat::kNo, calls->tasks.stop_token());
  } catch (const Failure& failure) {
    calls->log.Warn("an exit status was not kept", {{"error", failure.error().message}});
  }
}

}  // namespace

Task<std::unique_ptr<ProcessFollower>> FollowByAttach(
    std::shared_ptr<WorkerCalls> calls, std::string handle, ProcessSpec spec, std::string input,
    std::uint64_t stdout_offset, std::uint64_t stderr_offset, std::stop_token stop) {
  auto follower =
      std::make_unique<AttachFollower>(calls, handle, spec.id, stdout_offset, stderr_offset);
  const std::string what = "starting process '" + spec.id + "' of container '" + handle + "'";
  Backoff backoff(*calls);
  for (;;) {
    const bool found = co_await follower->Attach(stop);
    if (found) co_return follower;
    std::optional<Error> error;
    try {
      auto main = co_await HijackRun(calls, handle, spec, std::nullopt, stop);
      auto streams = co_await ProcessStreams::Open(calls, handle, what, std::move(main), stop);
      follower->Use(streams);
      co_await streams->SendInput(input);
      co_await streams->SendInputEnd();
      co_return follower;
    } catch (const Failure& failure) {
      const ErrorKind kind = failure.error().kind;
      if (kind != ErrorKind::kUnavailable && kind != ErrorKind::kTimeout) throw;
      error = failure.error();
    }
    const bool again = co_await backoff.Wait(error->message, stop);
    if (!again) throw Failure(*error);
  }
}

}  // namespace pinion::fleet
