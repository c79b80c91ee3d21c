#pragma once

#include <atomic>
#include <deque>
#include <filesystem>

#include "async/signal.h"
#include "async/task_group.h"
#include "async/thread_pool.h"
#include "worker/network/network.h"

namespace pinion::worker {

struct BridgeNetworkOptions {
  std::string bridge = "pinion0";        ///< at most 10 characters
  std::string subnet = "10.80.0.0/16";   ///< its first address is the bridge's; /8 to /24
  int mtu = 0;                           ///< 0: that of the host's way out
  std::size_t pool_size = 8;             ///< networks that are ready ahead of their use
  std::vector<std::string> dns_servers;  ///< none: those of the host
  std::vector<std::string> denied_networks;
  bool allow_host_access = false;
};

/// One bridge for all containers, whose ports are isolated from each other; networks are made ahead
/// and held by descriptors, so that a container's start does not wait for them. On the loop's
/// thread.
class BridgeNetwork final : public Network {
 public:
  /// `work_dir` is the worker's: the supervisor's program in it helps making namespaces.
  BridgeNetwork(Executor executor, ThreadPool& pool, Logger log, std::filesystem::path work_dir,
                BridgeNetworkOptions options);

  /// Makes bridge and rules and starts filling the pool. kUnavailable names what the machine lacks.
  /// Several workers may share a bridge if they share its options.
  Task<Result<void>> Start();
  /// Drops the pool; bridge, rules and containers' networks stay.
  Task<void> Shutdown();
  /// Removes bridge and rules, for a worker that goes for good; containers lose their network.
  Task<void> Remove();

  Task<NetworkSlot> Acquire(bool privileged, std::stop_token stop) override;
  Task<NetworkSlot> AcquireClosed(bool privileged, std::stop_token stop) override;
  const std::string& resolver_config() const override { return resolver_config_; }

 private:
  Result<void> Prepare();
  Result<NetworkSlot> Make(bool privileged);
  Result<NetworkSlot> MakeClosed(bool privileged) const;
  Task<void> Fill();

  ThreadPool& pool_;
  Logger log_;
  std::filesystem::path work_dir_;
  std::filesystem::path helper_;
  BridgeNetworkOptions options_;
  std::string resolver_config_;
  std::uint32_t network_ = 0;  ///< the subnet's first address, host byte order
  int prefix_ = 0;
  int bridge_index_ = 0;
  std::atomic<std::uint32_t> next_address_{0};
  std::deque<NetworkSlot> ready_;
  Signal used_;
  TaskGroup tasks_;
};

}  // namespace pinion::worker
