#include "worker/network/bridge_network.h"

#include <arpa/inet.h>

#include <charconv>
#include <cstring>

#include "base/encoding.h"
#include "base/files.h"
#include "base/text.h"
#include "linux/files.h"
#include "linux/namespaces.h"
#include "linux/network_links.h"
#include "worker/containers/supervisor_program.h"
#include "worker/id_mapping.h"
#include "worker/network/firewall.h"
#include "worker/network/resolver_config.h"

namespace pinion::worker {
namespace {

constexpr int kAddressTriesMax = 4096;

Result<std::pair<std::uint32_t, int>> ParseSubnet(const std::string& text) {
  const std::size_t slash = text.find('/');
  in_addr address{};
  int prefix = 0;
  if (slash != std::string::npos) {
    std::from_chars(text.data() + slash + 1, text.data() + text.size(), prefix);
  }
  if (::inet_pton(AF_INET, text.substr(0, slash).c_str(), &address) != 1 || prefix < 8 ||
      prefix > 24) {
    return Fail(ErrorKind::kInvalid, "container subnet \"" + text +
                                         "\" is refused: it must be an IPv4 network such as "
                                         "10.80.0.0/16, of /8 to /24");
  }
  const std::uint32_t mask = ~std::uint32_t{0} << (32 - prefix);
  return std::pair(ntohl(address.s_addr) & mask, prefix);
}

std::string AddressText(std::uint32_t address) {
  const in_addr in{htonl(address)};
  char text[INET_ADDRSTRLEN];
  return ::inet_ntop(AF_INET, &in, text, sizeof text);
}

/// The MTU of the interface that the default route leads to; 1500 without one.
int HostMtu() {
  const std::string routes = ReadFile("/proc/net/route").value_or("");
  for (const std::string_view line : Split(routes, '\n')) {
    const auto fields = Split(line, '\t');
    if (fields.size() < 2 || Trim(fields[1]) != "00000000") continue;
    const auto text = ReadFile("/sys/class/net/" + std::string(Trim(fields[0])) + "/mtu");
    int mtu = 0;
    if (text) std::from_chars(text->data(), text->data() + text->size(), mtu);
    if (mtu >= 576) return mtu;
  }
  return 1500;
}

/// Exists afterwards; whether it did before does not matter.
Result<void> Unless(ErrorKind kind, Result<void> result) {
  if (!result && result.error().kind == kind) return {};
  return result;
}

}  // namespace

BridgeNetwork::BridgeNetwork(Executor executor, ThreadPool& pool, Logger log,
                             std::filesystem::path work_dir, BridgeNetworkOptions options)
    : pool_(pool),
      log_(log),
      work_dir_(std::move(work_dir)),
      options_(std::move(options)),
      tasks_(std::move(executor), log, "networks") {}

Task<Result<void>> BridgeNetwork::Start() {
  Result<void> prepared = co_await pool_.Run([this] { return Prepare(); });
  if (!prepared) {
    co_return std::unexpected(std::move(prepared).error().Context("network of the containers"));
  }
  tasks_.Spawn(Fill());
  co_return Result<void>();
}

Task<void> BridgeNetwork::Shutdown() {
  tasks_.RequestStop();
  co_await tasks_.Join();
  ready_.clear();
}

Task<void> BridgeNetwork::Remove() {
  co_await Shutdown();
  co_await pool_.Run([this] {
    RemoveFirewall(options_.bridge);
    if (auto netlink = linux::NetlinkSocket::Open()) {
      for (const std::string& name : {options_.bridge + "-p", options_.bridge}) {
        if (auto deleted = netlink->DeleteLink(name); !deleted) {
          log_.Warn("network not removed", {{"error", deleted.error().message}});
        }
      }
    }
  });
}

Result<void> BridgeNetwork::Prepare() {
  auto helper = InstallSupervisor(work_dir_);
  if (!helper) return std::unexpected(std::move(helper).error());
  helper_ = std::move(*helper);
  if (options_.bridge.empty() || options_.bridge.size() > 10) {
    return Fail(ErrorKind::kInvalid,
                "bridge name \"" + options_.bridge + "\" is refused: 1 to 10 characters");
  }
  auto subnet = ParseSubnet(options_.subnet);
  if (!subnet) return std::unexpected(std::move(subnet).error());
  std::tie(network_, prefix_) = *subnet;
  if (options_.mtu <= 0) options_.mtu = HostMtu();
  // Where the last worker stopped is not known; beginning anywhere makes meeting its ports rare.
  const std::string random = RandomBytes(sizeof(std::uint32_t));
  std::uint32_t first = 0;
  std::memcpy(&first, random.data(), sizeof first);
  next_address_ = first;

  auto netlink = linux::NetlinkSocket::Open();
  if (!netlink) return std::unexpected(std::move(netlink).error());
  if (auto made = Unless(ErrorKind::kConflict, netlink->AddBridge(options_.bridge, options_.mtu));
      !made) {
    return Fail(ErrorKind::kUnavailable, made.error().message +
                                             "; containers need a kernel with bridges and veth: "
                                             "modprobe bridge veth");
  }
  auto index = netlink->LinkIndex(options_.bridge);
  if (!index) return std::unexpected(std::move(index).error());
  bridge_index_ = *index;
  if (auto set = netlink->AddAddress(options_.bridge, network_ + 1, prefix_); !set) return set;
  // A port that is always there: a bridge that loses its last one goes down, and the next
  // container's first packet would wait a second.
  const std::string port = options_.bridge + "-p";
  if (auto made = Unless(
          ErrorKind::kConflict,
          netlink->AddVethPair(port, bridge_index_, options_.bridge + "-q", -1, options_.mtu));
      !made) {
    return made;
  }
  for (const std::string& name : {options_.bridge, port, options_.bridge + "-q"}) {
    if (auto up = netlink->SetUp(name); !up) return up;
  }
  if (auto forwarding = linux::WriteKernelFile("/proc/sys/net/ipv4/ip_forward", "1"); !forwarding) {
    return Fail(ErrorKind::kUnavailable, forwarding.error().message +
                                             "; switch forwarding on with: sysctl -w "
                                             "net.ipv4.ip_forward=1");
  }
  resolver_config_ = MakeResolverConfig(options_.dns_servers);
  return LoadFirewall({.bridge = options_.bridge,
                       .subnet = AddressText(network_) + "/" + std::to_string(prefix_),
                       .name_servers = NameServers(resolver_config_),
                       .denied = options_.denied_networks,
                       .allow_host = options_.allow_host_access});
}

Result<NetworkSlot> BridgeNetwork::Make(bool privileged) {
  auto pair = privileged ? linux::MakeNetworkNamespace()
                         : linux::MakeMappedNamespaces(helper_, kHostIdBase, kIdCount);
  if (!pair) return std::unexpected(std::move(pair).error());
  auto host = linux::NetlinkSocket::Open();
  if (!host) return std::unexpected(std::move(host).error());
  // The kernel keeps the list of addresses in use: a port is named after its own, and a name that
  // is taken is another container's, perhaps of another worker.
  const std::uint32_t count = (std::uint32_t{1} << (32 - prefix_)) - 3;
  std::string port;
  std::uint32_t address = 0;
  for (int attempt = 0; port.empty(); ++attempt) {
    if (attempt == kAddressTriesMax) {
      return Fail(ErrorKind::kUnavailable, "no free address is left in " + options_.subnet);
    }
    address = network_ + 2 + next_address_++ % count;
    char name[16];
    std::snprintf(name, sizeof name, "pv%08x", address);
    auto made = host->AddVethPair(name, bridge_index_, "eth0", pair->network.get(), options_.mtu);
    if (made) port = name;
    if (!made && made.error().kind != ErrorKind::kConflict) {
      return std::unexpected(std::move(made).error());
    }
  }
  auto isolated = host->IsolatePort(port);
  if (!isolated) return std::unexpected(std::move(isolated).error());
  auto inside = linux::NetlinkSocket::OpenIn(pair->network.get());
  if (!inside) return std::unexpected(std::move(inside).error());
  for (const auto& step :
       {host->SetUp(port), inside->SetUp("lo"), inside->AddAddress("eth0", address, prefix_),
        inside->SetUp("eth0"), inside->AddDefaultRoute(network_ + 1),
        linux::WaitUntilRunning(*inside, "eth0"), linux::WaitUntilRunning(*host, port)}) {
    if (!step) return std::unexpected(step.error());
  }
  return NetworkSlot{.network = std::move(pair->network),
                     .user = std::move(pair->user),
                     .address = AddressText(address)};
}

Result<NetworkSlot> BridgeNetwork::MakeClosed(bool privileged) const {
  auto pair = privileged ? linux::MakeNetworkNamespace()
                         : linux::MakeMappedNamespaces(helper_, kHostIdBase, kIdCount);
  if (!pair) return std::unexpected(std::move(pair).error());
  auto inside = linux::NetlinkSocket::OpenIn(pair->network.get());
  if (!inside) return std::unexpected(std::move(inside).error());
  if (auto up = inside->SetUp("lo"); !up) return std::unexpected(std::move(up).error());
  if (auto set = inside->AddDefaultRouteThrough("lo"); !set) {
    return std::unexpected(std::move(set).error());
  }
  return NetworkSlot{.network = std::move(pair->network), .user = std::move(pair->user)};
}

Task<void> BridgeNetwork::Fill() {
  const std::stop_token stop = tasks_.stop_token();
  while (true) {
    while (ready_.size() < options_.pool_size) {
      ThrowIfStopped(stop);
      auto made = co_await pool_.Run([this] { return Make(false); });
      if (!made) {
        log_.Warn("no network made ahead", {{"error", made.error().message}});
        break;
      }
      ready_.push_back(std::move(*made));
    }
    co_await used_.Wait(stop);
  }
}

Task<NetworkSlot> BridgeNetwork::Acquire(bool privileged, std::stop_token stop) {
  ThrowIfStopped(stop);
  if (!privileged && !ready_.empty()) {
    NetworkSlot slot = std::move(ready_.front());
    ready_.pop_front();
    used_.Set();
    co_return slot;
  }
  auto made = co_await pool_.Run([this, privileged] { return Make(privileged); });
  if (!made) throw Failure(std::move(made).error().Context("network of a container"));
  if (!privileged) used_.Set();
  co_return std::move(*made);
}

Task<NetworkSlot> BridgeNetwork::AcquireClosed(bool privileged, std::stop_token stop) {
  ThrowIfStopped(stop);
  auto made = co_await pool_.Run([this, privileged] { return MakeClosed(privileged); });
  if (!made) throw Failure(std::move(made).error().Context("network of a container"));
  co_return std::move(*made);
}

}  // namespace pinion::worker
