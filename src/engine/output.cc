#include "engine/output.h"

#include <algorithm>

#include "async/task_group.h"
#include "base/mutant.h"
#include "base/text.h"
#include "protocol/events.h"

namespace pinion::engine {
namespace {

// A line longer than this is logged in pieces.
constexpr std::size_t kPendingBytesMax = 64 << 10;
constexpr Duration kPartialLineDelay = std::chrono::seconds(1);
// Beyond the worker's own grace of 10 s the process is killed outright.
constexpr Duration kStopGrace = std::chrono::seconds(15);
constexpr Duration kKillGrace = std::chrono::seconds(10);

/// How much of the text ends with a whole UTF-8 sequence: at most three bytes are held back.
std::size_t WholeSequences(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<unsigned char>(text[text.size() - back]);
    if ((byte & 0xC0U) == 0x80U) continue;  // in the middle of one
    const std::size_t length = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC0 ? 2 : 1;
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

}  // namespace

std::string Redact(std::string_view text, const std::vector<std::string>& secrets) {
  std::string out(text);
  for (const std::string& secret : secrets) {
    for (const std::string_view line : Split(secret, '\n')) {
      const std::string_view needle = Trim(line);
      if (needle.size() < 2) continue;
      for (std::size_t at = 0; (at = out.find(needle, at)) != std::string::npos;) {
        out.replace(at, needle.size(), "((redacted))");
        at += std::string_view("((redacted))").size();
      }
    }
  }
  return out;
}

std::vector<std::string> SecretTexts(const BuildRun& run, const Scope& scope) {
  std::vector<std::string> secrets = scope.vars().SecretTexts();
  secrets.insert(secrets.end(), run.secret_texts().begin(), run.secret_texts().end());
  return secrets;
}

Json RedactAll(Json value, const std::vector<std::string>& secrets) {
  if (value.IsString()) return Redact(value.AsString(), secrets);
  if (value.IsArray()) {
    for (Json& item : value.AsArray())
      item = RedactAll(std::move(item), secrets);
  } else if (value.IsObject()) {
    JsonObject object;
    for (auto& [name, member] : value.AsObject())
      object.Set(name, RedactAll(member, secrets));
    return object;
  }
  return value;
}

OutputLog::OutputLog(BuildRun& run, const Scope& scope, std::string plan_id, int stream)
    : run_(run),
      scope_(scope),
      plan_id_(std::move(plan_id)),
      stream_(stream),
      offset_(run.writer().Covered(plan_id_, 1, stream)) {
  if (PINION_MUTANT("offset-off") && offset_ > 0) ++offset_;
}

void OutputLog::Write(std::string_view bytes) {
  // Whole lines go on without a copy when nothing waits for its end.
  if (pending_.empty()) {
    const std::size_t line_end = bytes.find_last_of("\r\n");
    if (line_end != std::string_view::npos) {
      Append(bytes.substr(0, line_end + 1));
      bytes.remove_prefix(line_end + 1);
    }
  }
  pending_ += bytes;
  const std::size_t line_end = pending_.find_last_of("\r\n");
  if (line_end != std::string::npos) {
    AppendPending(line_end + 1);
  } else if (pending_.size() > kPendingBytesMax) {
    AppendPending(WholeSequences(pending_));
  }
  if (pending_.empty()) {
    timer_.Cancel();
  } else {
    timer_ =
        run_.timers().After(kPartialLineDelay, [this] { AppendPending(WholeSequences(pending_)); });
  }
}

void OutputLog::Flush() {
  timer_.Cancel();
  AppendPending(pending_.size());
}

void OutputLog::AppendPending(std::size_t length) {
  if (run_.released()) return;
  Append(std::string_view(pending_).substr(0, length));
  pending_.erase(0, length);
}

void OutputLog::Append(std::string_view text) {
  if (text.empty() || run_.released()) return;
  offset_ += text.size();
  const std::vector<std::string> secrets = SecretTexts(run_, scope_);
  const protocol::Origin origin{.id = plan_id_, .source = stream_ == 1 ? "stdout" : "stderr"};
  const events::Coverage coverage{.plan_id = plan_id_, .stream = stream_, .end = offset_};
  if (secrets.empty()) {
    run_.writer().AppendLog(origin, run_.now(), text, coverage);
  } else {
    run_.writer().AppendLog(origin, run_.now(), Redact(text, secrets), coverage);
  }
}

namespace {

/// Ends a container's process when its step is interrupted; the follower then sees its end.
Task<void> StopProcess(BuildRun& run, fleet::WorkerClient& worker, std::string handle,
                       std::stop_token stop) {
  co_await worker.StopContainer(handle, false, stop);
  co_await run.timers().Sleep(kStopGrace, stop);
  co_await worker.StopContainer(handle, true, stop);
}

/// Lets the worker free the disk space of output that the log has for good, some megabytes at a
/// time and beside the following. Its references outlive Join().
class Acknowledging {
 public:
  Acknowledging(BuildRun& run, fleet::ProcessFollower& follower, Executor executor)
      : run_(run), follower_(follower), tasks_(std::move(executor), run.log(), "acknowledge") {}

  /// So far the log covers the streams, as appended.
  void Appended(std::uint64_t stdout_end, std::uint64_t stderr_end) {
    const std::uint64_t total = stdout_end + stderr_end;
    if (busy_ || total < begun_ + kAcknowledgedBytes) return;
    begun_ = total;
    busy_ = tasks_.Spawn(FlushAndTell(stdout_end, stderr_end));
  }
  Task<void> Join() { return tasks_.Join(); }

 private:
  static constexpr std::uint64_t kAcknowledgedBytes = 8 << 20;

  Task<void> FlushAndTell(std::uint64_t stdout_end, std::uint64_t stderr_end) {
    try {
      co_await run_.writer().Flush();
      follower_.Acknowledge(stdout_end, stderr_end);
    } catch (const Failure& failure) {
      run_.log().Debug("output is kept", {{"error", failure.error().message}});
    }
    busy_ = false;
  }

  BuildRun& run_;
  fleet::ProcessFollower& follower_;
  std::uint64_t begun_ = 0;
  bool busy_ = false;
  TaskGroup tasks_;
};

}  // namespace

Task<ProcessEnd> RunAndFollow(BuildRun& run, const Scope& scope, fleet::WorkerClient& worker,
                              std::string handle, std::string plan_id,
                              protocol::garden::ProcessSpec spec, std::string input,
                              FollowOptions options, const Interruption& interruption) {
  ThrowIfStopped(interruption.token());
  OutputLog out(run, scope, plan_id, 1);
  OutputLog err(run, scope, plan_id, 2);
  const std::string path = spec.path;
  const bool keep = options.keep_stdout_max > 0;
  const std::uint64_t stdout_offset = keep ? 0 : out.offset();
  const auto telling = run.TellWhileWaitingFor(worker);
  auto follower = co_await worker.RunProcess(
      handle, std::move(spec), std::move(input), stdout_offset, err.offset(),
      static_cast<std::uint64_t>(run.owner().epoch), interruption.token());

  run.Passed(plan_id, "process started");
  // The follower is not stopped by the interruption itself, but by the process's end that follows,
  // or by a release, or when even SIGKILL does not end the process.
  std::stop_source give_up;
  TaskGroup stopping(co_await boost::asio::this_coro::executor, run.log(), "stop container");
  Timers::Handle last_resort;
  const std::function<void()> on_interrupt = [&] {
    if (run.released()) {
      give_up.request_stop();
      return;
    }
    stopping.Spawn(StopProcess(run, worker, handle, stopping.stop_token()));
    last_resort =
        run.timers().After(kStopGrace + kKillGrace, [&give_up] { give_up.request_stop(); });
  };
  Acknowledging acknowledging(run, *follower, co_await boost::asio::this_coro::executor);
  ProcessEnd end;
  bool seen = false;
  std::exception_ptr failure;
  bool too_much = false;
  {
    const std::stop_callback interrupted(interruption.token(), on_interrupt);
    const std::stop_callback released(run.hooks().token(), [&] { give_up.request_stop(); });
    try {
      for (;;) {
        fleet::ProcessOutput chunk = co_await follower->Next(give_up.get_token());
        if (!seen) run.Passed(plan_id, "first output");
        seen = true;
        if (chunk.stream == 0) {
          run.Passed(plan_id, "process ended");
          if (!chunk.exit_status) throw Failure(ErrorKind::kUnavailable, chunk.error);
          end.exit_status = *chunk.exit_status;
          break;
        }
        if (chunk.stream == 1 && keep) {
          if (end.output.size() + chunk.bytes.size() > options.keep_stdout_max) {
            too_much = true;
            throw Failure(ErrorKind::kTooLarge,
                          path + " printed more than " +
                              std::to_string(options.keep_stdout_max >> 20) +
                              " MiB on standard output, where its result was expected");
          }
          end.output += chunk.bytes;
        } else if (chunk.stream == 1 && options.log_stdout) {
          out.Write(chunk.bytes);
        } else if (chunk.stream == 2) {
          err.Write(chunk.bytes);
        }
        if (!keep || chunk.stream == 2) {
          try {
            run.CountOutput(chunk.bytes.size());
          } catch (const Failure&) {
            too_much = true;
            throw;
          }
        }
        // Kept output is asked for from its start again after a crash.
        acknowledging.Appended(keep ? 0 : out.offset(), err.offset());
        co_await run.writer().Ready(give_up.get_token());
      }
    } catch (...) {
      failure = std::current_exception();
    }
  }
  co_await acknowledging.Join();
  if (!run.released()) {
    out.Flush();
    err.Flush();
  }
  stopping.RequestStop();
  co_await stopping.Join();
  // Nobody reads on, and what is left of it would print for ever.
  if (too_much && !run.released()) {
    try {
      co_await worker.StopContainer(handle, true, {});
    } catch (const Failure& error) {
      run.log().Warn("what prints too much was not stopped",
                     {{"handle", handle}, {"error", error.error().message}});
    }
  }
  if (interruption.interrupted()) throw Cancelled();
  if (failure) std::rethrow_exception(failure);
  co_return end;
}

}  // namespace pinion::engine
