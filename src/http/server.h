#pragma once

#include <functional>
#include <memory>
#include <string>

#include "async/task.h"
#include "async/timers.h"
#include "base/log.h"
#include "http/message.h"

namespace pinion::http {

/// Where to listen or to connect: "unix:/run/x.sock" or "127.0.0.1:8080" ("[::1]:80"); port 0 takes
/// a free one.
using Endpoint = std::string;

struct ServerOptions {
  std::size_t header_bytes_max = 32 << 10;
  Duration header_timeout = std::chrono::seconds(10);
  Duration idle_timeout = std::chrono::seconds(120);  ///< keep-alive connections between requests
  /// A client that sends nothing of a body, or takes nothing of an answer, for so long is cut off.
  Duration stall_timeout = std::chrono::minutes(5);
  std::size_t connections_max = 10'000;  ///< more are answered 503 and closed
};

/// One request being answered. Lives until its handler returns. Exactly one of Respond, Start,
/// Hijack and AcceptWebSocket is called; a handler that calls none, or throws before, answers 500.
class Exchange {
 public:
  virtual ~Exchange() = default;

  virtual const Request& request() const = 0;
  /// Address of the peer, without port; empty for Unix sockets.
  virtual const std::string& remote_address() const = 0;
  /// Requested when the client goes away (noticed once the request's body was read) or the server
  /// shuts down. After Hijack the server's shutdown only: what the client does is read from the
  /// stream.
  virtual std::stop_token stop() const = 0;

  virtual BodyReader& body() = 0;
  /// The whole body; kTooLarge past the limit (answered 413 by callers).
  virtual Task<Result<std::string>> ReadBody(std::size_t limit) = 0;

  /// Answers with everything at once. Compresses when the client accepts gzip and the body is of
  /// 1,024 bytes or more, unless Content-Encoding is set already.
  virtual Task<void> Respond(Response response) = 0;
  /// Answers the head now and the body as it comes (chunked). `compress`: gzip if accepted, flushed
  /// with each write, so that event streams arrive at once.
  virtual Task<BodyWriter*> Start(Response head, bool compress) = 0;
  /// Answers the head and takes the connection over.
  virtual Task<std::unique_ptr<Stream>> Hijack(Response head) = 0;
  virtual Task<std::unique_ptr<WebSocket>> AcceptWebSocket(std::size_t message_bytes_max) = 0;
  virtual bool IsWebSocketUpgrade() const = 0;
};

/// Handles every request of a server; exceptions it throws are logged and answered 500 if nothing
/// was sent yet. Must be reentrant: many exchanges run at once on the loop.
using Handler = std::function<Task<void>(Exchange&)>;

/// An HTTP/1.1 server on one loop. Everything on the loop's thread.
class Server {
 public:
  static std::unique_ptr<Server> Make(Executor executor, Timers& timers, Logger log,
                                      ServerOptions options, Handler handler);
  virtual ~Server() = default;

  /// Starts accepting; may be called for several endpoints. The error names the address and the
  /// cause (port taken, no permission). Unix sockets are made with mode 0600 and replace a stale
  /// file.
  virtual Result<void> Listen(const Endpoint& endpoint) = 0;
  /// The port of the first TCP listener.
  virtual int port() const = 0;
  /// Stops accepting, requests every exchange's stop, waits up to `grace` for handlers, then
  /// closes.
  virtual Task<void> Shutdown(Duration grace) = 0;
  /// Open connections and exchanges being answered, for accounting.
  virtual std::size_t connections() const = 0;
  virtual std::size_t exchanges() const = 0;
};

}  // namespace pinion::http
