#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/build_run.h"
#include "fleet/worker_client.h"

namespace pinion::engine {

/// Turns one output stream of a step's process into log events: cut at line ends, or after a second
/// without one, never inside a UTF-8 sequence, secrets replaced. Each event stores how far it
/// covers the stream, so that every byte is logged once, whoever is killed.
class OutputLog {
 public:
  /// `stream` 1 stdout, 2 stderr.
  OutputLog(BuildRun& run, const Scope& scope, std::string plan_id, int stream);

  /// Where to ask the worker to go on from.
  std::uint64_t offset() const { return offset_; }
  /// Bytes that stand at `offset()` of the stream.
  void Write(std::string_view bytes);
  /// Logs what is left, complete line or not.
  void Flush();

 private:
  void Append(std::string_view text);
  void AppendPending(std::size_t length);

  BuildRun& run_;
  const Scope& scope_;
  std::string plan_id_;
  int stream_;
  std::uint64_t offset_;
  std::string pending_;
  Timers::Handle timer_;
};

/// What must not be seen in the log of a step in this scope.
std::vector<std::string> SecretTexts(const BuildRun& run, const Scope& scope);
/// The text with every secret of more than one character replaced by ((redacted)).
std::string Redact(std::string_view text, const std::vector<std::string>& secrets);
/// The same for every text inside a value.
Json RedactAll(Json value, const std::vector<std::string>& secrets);

struct ProcessEnd {
  int exit_status = 0;
  std::string output;  ///< what was kept of standard output, if asked for
};

struct FollowOptions {
  bool log_stdout = true;
  std::size_t keep_stdout_max = 0;  ///< > 0: keep standard output instead; kTooLarge past it
};

/// Starts or takes up a process in a step's container and follows it to its end. An interruption
/// stops the process (SIGTERM, SIGKILL after the worker's grace), its last words are still logged,
/// then it throws Cancelled. A release lets it run on and throws Cancelled.
Task<ProcessEnd> RunAndFollow(BuildRun& run, const Scope& scope, fleet::WorkerClient& worker,
                              std::string handle, std::string plan_id,
                              protocol::garden::ProcessSpec spec, std::string input,
                              FollowOptions options, const Interruption& interruption);

}  // namespace pinion::engine
