#include "worker/network/firewall.h"

#include <algorithm>
#include <cctype>
#include <chrono>

#include "base/text.h"
#include "linux/process.h"

namespace pinion::worker {
namespace {

std::string TableName(const std::string& bridge) {
  std::string name = "pinion_" + bridge;
  std::ranges::replace_if(name, [](unsigned char c) { return !std::isalnum(c); }, '_');
  return name;
}

std::string Set(const std::vector<std::string>& items) {
  return "{ " + Join(items, ", ") + " }";
}

}  // namespace

std::string FirewallText(const FirewallRules& rules) {
  const std::string table = "table inet " + TableName(rules.bridge);
  const std::string from = "    iifname \"" + rules.bridge + "\" ";
  const std::string to = "    oifname \"" + rules.bridge + "\" ";
  // Adding before deleting: deleting what is not there is an error.
  std::string text = table + " {}\ndelete " + table + "\n" + table + " {\n";
  text += "  chain input {\n    type filter hook input priority filter; policy accept;\n";
  if (!rules.allow_host) {
    text += from + "ct state established,related accept\n";
    if (!rules.name_servers.empty()) {
      text += from + "ip daddr " + Set(rules.name_servers) +
              " meta l4proto { tcp, udp } th dport 53 accept\n";
    }
    text += from + "reject with icmpx type admin-prohibited\n";
  }
  text += "  }\n  chain forward {\n    type filter hook forward priority filter; policy accept;\n";
  if (!rules.denied.empty()) {
    text += from + "ip daddr " + Set(rules.denied) + " reject with icmpx type admin-prohibited\n";
  }
  text += from + "oifname \"" + rules.bridge + "\" drop\n";
  text += from + "ip saddr != " + rules.subnet + " drop\n";
  text += to + "ct state established,related accept\n" + to + "drop\n";
  text +=
      "  }\n  chain postrouting {\n    type nat hook postrouting priority srcnat; policy accept;\n";
  text += "    ip saddr " + rules.subnet + " oifname != \"" + rules.bridge + "\" masquerade\n";
  return text + "  }\n}\n";
}

Result<void> LoadFirewall(const FirewallRules& rules) {
  const auto loaded =
      linux::RunCommand({"nft", "-f", "-"}, FirewallText(rules), std::chrono::seconds(20));
  if (!loaded) {
    return Fail(ErrorKind::kUnavailable, "containers' network needs nftables (" +
                                             loaded.error().message +
                                             "): install it with: apt-get install nftables");
  }
  if (loaded->exit_status != 0) {
    return Fail(ErrorKind::kUnavailable,
                "this kernel refuses the rules of the containers' network; it needs nf_tables with "
                "nat, masquerade and reject (modprobe nf_tables nft_masq nft_reject_inet): " +
                    std::string(Trim(loaded->output)));
  }
  return {};
}

void RemoveFirewall(const std::string& bridge) {
  const std::string table = "table inet " + TableName(bridge);
  (void)linux::RunCommand({"nft", "-f", "-"}, table + " {}\ndelete " + table + "\n",
                          std::chrono::seconds(20));
}

}  // namespace pinion::worker
