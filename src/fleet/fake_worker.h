#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "async/loop.h"
#include "async/signal.h"
#include "http/client.h"
#include "http/server.h"

/// For tests: a worker's Garden and Baggageclaim on a port of this process. Its processes print
/// what the test says, and its connections break where the test says.
namespace pinion::fleet {

class FakeWorker {
 public:
  struct Process {
    std::string spec;   ///< as it was asked for
    std::string input;  ///< what it was given
    bool input_ended = false;
    std::string output[2];             ///< all it has printed so far, stdout and stderr
    std::size_t attached[2] = {0, 0};  ///< where upstream's attach goes on
    std::optional<int> exit_status;
  };
  struct Container {
    std::map<std::string, std::string> properties;
    std::map<std::string, Process> processes;
  };
  struct Volume {
    std::map<std::string, std::string>
        files;  ///< path to what was streamed in, or to a tar to stream out
    bool privileged = false;
  };

  FakeWorker(Executor executor, Timers& timers, bool pinion);
  Task<void> Shutdown() {
    ending_.request_stop();
    changed_.Set();
    return server_->Shutdown(std::chrono::seconds(5));
  }

  std::string url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }
  /// Something was printed or ended: connections look again.
  void Changed() {
    const auto waiting = std::exchange(waiting_, {});
    for (const Waker<bool>& waker : waiting)
      waker(true);
  }

  // What the test decides.
  std::size_t break_after_bytes =
      0;                        ///< each log or output connection breaks after so many; 0 never
  int unavailable_answers = 0;  ///< so many next requests are answered 503
  int pending_polls = 0;        ///< so many polls of a volume's creation find it unfinished
  std::set<std::string> stuck;  ///< destroying these hangs until the client gives up
  std::map<std::string, std::string> copy_of;  ///< volume to its parent, which stays as long
  std::string disk;                            ///< the answer to GET /disk; none if empty

  // What it saw.
  std::map<std::string, Container> containers;
  std::map<std::string, Volume> volumes;
  std::vector<std::string> requests;  ///< "METHOD target"
  std::vector<std::string> destroyed;
  int started = 0;  ///< processes
  std::string last_epoch;
  std::string last_acknowledged;

 private:
  Task<void> Handle(http::Exchange& exchange);
  Task<void> HandleContainer(http::Exchange& exchange, std::vector<std::string> parts);
  Task<void> HandleProcess(http::Exchange& exchange, std::string handle,
                           std::vector<std::string> parts);
  Task<void> HandleVolume(http::Exchange& exchange, std::vector<std::string> parts);
  Task<void> Log(http::Exchange& exchange, Process& process);
  Task<void> Run(http::Exchange& exchange, std::string handle);
  Task<void> Main(http::Exchange& exchange, std::string id, Process& process, int status);
  Task<void> Output(http::Exchange& exchange, Process& process, int stream);
  Task<void> WaitForChange(std::stop_token stop) {
    co_await SuspendUntilStop<bool>(
        stop, [this](Waker<bool> waker) { waiting_.push_back(std::move(waker)); });
  }
  static Task<void> Answer(http::Exchange& exchange, int status, std::string body) {
    http::Response response;
    response.status = status;
    response.headers.Set("Content-Type", "application/json");
    response.body = std::move(body);
    co_await exchange.Respond(std::move(response));
  }

  bool pinion_;
  std::vector<Waker<bool>> waiting_;
  Signal changed_;
  std::stop_source ending_;
  std::unique_ptr<http::Server> server_;
};

}  // namespace pinion::fleet
