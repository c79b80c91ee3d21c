#pragma once

#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "async/timers.h"
#include "http/message.h"

/// Internal to the module: connected byte streams under HTTP, plain or TLS.
namespace pinion::http {

/// What is written at once: head, body and tail of a frame, so that bodies need no copying.
using Pieces = std::array<std::string_view, 3>;

/// The connection was closed or broken by the peer, or by Close().
class BrokenOff : public Failure {
 public:
  explicit BrokenOff(std::string message) : Failure(ErrorKind::kUnavailable, std::move(message)) {}
};

/// A connected byte stream. Bytes that a parser read too far are given back with Unread(). Every
/// wait throws Cancelled on stop and leaves the socket usable; a socket that failed stays failed.
/// One reader and one writer at a time, on the loop's thread.
class Socket {
 public:
  virtual ~Socket() = default;

  /// At least one byte, or 0 at the end. BrokenOff if the connection broke.
  virtual Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) = 0;
  /// What Read would give, without waiting: nothing if it would wait, 0 at the end or if it broke
  /// off.
  virtual std::optional<std::size_t> ReadNow(std::span<char> buffer) = 0;
  /// All pieces in order, with as few system calls as it takes. Returns when the kernel has them.
  virtual Task<void> Write(Pieces pieces, std::stop_token stop) = 0;
  /// Writes a few bytes if the kernel has room for all of them now; for the last words of a
  /// protocol.
  virtual bool WriteNow(std::string_view bytes) = 0;
  /// Puts bytes before what Read gives next.
  virtual void Unread(std::string_view bytes) = 0;
  virtual void CloseWrite() = 0;
  /// Waits in Read and Write end with BrokenOff.
  virtual void Close() = 0;
  /// As Close, and the peer sees a reset: what was sent is to be taken as broken off.
  virtual void Reset() = 0;

  /// Calls `action` once, on the loop, when Read would not have to wait (bytes, end or error),
  /// unless a Read waits at that time: it gets the news then. Null takes the watch off.
  virtual void WatchReadable(std::move_only_function<void()> action) = 0;
  /// True if a Read would wait: there are no bytes, and the peer is still there. What a kept
  /// connection looks like that can be used again.
  virtual bool Quiet() = 0;

  /// A Read or Write that makes no progress for this long is a Failure(kTimeout); zero is no limit.
  virtual void SetStallTimeouts(Duration read, Duration write) = 0;
};

/// Takes over a connected, non-blocking descriptor.
std::unique_ptr<Socket> MakeSocket(const Executor& executor, Timers& timers, int descriptor);

/// The socket as a taken-over connection, without stall time-outs. The end of the stream closes it.
std::unique_ptr<Stream> MakeStream(std::shared_ptr<Socket> socket);

/// Switches off Nagle's delay and has dead peers noticed within about two minutes. Unix sockets
/// have neither: it does nothing then.
void SetTcpOptions(int descriptor);

/// Calls back when a descriptor that is not a Socket becomes ready; the base of listening and
/// connecting. Owns the descriptor.
class Readiness {
 public:
  Readiness(const Executor& executor, int descriptor);
  Readiness(const Readiness&) = delete;
  Readiness& operator=(const Readiness&) = delete;
  ~Readiness();

  int descriptor() const;
  Task<void> WaitReadable(std::stop_token stop);
  Task<void> WaitWritable(std::stop_token stop);
  /// Called when the descriptor becomes readable and nobody is in WaitReadable(); null for none.
  void Watch(std::move_only_function<void()> action);
  bool closed() const;
  void Close();
  /// Gives the descriptor away.
  int Release();

 private:
  struct State;
  std::shared_ptr<State> state_;
};

/// An address of this module's kinds, taken apart.
struct Address {
  bool is_unix = false;
  std::string path;  ///< of a Unix socket
  std::string host;
  std::string port;
};
/// "unix:/path", "host:port" or "[::1]:port".
Result<Address> ParseAddress(std::string_view endpoint);

/// Connects, trying each address of the name in turn. Failure(kUnavailable) names the address.
Task<std::unique_ptr<Socket>> Connect(Executor executor, Timers& timers, Address address,
                                      std::stop_token stop);

/// A listening socket: the descriptor (non-blocking) or an error that names the address.
struct Listening {
  int descriptor = -1;
  int port = 0;           ///< TCP
  std::string unix_path;  ///< to be removed at the end
};
Result<Listening> OpenListener(const std::string& endpoint);

/// The address of the other side without its port; empty for Unix sockets.
std::string PeerAddress(int descriptor);

}  // namespace pinion::http
