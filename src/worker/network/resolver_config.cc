#include "worker/network/resolver_config.h"

#include <arpa/inet.h>

#include "base/files.h"
#include "base/text.h"

namespace pinion::worker {
namespace {

constexpr std::string_view kServer = "nameserver";

/// The address of a "nameserver" line; empty for other lines.
std::string_view ServerOf(std::string_view line) {
  line = Trim(line);
  if (!line.starts_with(kServer) || line.size() == kServer.size()) return {};
  const char next = line[kServer.size()];
  return next == ' ' || next == '\t' ? Trim(line.substr(kServer.size())) : std::string_view();
}

std::string WithoutLoopback(std::string_view config) {
  std::string result;
  for (const std::string_view line : Split(config, '\n')) {
    const std::string_view server = ServerOf(line);
    if (server.starts_with("127.") || server == "::1") continue;
    if (!Trim(line).empty()) result.append(Trim(line)).push_back('\n');
  }
  return result;
}

bool HasServer(std::string_view config) {
  for (const std::string_view line : Split(config, '\n')) {
    if (!ServerOf(line).empty()) return true;
  }
  return false;
}

}  // namespace

std::string MakeResolverConfig(const std::vector<std::string>& servers,
                               const std::filesystem::path& host_file,
                               const std::filesystem::path& upstream_file) {
  std::string config;
  for (const std::string& server : servers)
    config += "nameserver " + server + "\n";
  if (!config.empty()) return config;
  config = WithoutLoopback(ReadFile(host_file, 1 << 20).value_or(""));
  if (HasServer(config)) return config;
  const std::string upstream = WithoutLoopback(ReadFile(upstream_file, 1 << 20).value_or(""));
  return HasServer(upstream) ? upstream : config;
}

std::vector<std::string> NameServers(std::string_view config) {
  std::vector<std::string> servers;
  for (const std::string_view line : Split(config, '\n')) {
    const std::string server(ServerOf(line));
    in_addr ignored{};
    if (::inet_pton(AF_INET, server.c_str(), &ignored) == 1) servers.push_back(server);
  }
  return servers;
}

}  // namespace pinion::worker
