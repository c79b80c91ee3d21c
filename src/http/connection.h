#pragma once

#include <memory>
#include <string>

#include "http/message_reader.h"
#include "http/server.h"
#include "http/socket.h"

/// Internal to the module: one connection of a server.
namespace pinion::http {

class ExchangeImpl;

/// What all connections of a server share.
struct ServerShared {
  Executor executor;
  Timers& timers;
  Logger log;
  ServerOptions options;
  Handler handler;
  std::size_t exchanges = 0;
  bool stopping = false;
  std::string date;  ///< the Date header of second `date_second`
  std::int64_t date_second = -1;

  /// The Date header of now.
  const std::string& Date();
};

/// Reads requests one after the other and has each answered by the handler.
class Connection {
 public:
  Connection(ServerShared& shared, std::unique_ptr<Socket> socket, std::string remote_address);
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  /// Returns when the connection is over. Does not throw.
  Task<void> Serve();
  /// Ends the wait for a next request, or asks the exchange to stop.
  void RequestStop();
  /// Breaks everything off.
  void Abort();

 private:
  Task<bool> ServeOne();
  /// False if nothing was asked.
  Task<bool> ReadRequestHead();
  Task<void> RunHandler(ExchangeImpl& exchange);
  /// Reads what the handler left of the request's body; false if that is too much.
  Task<bool> DrainRequest();
  Task<void> Refuse(int status, std::string message);
  /// Closes so that the client still gets what was sent, though it may be sending itself.
  Task<void> Linger();

  ServerShared& shared_;
  std::shared_ptr<Socket> socket_;  ///< shared with a stream that took it over
  const std::string remote_address_;
  MessageReader reader_;
  std::stop_source closing_;
  ExchangeImpl* exchange_ = nullptr;
  bool first_ = true;
};

}  // namespace pinion::http
