#include "http/server.h"

#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <unordered_set>

#include "async/signal.h"
#include "async/task_group.h"
#include "http/connection.h"

namespace pinion::http {

namespace {

constexpr Duration kAcceptPause = std::chrono::milliseconds(100);
/// Clients past the limit that are told so politely at the same time; more are just closed.
constexpr std::size_t kRefusalsMax = 64;
constexpr Duration kRefusalTime = std::chrono::seconds(1);
constexpr std::string_view kFull =
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    "Content-Type: text/plain\r\nContent-Length: 21\r\n\r\ntoo many connections\n";

class ServerImpl final : public Server {
 public:
  ServerImpl(Executor executor, Timers& timers, Logger log, ServerOptions options, Handler handler)
      : shared_{.executor = executor,
                .timers = timers,
                .log = log,
                .options = options,
                .handler = std::move(handler)},
        tasks_(executor, log, "http") {}

  Result<void> Listen(const Endpoint& endpoint) override {
    auto opened = OpenListener(endpoint);
    if (!opened) return std::unexpected(std::move(opened).error());
    auto listener = std::make_shared<Listener>(shared_.executor, *opened);
    if (port_ == 0) port_ = opened->port;
    listeners_.push_back(listener);
    tasks_.Spawn(Accept(*this, listener));
    return {};
  }

  int port() const override { return port_; }
  std::size_t connections() const override { return connections_.size(); }
  std::size_t exchanges() const override { return shared_.exchanges; }

  Task<void> Shutdown(Duration grace) override {
    shared_.stopping = true;
    accepting_.request_stop();
    for (const auto& listener : listeners_)
      listener->Close();
    for (Connection* connection : Connections())
      connection->RequestStop();
    if (grace > Duration::zero() && !connections_.empty()) {
      Deadline deadline(shared_.timers, grace, {});
      try {
        while (!connections_.empty())
          co_await changed_.Wait(deadline.token());
      } catch (const Cancelled&) {
        shared_.log.Warn("requests broken off at shutdown",
                         {{"connections", static_cast<long long>(connections_.size())}});
      }
    }
    for (Connection* connection : Connections())
      connection->Abort();
    tasks_.RequestStop();
    co_await tasks_.Join();
  }

 private:
  struct Listener {
    Listener(const Executor& executor, const Listening& opened)
        : readiness(executor, opened.descriptor),
          unix_path(opened.unix_path),
          is_tcp(opened.unix_path.empty()) {}
    Listener(const Listener&) = delete;
    Listener& operator=(const Listener&) = delete;
    ~Listener() { Close(); }
    void Close() {
      if (readiness.closed()) return;
      readiness.Close();
      if (!unix_path.empty()) unlink(unix_path.c_str());
    }
    Readiness readiness;
    std::string unix_path;
    bool is_tcp;
  };

  static Task<void> Accept(ServerImpl& self, std::shared_ptr<Listener> listener) {
    const std::stop_token stop = self.accepting_.get_token();
    for (;;) {
      ThrowIfStopped(stop);
      const int descriptor =
          accept4(listener->readiness.descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor >= 0) {
        self.Take(descriptor, listener->is_tcp);
        continue;
      }
      const int cause = errno;
      if (cause == EAGAIN || cause == EWOULDBLOCK) {
        co_await listener->readiness.WaitReadable(stop);
      } else if (cause != EINTR && cause != ECONNABORTED) {
        // Out of descriptors or memory: connections that end make room.
        self.shared_.log.Warn("accepting connections pauses",
                              {{"error", SystemError("accept", cause).message}});
        co_await self.shared_.timers.Sleep(kAcceptPause, stop);
      }
    }
  }

  void Take(int descriptor, bool is_tcp) {
    if (is_tcp) SetTcpOptions(descriptor);
    std::string remote = is_tcp ? PeerAddress(descriptor) : std::string();
    auto socket = MakeSocket(shared_.executor, shared_.timers, descriptor);
    if (connections_.size() < shared_.options.connections_max) {
      tasks_.Spawn(
          Serve(std::make_unique<Registered>(*this, std::move(socket), std::move(remote))));
    } else if (refusals_ < kRefusalsMax) {
      tasks_.Spawn(RefuseFull(*this, std::move(socket)));
    }
  }

  /// A connection in the set of those that the limit counts and shutdown must reach.
  struct Registered {
    Registered(ServerImpl& owner, std::unique_ptr<Socket> socket, std::string remote)
        : server(owner), connection(owner.shared_, std::move(socket), std::move(remote)) {
      server.connections_.insert(&connection);
    }
    Registered(const Registered&) = delete;
    Registered& operator=(const Registered&) = delete;
    ~Registered() {
      server.connections_.erase(&connection);
      server.changed_.Set();
    }
    ServerImpl& server;
    Connection connection;
  };

  static Task<void> Serve(std::unique_ptr<Registered> registered) {
    co_await registered->connection.Serve();
  }

  static Task<void> RefuseFull(ServerImpl& self, std::unique_ptr<Socket> socket) {
    const Counted counted(self.refusals_);
    Deadline deadline(self.shared_.timers, kRefusalTime, self.accepting_.get_token());
    try {
      co_await socket->Write({kFull}, deadline.token());
      socket->CloseWrite();
      std::array<char, 4096> scrap;
      std::size_t got = 1;
      while (got > 0)
        got = co_await socket->Read(scrap, deadline.token());
    } catch (const std::exception&) {
      // It did not wait for the answer.
    }
  }

  class Counted {
   public:
    explicit Counted(std::size_t& count) : count_(count) { ++count_; }
    Counted(const Counted&) = delete;
    Counted& operator=(const Counted&) = delete;
    ~Counted() { --count_; }

   private:
    std::size_t& count_;
  };

  std::vector<Connection*> Connections() const {
    return {connections_.begin(), connections_.end()};
  }

  ServerShared shared_;
  std::vector<std::shared_ptr<Listener>> listeners_;
  int port_ = 0;
  std::unordered_set<Connection*> connections_;
  std::size_t refusals_ = 0;
  Signal changed_;
  std::stop_source accepting_;
  TaskGroup tasks_;
};

}  // namespace

std::unique_ptr<Server> Server::Make(Executor executor, Timers& timers, Logger log,
                                     ServerOptions options, Handler handler) {
  return std::make_unique<ServerImpl>(std::move(executor), timers, std::move(log), options,
                                      std::move(handler));
}

}  // namespace pinion::http
