#pragma once

#include <string>
#include <vector>

#include "base/error.h"

namespace pinion::worker {

struct FirewallRules {
  std::string bridge;
  std::string subnet;                     ///< of the containers, CIDR
  std::vector<std::string> name_servers;  ///< may be asked even when they are the host itself
  std::vector<std::string> denied;        ///< networks (CIDR) that containers may not reach
  bool allow_host = false;                ///< containers may talk to the host's own addresses
};

/// The rules as nft reads them: one table that replaces its former self. Containers get out
/// masqueraded, reach neither the host's addresses (whichever they are) nor each other, and nobody
/// reaches them.
std::string FirewallText(const FirewallRules& rules);

/// Loads them with the nft program. kUnavailable says how to get what is missing. Blocks.
Result<void> LoadFirewall(const FirewallRules& rules);

/// Removes the table. Blocks.
void RemoveFirewall(const std::string& bridge);

}  // namespace pinion::worker
