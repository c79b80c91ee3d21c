// Following a process by offsets: Pinion's own workers.
#include <algorithm>
#include <span>

#include "base/encoding.h"
#include "fleet/worker_calls.h"

namespace pinion::fleet {
namespace {

using protocol::garden::kLogFrameHeaderBytes;
using protocol::garden::LogFrameSource;

constexpr std::size_t kFrameBytesMax = 16 << 20;
constexpr std::size_t kReadBytes = 256 << 10;
constexpr std::uint64_t kAcknowledgeBytes = 1 << 20;

template <class T>
T BigEndian(std::string_view bytes) {
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) {
    value = static_cast<T>(value << 8U) | static_cast<unsigned char>(bytes[i]);
  }
  return value;
}

ProcessOutput ExitOutput(std::string_view text) {
  ProcessOutput output;
  const auto json = ParseJson(text);
  const Json* status = json ? json->Find("exit_status") : nullptr;
  if (status && status->IsInteger()) {
    output.exit_status = static_cast<int>(status->AsInteger());
  } else {
    output.error = json ? std::string(json->StringAt("error")) : std::string(text);
    if (output.error.empty()) output.error = "the worker tells no exit status";
  }
  return output;
}

}  // namespace

OffsetFollower::OffsetFollower(std::shared_ptr<WorkerCalls> calls, std::string handle,
                               std::string process, std::uint64_t stdout_offset,
                               std::uint64_t stderr_offset, std::uint64_t epoch)
    : calls_(std::move(calls)),
      handle_(std::move(handle)),
      process_(std::move(process)),
      what_("following process '" + process_ + "' of container '" + handle_ + "'"),
      offsets_{stdout_offset, stderr_offset},
      acknowledged_{stdout_offset, stderr_offset},
      told_(stdout_offset + stderr_offset),
      epoch_(epoch),
      backoff_(*calls_) {}

http::Request OffsetFollower::LogRequest(std::string method, std::string query) const {
  http::Request request;
  request.method = std::move(method);
  request.target =
      ContainerPath(handle_, "/processes/" + PercentEncode(process_) + "/log" + std::move(query));
  request.headers.Set(std::string(protocol::garden::kEpochHeader), std::to_string(epoch_));
  request.headers.Set("X-Pinion-Acknowledged-Stdout", std::to_string(acknowledged_[0]));
  request.headers.Set("X-Pinion-Acknowledged-Stderr", std::to_string(acknowledged_[1]));
  return request;
}

void OffsetFollower::Acknowledge(std::uint64_t stdout_end, std::uint64_t stderr_end) {
  acknowledged_[0] = std::max(acknowledged_[0], stdout_end);
  acknowledged_[1] = std::max(acknowledged_[1], stderr_end);
  const std::uint64_t total = acknowledged_[0] + acknowledged_[1];
  if (total < told_ + kAcknowledgeBytes) return;
  told_ = total;
  calls_->tasks.Spawn(TellAcknowledged(calls_, what_, LogRequest("PUT", "")));
}

Task<void> OffsetFollower::TellAcknowledged(std::shared_ptr<WorkerCalls> calls, std::string what,
                                            http::Request request) {
  try {
    // A lost one does no harm: the next says more, and each new stream says it too.
    co_await calls->Send(*calls->garden, std::move(what), std::move(request),
                         WorkerCalls::Repeat::kNo, calls->tasks.stop_token());
  } catch (const Failure& failure) {
    calls->log.Debug("output was not acknowledged", {{"error", failure.error().message}});
  }
}

Task<bool> OffsetFollower::Find(std::stop_token stop) {
  const http::Request request = LogRequest(
      "GET", "?stdout=" + std::to_string(offsets_[0]) + "&stderr=" + std::to_string(offsets_[1]));
  for (;;) {
    std::optional<Error> error;
    try {
      http::StreamedResponse response = co_await calls_->streams->Open(request, nullptr, stop);
      if (response.status == 200) {
        body_ = std::move(response.body);
        buffer_.clear();
        buffer_start_ = 0;
        co_return true;
      }
      http::Response answer;
      answer.status = response.status;
      // Whole, however it arrives: its text tells an unknown process from a fault.
      answer.body.resize(4096);
      std::size_t size = 0;
      while (size < answer.body.size()) {
        const std::span<char> room = std::span(answer.body).subspan(size);
        const std::size_t count = co_await response.body->Read(room, stop);
        if (count == 0) break;
        size += count;
      }
      answer.body.resize(size);
      const Failure failure = calls_->AnswerFailure(what_, answer);
      if (failure.error().kind == ErrorKind::kNotFound) co_return false;
      if (failure.error().kind != ErrorKind::kUnavailable) throw failure;
      error = failure.error();
    } catch (const Failure& failure) {
      const ErrorKind kind = failure.error().kind;
      if (kind != ErrorKind::kUnavailable && kind != ErrorKind::kTimeout) throw;
      error = failure.error();
    }
    const bool again = co_await backoff_.Wait(error->message, stop);
    if (!again) {
      throw calls_->Fail(ErrorKind::kUnavailable, what_,
                         "it cannot be reached any more: " + error->message);
    }
  }
}

Task<bool> OffsetFollower::Fill(std::size_t bytes, std::stop_token stop) {
  while (buffer_.size() - buffer_start_ < bytes) {
    if (buffer_start_ > 0) {
      buffer_.erase(0, buffer_start_);
      buffer_start_ = 0;
    }
    const std::size_t size = buffer_.size();
    const std::size_t wanted = std::max<std::size_t>(kReadBytes, bytes - size);
    // What is read overwrites it: nothing is filled with zeros.
    buffer_.resize_and_overwrite(size + wanted, [](char*, std::size_t room) { return room; });
    std::size_t count = 0;
    try {
      count = co_await body_->Read({buffer_.data() + size, wanted}, stop);
    } catch (const Failure& failure) {
      last_error_ = failure.error().message;
    }
    buffer_.resize(size + count);
    if (count == 0) co_return false;
  }
  co_return true;
}

Task<std::optional<ProcessOutput>> OffsetFollower::ReadFrame(std::stop_token stop) {
  const bool has_header = co_await Fill(kLogFrameHeaderBytes, stop);
  if (!has_header) co_return std::nullopt;
  const std::string_view header = std::string_view(buffer_).substr(buffer_start_);
  const auto source = static_cast<LogFrameSource>(header[0]);
  ProcessOutput output;
  output.stream = static_cast<int>(source);
  output.offset = BigEndian<std::uint64_t>(header.substr(1));
  const auto length = BigEndian<std::uint32_t>(header.substr(9));
  if (length > kFrameBytesMax || output.stream < 1 || output.stream > 3) {
    throw calls_->Fail(ErrorKind::kInternal, what_, "the worker sent a broken frame");
  }
  const bool whole = co_await Fill(kLogFrameHeaderBytes + length, stop);
  if (!whole) co_return std::nullopt;
  const std::string_view bytes =
      std::string_view(buffer_).substr(buffer_start_ + kLogFrameHeaderBytes, length);
  if (source == LogFrameSource::kExit) {
    output = ExitOutput(bytes);
  } else {
    output.bytes = bytes;
  }
  buffer_start_ += kLogFrameHeaderBytes + length;
  co_return output;
}

Task<ProcessOutput> OffsetFollower::Next(std::stop_token stop) {
  for (;;) {
    if (!body_) {
      const bool found = co_await Find(stop);
      if (!found) {
        throw calls_->Fail(ErrorKind::kNotFound, what_, "the worker no longer knows the process");
      }
    }
    std::optional<ProcessOutput> output = co_await ReadFrame(stop);
    if (!output) {
      body_.reset();
      if (last_error_.empty()) last_error_ = "it broke off";
      const bool again = co_await backoff_.Wait("the connection: " + last_error_, stop);
      if (again) continue;
      throw calls_->Fail(ErrorKind::kUnavailable, what_,
                         "the connection breaks off again and again: " + last_error_);
    }
    backoff_.Succeeded();
    if (output->stream == 0) {
      run_stream_.reset();
      co_return std::move(*output);
    }
    std::uint64_t& reached = offsets_[output->stream - 1];
    if (output->offset < reached) {
      // Seen already: each byte once.
      const std::uint64_t skip =
          std::min<std::uint64_t>(reached - output->offset, output->bytes.size());
      output->bytes.erase(0, skip);
      output->offset += skip;
    }
    if (output->bytes.empty()) continue;
    reached = output->offset + output->bytes.size();
    co_return std::move(*output);
  }
}

Task<std::unique_ptr<ProcessFollower>> FollowByOffsets(
    std::shared_ptr<WorkerCalls> calls, std::string handle, protocol::garden::ProcessSpec spec,
    std::string input, std::uint64_t stdout_offset, std::uint64_t stderr_offset,
    std::uint64_t epoch, std::stop_token stop) {
  auto follower =
      std::make_unique<OffsetFollower>(calls, handle, spec.id, stdout_offset, stderr_offset, epoch);
  Backoff backoff(*calls);
  const std::string what = "starting process '" + spec.id + "' of container '" + handle + "'";
  // With the specification: whoever dies after this, the process has all of it.
  spec.input = std::move(input);
  for (bool known = false;;) {
    if (known) {
      const bool found = co_await follower->Find(stop);
      if (found) co_return follower;
      throw calls->Fail(ErrorKind::kNotFound, what, "it vanished at once");
    }
    // Whether a run that broke off was taken is what the next one tells: no second process is
    // started.
    std::optional<Error> error;
    try {
      auto stream = co_await HijackRun(calls, handle, spec, epoch, stop);
      http::LineReader lines(*stream, 1 << 20);
      const auto ids = co_await lines.Next(stop);
      if (!ids) throw calls->Fail(ErrorKind::kUnavailable, what, "the connection broke off");
      follower->KeepRunStream(std::move(stream));
      known = true;
    } catch (const Failure& failure) {
      const ErrorKind kind = failure.error().kind;
      // It runs or has run; or the epoch is out of date, which following it will tell.
      known = kind == ErrorKind::kConflict;
      if (!known && kind != ErrorKind::kUnavailable && kind != ErrorKind::kTimeout) throw;
      if (!known) error = failure.error();
    }
    if (!error) continue;
    const bool again = co_await backoff.Wait(error->message, stop);
    if (!again) throw Failure(*error);
  }
}

}  // namespace pinion::fleet
