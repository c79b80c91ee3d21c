#include "linux/network_links.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>

#include <cerrno>
#include <chrono>
#include <cstring>

namespace pinion::linux {
namespace {

constexpr int kOperationalUp = 6;  // IF_OPER_UP of linux/if.h, which clashes with net/if.h

}  // namespace

/// A request under construction.
struct NetlinkSocket::Message {
  Message(std::uint16_t type, std::uint16_t flags) : bytes(sizeof(nlmsghdr), '\0') {
    header().nlmsg_type = type;
    header().nlmsg_flags = flags;
  }
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes.data()); }

  template <class T>
  void Put(const T& value) {
    bytes.append(reinterpret_cast<const char*>(&value), sizeof value);
    bytes.resize(NLMSG_ALIGN(bytes.size()), '\0');
  }
  void Attribute(std::uint16_t type, std::string_view value) {
    const rtattr attribute{static_cast<std::uint16_t>(sizeof(rtattr) + value.size()), type};
    bytes.append(reinterpret_cast<const char*>(&attribute), sizeof attribute);
    bytes.append(value);
    bytes.resize(RTA_ALIGN(bytes.size()), '\0');
  }
  template <class T>
  void Number(std::uint16_t type, T value) {
    Attribute(type, std::string_view(reinterpret_cast<const char*>(&value), sizeof value));
  }
  void Text(std::uint16_t type, const std::string& value) {
    Attribute(type, std::string_view(value.c_str(), value.size() + 1));
  }
  std::size_t Begin(std::uint16_t type) {
    const std::size_t at = bytes.size();
    Attribute(type, {});
    return at;
  }
  void End(std::size_t at) {
    reinterpret_cast<rtattr*>(bytes.data() + at)->rta_len =
        static_cast<std::uint16_t>(bytes.size() - at);
  }

  std::string bytes;
};

Result<NetlinkSocket> NetlinkSocket::Open() {
  UniqueFd socket(::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!socket) return std::unexpected(SystemError("netlink socket", errno));
  return NetlinkSocket(std::move(socket));
}

Result<NetlinkSocket> NetlinkSocket::OpenIn(int network_namespace) {
  const UniqueFd own(::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC));
  if (!own) return std::unexpected(SystemError("open own network namespace", errno));
  if (::setns(network_namespace, CLONE_NEWNET) != 0) {
    return std::unexpected(SystemError("enter network namespace", errno));
  }
  Result<NetlinkSocket> socket = Open();
  if (::setns(own.get(), CLONE_NEWNET) != 0) std::abort();  // this thread would act elsewhere
  return socket;
}

Result<std::string> NetlinkSocket::Exchange(Message& message) {
  message.header().nlmsg_len = static_cast<std::uint32_t>(message.bytes.size());
  message.header().nlmsg_seq = ++sequence_;
  if (::send(socket_.get(), message.bytes.data(), message.bytes.size(), 0) < 0) {
    return std::unexpected(SystemError("netlink send", errno));
  }
  std::string reply(32 << 10, '\0');
  while (true) {
    const ssize_t size = ::recv(socket_.get(), reply.data(), reply.size(), 0);
    if (size < 0 && errno == EINTR) continue;
    if (size < static_cast<ssize_t>(sizeof(nlmsghdr))) {
      return std::unexpected(SystemError("netlink receive", errno));
    }
    const auto* header = reinterpret_cast<const nlmsghdr*>(reply.data());
    if (header->nlmsg_seq != sequence_) continue;
    if (header->nlmsg_type == NLMSG_ERROR) {
      const auto* error = reinterpret_cast<const nlmsgerr*>(reply.data() + sizeof(nlmsghdr));
      if (error->error == 0) return std::string();
      Error result = SystemError("netlink", -error->error);
      if (error->error == -EEXIST) result.kind = ErrorKind::kConflict;
      if (error->error == -ENODEV) result.kind = ErrorKind::kNotFound;
      return std::unexpected(std::move(result));
    }
    reply.resize(static_cast<std::size_t>(size));
    return reply;
  }
}

Result<void> NetlinkSocket::Send(Message& message, const std::string& what) {
  message.header().nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  auto reply = Exchange(message);
  if (!reply) return std::unexpected(std::move(reply).error().Context(what));
  return {};
}

Result<int> NetlinkSocket::LinkIndex(const std::string& name) {
  Message message(RTM_GETLINK, NLM_F_REQUEST);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC});
  message.Text(IFLA_IFNAME, name);
  auto reply = Exchange(message);
  if (!reply) return std::unexpected(std::move(reply).error().Context("interface " + name));
  return reinterpret_cast<const ifinfomsg*>(reply->data() + sizeof(nlmsghdr))->ifi_index;
}

Result<bool> NetlinkSocket::IsRunning(const std::string& name) {
  Message message(RTM_GETLINK, NLM_F_REQUEST);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC});
  message.Text(IFLA_IFNAME, name);
  auto reply = Exchange(message);
  if (!reply) return std::unexpected(std::move(reply).error().Context("interface " + name));
  int left = static_cast<int>(reply->size() - NLMSG_ALIGN(sizeof(nlmsghdr)) -
                              NLMSG_ALIGN(sizeof(ifinfomsg)));
  const auto* attribute = reinterpret_cast<const rtattr*>(
      reply->data() + NLMSG_ALIGN(sizeof(nlmsghdr)) + NLMSG_ALIGN(sizeof(ifinfomsg)));
  for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
    if (attribute->rta_type == IFLA_OPERSTATE) {
      return *static_cast<const unsigned char*>(RTA_DATA(attribute)) == kOperationalUp;
    }
  }
  return false;
}

Result<void> NetlinkSocket::AddBridge(const std::string& name, int mtu) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC});
  message.Text(IFLA_IFNAME, name);
  message.Number<std::uint32_t>(IFLA_MTU, static_cast<std::uint32_t>(mtu));
  const std::size_t info = message.Begin(IFLA_LINKINFO);
  message.Text(IFLA_INFO_KIND, "bridge");
  message.End(info);
  return Send(message, "make bridge " + name);
}

Result<void> NetlinkSocket::AddVethPair(const std::string& name, int bridge,
                                        const std::string& peer, int peer_namespace, int mtu) {
  Message message(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC});
  message.Text(IFLA_IFNAME, name);
  message.Number<std::uint32_t>(IFLA_MTU, static_cast<std::uint32_t>(mtu));
  if (bridge > 0) message.Number<std::int32_t>(IFLA_MASTER, bridge);
  const std::size_t info = message.Begin(IFLA_LINKINFO);
  message.Text(IFLA_INFO_KIND, "veth");
  const std::size_t data = message.Begin(IFLA_INFO_DATA);
  const std::size_t peer_info = message.Begin(VETH_INFO_PEER);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC});
  message.Text(IFLA_IFNAME, peer);
  message.Number<std::uint32_t>(IFLA_MTU, static_cast<std::uint32_t>(mtu));
  if (peer_namespace >= 0) message.Number<std::int32_t>(IFLA_NET_NS_FD, peer_namespace);
  message.End(peer_info);
  message.End(data);
  message.End(info);
  return Send(message, "make interface " + name);
}

Result<void> NetlinkSocket::DeleteLink(const std::string& name) {
  Message message(RTM_DELLINK, 0);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC});
  message.Text(IFLA_IFNAME, name);
  return Send(message, "delete interface " + name);
}

Result<void> NetlinkSocket::SetUp(const std::string& name) {
  Message message(RTM_NEWLINK, 0);
  message.Put(ifinfomsg{.ifi_family = AF_UNSPEC, .ifi_flags = IFF_UP, .ifi_change = IFF_UP});
  message.Text(IFLA_IFNAME, name);
  return Send(message, "bring interface " + name + " up");
}

Result<void> NetlinkSocket::IsolatePort(const std::string& name) {
  // Not through /sys/class/net: that shows the network namespace that it was mounted in.
  const unsigned index = ::if_nametoindex(name.c_str());
  if (index == 0) return std::unexpected(SystemError("find interface " + name, errno));
  Message message(RTM_SETLINK, 0);
  message.Put(ifinfomsg{.ifi_family = AF_BRIDGE, .ifi_index = static_cast<int>(index)});
  const std::size_t port = message.Begin(IFLA_PROTINFO | NLA_F_NESTED);
  message.Number(IFLA_BRPORT_ISOLATED, std::uint8_t{1});
  message.End(port);
  return Send(message, "isolate bridge port " + name);
}

Result<void> NetlinkSocket::AddAddress(const std::string& name, std::uint32_t address, int prefix) {
  auto index = LinkIndex(name);
  if (!index) return std::unexpected(std::move(index).error());
  Message message(RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL);
  message.Put(ifaddrmsg{.ifa_family = AF_INET,
                        .ifa_prefixlen = static_cast<std::uint8_t>(prefix),
                        .ifa_scope = RT_SCOPE_UNIVERSE,
                        .ifa_index = static_cast<std::uint32_t>(*index)});
  const std::uint32_t mask = prefix == 0 ? 0 : ~std::uint32_t{0} << (32 - prefix);
  message.Number(IFA_LOCAL, htonl(address));
  message.Number(IFA_ADDRESS, htonl(address));
  message.Number(IFA_BROADCAST, htonl(address | ~mask));
  auto added = Send(message, "give interface " + name + " its address");
  if (!added && added.error().kind == ErrorKind::kConflict) return {};
  return added;
}

Result<void> NetlinkSocket::AddDefaultRoute(std::uint32_t gateway) {
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  message.Put(rtmsg{.rtm_family = AF_INET,
                    .rtm_table = RT_TABLE_MAIN,
                    .rtm_protocol = RTPROT_STATIC,
                    .rtm_scope = RT_SCOPE_UNIVERSE,
                    .rtm_type = RTN_UNICAST});
  message.Number(RTA_GATEWAY, htonl(gateway));
  return Send(message, "set the default route");
}

Result<void> NetlinkSocket::AddDefaultRouteThrough(const std::string& name) {
  auto index = LinkIndex(name);
  if (!index) return std::unexpected(std::move(index).error());
  Message message(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL);
  message.Put(rtmsg{.rtm_family = AF_INET,
                    .rtm_table = RT_TABLE_MAIN,
                    .rtm_protocol = RTPROT_STATIC,
                    .rtm_scope = RT_SCOPE_LINK,
                    .rtm_type = RTN_UNICAST});
  message.Number(RTA_OIF, static_cast<std::uint32_t>(*index));
  return Send(message, "set the default route through " + name);
}

Result<void> WaitUntilRunning(NetlinkSocket& socket, const std::string& name) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(1);
  while (true) {
    auto running = socket.IsRunning(name);
    if (!running) return std::unexpected(std::move(running).error());
    if (*running) return {};
    if (std::chrono::steady_clock::now() > deadline) {
      return Fail(ErrorKind::kTimeout, "interface " + name + " does not come up");
    }
    ::usleep(20);
  }
}

}  // namespace pinion::linux
