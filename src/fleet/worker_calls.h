#pragma once

#include <deque>
#include <list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "async/signal.h"
#include "async/task_group.h"
#include "fleet/worker_client.h"

/// Internal to the module: requests to one worker, tried again where that is safe, with errors that
/// name worker and thing.
namespace pinion::fleet {

struct WorkerCalls;

/// Growing pauses between tries, up to a limit of time without success. `calls` outlives it.
class Backoff {
 public:
  explicit Backoff(WorkerCalls& calls);
  /// Waits before the next try, because of `why`; false if the limit has passed. After some seconds
  /// without success the client's OnTrouble() listeners are told.
  Task<bool> Wait(std::string why, std::stop_token stop);
  /// It worked: the next failure begins anew.
  void Succeeded();

 private:
  WorkerCalls& calls_;
  std::optional<SteadyTime> failing_since_;
  std::optional<SteadyTime> told_;
  Duration pause_;
};

struct Capabilities {
  bool log_offsets = false;
  bool registry_image = false;
};

/// What everything that talks to one worker shares. On the client's loop.
struct WorkerCalls {
  WorkerCalls(Executor executor_in, Timers& timers_in, Logger log_in,
              WorkerClientOptions options_in);

  WorkerClientOptions options;
  Executor executor;
  Timers& timers;
  Logger log;
  std::unique_ptr<http::Client> garden;        ///< short calls
  std::unique_ptr<http::Client> streams;       ///< one connection for each process that is followed
  std::unique_ptr<http::Client> baggageclaim;  ///< short calls
  std::unique_ptr<http::Client> bulk;          ///< contents of volumes
  std::optional<Capabilities> capabilities;
  std::list<std::weak_ptr<WorkerClient::TroubleListener>> trouble_listeners;
  TaskGroup tasks;

  void TellTrouble(const std::string& why);

  enum class Repeat { kYes, kNo };
  /// The answer, whatever its status. `what` reads like "creating container 'x'".
  Task<http::Response> Send(http::Client& client, std::string what, http::Request request,
                            Repeat repeat, std::stop_token stop);
  /// As Send; an answer that is no success is a Failure.
  Task<http::Response> Call(http::Client& client, std::string what, http::Request request,
                            Repeat repeat, std::stop_token stop);
  /// What the worker can do beyond upstream's; asked once.
  Task<Capabilities> Ask(std::stop_token stop);

  /// "worker 'w': WHAT: MESSAGE".
  Failure Fail(ErrorKind kind, std::string_view what, std::string_view message) const;
  /// The Failure that an answer of Garden or Baggageclaim stands for.
  Failure AnswerFailure(std::string_view what, const http::Response& response) const;
};

std::string ContainerPath(std::string_view handle, std::string_view rest = {});
std::string VolumePath(std::string_view handle, std::string_view rest = {});
http::Request JsonRequest(std::string method, std::string target, const Json& body);

/// Follows a process by offsets (Pinion's extension); `Find` starts with what is there.
class OffsetFollower final : public ProcessFollower {
 public:
  OffsetFollower(std::shared_ptr<WorkerCalls> calls, std::string handle, std::string process,
                 std::uint64_t stdout_offset, std::uint64_t stderr_offset, std::uint64_t epoch);
  /// Opens the stream. False if the worker knows no such process.
  Task<bool> Find(std::stop_token stop);
  /// Kept open until the process has ended: the worker closes a process's input with it.
  void KeepRunStream(std::unique_ptr<http::Stream> stream) { run_stream_ = std::move(stream); }
  Task<ProcessOutput> Next(std::stop_token stop) override;
  void Acknowledge(std::uint64_t stdout_end, std::uint64_t stderr_end) override;

 private:
  static Task<void> TellAcknowledged(std::shared_ptr<WorkerCalls> calls, std::string what,
                                     http::Request request);
  http::Request LogRequest(std::string method, std::string query) const;
  /// The next frame of the open stream; nothing if it breaks off.
  Task<std::optional<ProcessOutput>> ReadFrame(std::stop_token stop);
  Task<bool> Fill(std::size_t bytes, std::stop_token stop);

  std::shared_ptr<WorkerCalls> calls_;
  std::string handle_;
  std::string process_;
  std::string what_;
  std::uint64_t offsets_[2];
  std::uint64_t acknowledged_[2];
  std::uint64_t told_ = 0;  ///< bytes of both that were acknowledged to the worker
  std::uint64_t epoch_;
  std::unique_ptr<http::BodyReader> body_;
  std::unique_ptr<http::Stream> run_stream_;
  std::string buffer_;
  std::size_t buffer_start_ = 0;
  Backoff backoff_;
  std::string last_error_;
};

/// The three connections of a process that runs or is attached to, as upstream's protocol has them.
class ProcessStreams : public std::enable_shared_from_this<ProcessStreams> {
 public:
  /// Takes the hijacked connection on: reads the process's ids from it and opens the output
  /// streams.
  static Task<std::shared_ptr<ProcessStreams>> Open(std::shared_ptr<WorkerCalls> calls,
                                                    std::string handle, std::string what,
                                                    std::unique_ptr<http::Stream> main,
                                                    std::stop_token stop);
  ProcessStreams(std::shared_ptr<WorkerCalls> calls, std::unique_ptr<http::Stream> main);
  /// Chunks (without offsets), the end last; nothing if a connection broke before the end.
  Task<std::optional<ProcessOutput>> Next(std::stop_token stop);
  Task<void> SendInput(std::string bytes);
  Task<void> SendInputEnd();
  Task<void> SendWindowSize(int columns, int rows);
  /// Ends the pumps; the process goes on.
  void Close();

 private:
  static Task<void> PumpOutput(std::shared_ptr<ProcessStreams> self, int stream);
  static Task<void> PumpMain(std::shared_ptr<ProcessStreams> self);
  void PumpEnded(bool broken);
  Task<void> SendPayload(protocol::garden::ProcessPayload payload);

  std::shared_ptr<WorkerCalls> calls_;
  std::unique_ptr<http::Stream> main_;
  std::unique_ptr<http::LineReader> main_lines_;
  std::unique_ptr<http::Stream> outputs_[2];
  std::string process_id_;
  std::deque<ProcessOutput> queue_;
  std::size_t queued_bytes_ = 0;
  std::optional<ProcessOutput> end_;
  bool broken_ = false;
  int pumps_ = 0;
  Signal changed_;  ///< for the reader
  Signal room_[2];  ///< for each pump
  Semaphore sending_{1};
  std::stop_source stop_;
};

/// Starts a process on the worker and hands over the hijacked connection. Failure on refusal. With
/// no epoch the process is a guest: whoever owns the container, it may run. With one it runs once:
/// kConflict if the worker (Pinion's) knows a process of that id, an ended one too.
Task<std::unique_ptr<http::Stream>> HijackRun(std::shared_ptr<WorkerCalls> calls,
                                              std::string handle,
                                              protocol::garden::ProcessSpec spec,
                                              std::optional<std::uint64_t> epoch,
                                              std::stop_token stop);

/// Follows a process through upstream's attach: it streams from "now" on, so that offsets are
/// counted here, from those given: what is printed while no connection is open is lost, as between
/// upstream's own web and worker. Bytes that a worker would send again after attaching cannot be
/// told apart.
Task<std::unique_ptr<ProcessFollower>> FollowByAttach(
    std::shared_ptr<WorkerCalls> calls, std::string handle, protocol::garden::ProcessSpec spec,
    std::string input, std::uint64_t stdout_offset, std::uint64_t stderr_offset,
    std::stop_token stop);
/// Starts or finds a process and follows it by offsets.
Task<std::unique_ptr<ProcessFollower>> FollowByOffsets(
    std::shared_ptr<WorkerCalls> calls, std::string handle, protocol::garden::ProcessSpec spec,
    std::string input, std::uint64_t stdout_offset, std::uint64_t stderr_offset,
    std::uint64_t epoch, std::stop_token stop);

/// The content of the first file of an uncompressed tar stream; kNotFound if there is none,
/// kTooLarge past the limit, kInvalid if it is no tar.
Task<Result<std::string>> ReadTarFile(http::BodyReader& tar, std::size_t limit,
                                      std::stop_token stop);

}  // namespace pinion::fleet
