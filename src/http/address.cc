// Listening and connecting: names, addresses and the errors that name them.

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/asio/ip/tcp.hpp>
#include <cerrno>
#include <cstring>

#include "http/socket.h"

namespace pinion::http {

namespace {

/// A descriptor that is closed unless it is given away.
class Descriptor {
 public:
  explicit Descriptor(int value) : value_(value) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (value_ >= 0) close(value_);
  }
  int get() const { return value_; }
  int Release() { return std::exchange(value_, -1); }

 private:
  int value_;
};

constexpr int kBacklog = 1024;

Result<sockaddr_un> UnixAddress(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path) {
    return Fail(ErrorKind::kInvalid, "the path of a Unix socket has 1 to " +
                                         std::to_string(sizeof address.sun_path - 1) + " bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  return address;
}

bool SomebodyListens(const sockaddr_un& address) {
  const Descriptor probe(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (probe.get() < 0) return true;  // unknown: do not take it away
  if (connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0) {
    return true;
  }
  return errno != ECONNREFUSED && errno != ENOENT;  // EAGAIN: its backlog is full
}

Result<Listening> ListenUnix(const std::string& path) {
  auto address = UnixAddress(path);
  if (!address) return std::unexpected(std::move(address).error());
  struct stat status{};
  if (lstat(path.c_str(), &status) == 0) {
    if (!S_ISSOCK(status.st_mode)) {
      return Fail(ErrorKind::kConflict, "there is a file of that name that is no socket");
    }
    if (SomebodyListens(*address)) {
      return Fail(ErrorKind::kConflict, "Address already in use: another process listens there");
    }
    unlink(path.c_str());
  }
  Descriptor listener(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener.get() < 0) return std::unexpected(SystemError("socket", errno));
  // The mode of the descriptor becomes the file's, so that nobody can connect in between.
  fchmod(listener.get(), 0600);
  if (bind(listener.get(), reinterpret_cast<const sockaddr*>(&*address), sizeof *address) != 0) {
    return std::unexpected(SystemError("bind", errno));
  }
  chmod(path.c_str(), 0600);
  if (listen(listener.get(), kBacklog) != 0) return std::unexpected(SystemError("listen", errno));
  return Listening{.descriptor = listener.Release(), .unix_path = path};
}

Result<Listening> ListenTcp(const Address& address) {
  boost::system::error_code error;
  const std::string host = address.host == "localhost" ? "127.0.0.1" : address.host;
  if (host.empty()) {
    // Every address of the machine, both kinds; of one kind where the kernel has no IPv6.
    auto both = ListenTcp({.host = "::", .port = address.port});
    if (both || both.error().message != std::strerror(EAFNOSUPPORT)) return both;
    return ListenTcp({.host = "0.0.0.0", .port = address.port});
  }
  const auto ip = boost::asio::ip::make_address(host, error);
  if (error) return Fail(ErrorKind::kInvalid, "\"" + host + "\" is no IP address");
  const boost::asio::ip::tcp::endpoint endpoint(
      ip, static_cast<std::uint16_t>(std::stoi(address.port)));
  Descriptor listener(
      socket(endpoint.protocol().family(), SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (listener.get() < 0) return Fail(ErrorKind::kInternal, std::strerror(errno));
  const int on = 1;
  setsockopt(listener.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(listener.get(), endpoint.data(), static_cast<socklen_t>(endpoint.size())) != 0 ||
      listen(listener.get(), kBacklog) != 0) {
    const int cause = errno;
    Error failure = SystemError("", cause);
    failure.message.erase(0, 2);  // ": " of the empty operation
    if (cause == EADDRINUSE) failure.kind = ErrorKind::kConflict;
    if (cause == EACCES) failure.kind = ErrorKind::kForbidden;
    return std::unexpected(std::move(failure));
  }
  boost::asio::ip::tcp::endpoint bound;
  auto length = static_cast<socklen_t>(bound.capacity());
  getsockname(listener.get(), bound.data(), &length);
  return Listening{.descriptor = listener.Release(), .port = bound.port()};
}

Task<std::unique_ptr<Socket>> FinishConnecting(Executor executor, Timers& timers,
                                               Descriptor& descriptor, std::stop_token stop) {
  Readiness readiness(executor, descriptor.Release());
  co_await readiness.WaitWritable(stop);
  int cause = 0;
  socklen_t size = sizeof cause;
  getsockopt(readiness.descriptor(), SOL_SOCKET, SO_ERROR, &cause, &size);
  if (cause != 0) throw Failure(SystemError("connect", cause));
  co_return MakeSocket(executor, timers, readiness.Release());
}

Task<std::unique_ptr<Socket>> ConnectTo(Executor executor, Timers& timers, const sockaddr* address,
                                        std::size_t length, int family, std::stop_token stop) {
  Descriptor descriptor(socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (descriptor.get() < 0) throw Failure(SystemError("socket", errno));
  if (family != AF_UNIX) SetTcpOptions(descriptor.get());
  while (connect(descriptor.get(), address, static_cast<socklen_t>(length)) != 0) {
    if (errno == EINPROGRESS)
      co_return co_await FinishConnecting(executor, timers, descriptor, stop);
    if (errno != EAGAIN) throw Failure(SystemError("connect", errno));
    // A Unix socket whose backlog is full; the kernel does not tell when there is room.
    co_await timers.Sleep(std::chrono::milliseconds(2), stop);
  }
  co_return MakeSocket(executor, timers, descriptor.Release());
}

using Resolver = boost::asio::ip::tcp::resolver;

Task<std::vector<boost::asio::ip::tcp::endpoint>> Resolve(Executor executor, Address address,
                                                          std::stop_token stop) {
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(address.host, error);
  if (!error) {
    const auto port = static_cast<std::uint16_t>(std::stoi(address.port));
    co_return std::vector<boost::asio::ip::tcp::endpoint>{{ip, port}};
  }
  // The answer may come after this coroutine has given up: what it fills is shared.
  struct Lookup {
    explicit Lookup(const Executor& executor) : resolver(executor) {}
    Resolver resolver;
    boost::system::error_code error;
    std::vector<boost::asio::ip::tcp::endpoint> found;
  };
  const auto lookup = std::make_shared<Lookup>(executor);
  co_await SuspendUntilStop<bool>(std::move(stop), [&](Waker<bool> waker) {
    lookup->resolver.async_resolve(
        address.host, address.port,
        [lookup, waker](const boost::system::error_code& failed, Resolver::results_type results) {
          lookup->error = failed;
          for (const auto& result : results)
            lookup->found.push_back(result.endpoint());
          waker(true);
        });
  });
  if (lookup->error) {
    throw Failure(ErrorKind::kUnavailable,
                  "looking up " + address.host + ": " + lookup->error.message());
  }
  co_return std::move(lookup->found);
}

bool IsPort(std::string_view text) {
  if (text.empty() || text.size() > 5) return false;
  for (const char c : text) {
    if (c < '0' || c > '9') return false;
  }
  return std::stoi(std::string(text)) <= 65535;
}

}  // namespace

Result<Address> ParseAddress(std::string_view endpoint) {
  if (endpoint.starts_with("unix:")) {
    return Address{.is_unix = true, .path = std::string(endpoint.substr(5))};
  }
  const std::size_t colon = endpoint.rfind(':');
  if (colon == std::string_view::npos || !IsPort(endpoint.substr(colon + 1))) {
    return Fail(ErrorKind::kInvalid, "expected unix:PATH, HOST:PORT or [IPV6]:PORT");
  }
  std::string_view host = endpoint.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
  } else if (host.find(':') != std::string_view::npos) {
    return Fail(ErrorKind::kInvalid, "an IPv6 address stands in brackets: [::1]:80");
  }
  return Address{.host = std::string(host), .port = std::string(endpoint.substr(colon + 1))};
}

Result<Listening> OpenListener(const std::string& endpoint) {
  const auto open = [&]() -> Result<Listening> {
    auto address = ParseAddress(endpoint);
    if (!address) return std::unexpected(std::move(address).error());
    return address->is_unix ? ListenUnix(address->path) : ListenTcp(*address);
  };
  auto listening = open();
  if (!listening) listening.error().Context("listen on " + endpoint);
  return listening;
}

Task<std::unique_ptr<Socket>> Connect(Executor executor, Timers& timers, Address address,
                                      std::stop_token stop) {
  if (address.is_unix) {
    const sockaddr_un path = ValueOrThrow(UnixAddress(address.path));
    co_return co_await ConnectTo(executor, timers, reinterpret_cast<const sockaddr*>(&path),
                                 sizeof path, AF_UNIX, stop);
  }
  const auto endpoints = co_await Resolve(executor, address, stop);
  Error last{ErrorKind::kUnavailable, "the name has no address"};
  for (const auto& endpoint : endpoints) {
    try {
      co_return co_await ConnectTo(executor, timers, endpoint.data(), endpoint.size(),
                                   endpoint.protocol().family(), stop);
    } catch (const Failure& failure) {
      last = failure.error();
    }
  }
  throw Failure(last);
}

std::string PeerAddress(int descriptor) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  if (getpeername(descriptor, reinterpret_cast<sockaddr*>(&storage), &length) != 0) return {};
  char text[INET6_ADDRSTRLEN] = "";
  if (storage.ss_family == AF_INET) {
    inet_ntop(AF_INET, &reinterpret_cast<const sockaddr_in&>(storage).sin_addr, text, sizeof text);
  } else if (storage.ss_family == AF_INET6) {
    inet_ntop(AF_INET6, &reinterpret_cast<const sockaddr_in6&>(storage).sin6_addr, text,
              sizeof text);
  }
  const std::string_view address(text);
  // Clients of IPv4 on a listener of both kinds.
  if (address.starts_with("::ffff:") && address.find('.') != std::string_view::npos) {
    return std::string(address.substr(7));
  }
  return std::string(address);
}

}  // namespace pinion::http
