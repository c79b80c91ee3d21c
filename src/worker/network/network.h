#pragma once

#include <memory>
#include <string>
#include <vector>

#include "async/task.h"
#include "linux/fd.h"

namespace pinion::worker {

/// The network of one container, ready to be joined: descriptors of its namespaces. Dropping them
/// gives the network back to the kernel once the container is gone.
struct NetworkSlot {
  linux::UniqueFd network;
  linux::UniqueFd user;  ///< the user namespace that owns it; none for privileged containers
  std::string address;   ///< its IPv4 address; empty without a network
};

/// Where containers get their networks from. On the loop's thread.
class Network {
 public:
  virtual ~Network() = default;
  /// A network of its own for one container, with a way out and none to the host or other
  /// containers.
  virtual Task<NetworkSlot> Acquire(bool privileged, std::stop_token stop) = 0;
  /// Loopback alone, for a hermetic container: what is sent elsewhere vanishes, as behind a
  /// firewall that drops.
  virtual Task<NetworkSlot> AcquireClosed(bool privileged, std::stop_token stop) = 0;
  /// The content of /etc/resolv.conf.
  virtual const std::string& resolver_config() const = 0;
};

/// No network but loopback for everybody: for machines without bridges, and for tests.
class NoNetwork final : public Network {
 public:
  Task<NetworkSlot> Acquire(bool, std::stop_token) override { co_return NetworkSlot{}; }
  Task<NetworkSlot> AcquireClosed(bool, std::stop_token) override { co_return NetworkSlot{}; }
  const std::string& resolver_config() const override { return empty_; }

 private:
  std::string empty_;
};

}  // namespace pinion::worker
