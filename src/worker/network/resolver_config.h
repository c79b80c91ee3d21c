#pragma once

#include <filesystem>
#include <string>
#include <vector>

namespace pinion::worker {

/// What containers get as /etc/resolv.conf: the given servers, else the host's file without its
/// loopback servers, which containers cannot reach. If none are left, those that systemd-resolved
/// asks itself (`upstream_file`). Blocks.
std::string MakeResolverConfig(
    const std::vector<std::string>& servers,
    const std::filesystem::path& host_file = "/etc/resolv.conf",
    const std::filesystem::path& upstream_file = "/run/systemd/resolve/resolv.conf");

/// The IPv4 addresses of the name servers in such a text.
std::vector<std::string> NameServers(std::string_view config);

}  // namespace pinion::worker
