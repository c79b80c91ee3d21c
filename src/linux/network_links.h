#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "base/error.h"
#include "linux/fd.h"

namespace pinion::linux {

/// (Named so as not to hide the kernel's own linux/netlink.h.)
///
/// Links, addresses and routes of one network namespace, by rtnetlink: 20 times faster than the
/// `ip` program. All methods block; errors name the interface. Not thread-safe.
class NetlinkSocket {
 public:
  /// Of the calling thread's network namespace.
  static Result<NetlinkSocket> Open();
  /// Of the namespace behind that descriptor. The thread is back in its own when this returns.
  static Result<NetlinkSocket> OpenIn(int network_namespace);

  /// The interface's index; kNotFound.
  Result<int> LinkIndex(const std::string& name);
  /// Whether the interface is up and running (operational state UP).
  Result<bool> IsRunning(const std::string& name);
  /// kConflict if it exists.
  Result<void> AddBridge(const std::string& name, int mtu);
  /// A pair of interfaces; the first becomes a port of the bridge (0: of none), the other goes to
  /// the namespace behind the descriptor (-1: stays). kConflict if the name is taken.
  Result<void> AddVethPair(const std::string& name, int bridge, const std::string& peer,
                           int peer_namespace, int mtu);
  Result<void> DeleteLink(const std::string& name);
  Result<void> SetUp(const std::string& name);
  /// Lets a bridge's port talk to ports that are not isolated, and to the bridge itself, only.
  Result<void> IsolatePort(const std::string& name);
  /// An IPv4 address (host byte order) with its prefix; no error if it is there.
  Result<void> AddAddress(const std::string& name, std::uint32_t address, int prefix);
  Result<void> AddDefaultRoute(std::uint32_t gateway);
  /// Sends everything that no other route takes out of the interface. Out of `lo` it vanishes.
  Result<void> AddDefaultRouteThrough(const std::string& name);

 private:
  explicit NetlinkSocket(UniqueFd socket) : socket_(std::move(socket)) {}
  struct Message;
  Result<std::string> Exchange(Message& message);
  Result<void> Send(Message& message, const std::string& what);

  UniqueFd socket_;
  std::uint32_t sequence_ = 0;
};

/// Waits, a second at most, until the interface is running. Blocks.
Result<void> WaitUntilRunning(NetlinkSocket& socket, const std::string& name);

}  // namespace pinion::linux
