#pragma once

#include <memory>
#include <string>

#include "async/timers.h"
#include "http/message.h"
#include "http/server.h"

namespace pinion::http {

struct ClientOptions {
  /// "unix:/path", or "http://host:port", "https://host".
  std::string url;
  /// To this peer at a time; further calls wait in order. A streamed body counts until it is read
  /// or dropped, a hijacked connection and a WebSocket do not count any more.
  std::size_t connections_max = 32;
  Duration connect_timeout = std::chrono::seconds(5);
  Duration response_timeout =
      std::chrono::seconds(60);           ///< from the request's end to the head; 0 none
  std::size_t body_bytes_max = 64 << 20;  ///< of Send(); streams have no limit
  /// TLS: extra CA certificates in PEM, a client certificate and key in PEM, or no check at all.
  std::string ca_certificates;
  std::string client_certificate;
  std::string client_key;
  bool insecure = false;
};

/// A response whose body is still to be read. Destroying it before the end closes the connection.
struct StreamedResponse {
  int status = 0;
  Headers headers;
  std::unique_ptr<BodyReader> body;
};

/// A client of one peer, with keep-alive connections. A request is sent again once, on a new
/// connection, when a kept connection turns out to be dead and nothing of the answer was read.
/// Failures: kUnavailable (cannot connect, broken off) and kTimeout, naming the URL without its
/// query. On one loop's thread.
class Client {
 public:
  static std::unique_ptr<Client> Make(Executor executor, Timers& timers, ClientOptions options);
  virtual ~Client() = default;

  /// The whole exchange; any status is a response.
  virtual Task<Response> Send(Request request, std::stop_token stop) = 0;
  /// Sends the request's body from `source` (chunked) when given, else request.body; hands the
  /// answer out as a stream. If the peer answers before the source's end, the rest is not sent.
  virtual Task<StreamedResponse> Open(Request request, BodyReader* source,
                                      std::stop_token stop) = 0;
  /// Sends the request and takes the connection over after the answer's head; `head` gets it. If
  /// the status is 400 or more, returns null and head.body holds what was answered.
  virtual Task<std::unique_ptr<Stream>> Hijack(Request request, Response& head,
                                               std::stop_token stop) = 0;
  /// Null, and `head` filled, if the peer refuses the upgrade.
  virtual Task<std::unique_ptr<WebSocket>> OpenWebSocket(Request request, Response& head,
                                                         std::size_t message_bytes_max,
                                                         std::stop_token stop) = 0;
};

}  // namespace pinion::http
