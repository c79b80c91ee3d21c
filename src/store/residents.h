#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "store/containers.h"

/// What containers and volumes have in common; for the sources of this module only. `table` is
/// "containers" or "volumes".
namespace pinion::store {

ResidentState ParseResidentState(std::string_view text);
/// As ReportContainers.
int ReportResidents(Transaction& transaction, std::string_view table, std::string_view worker,
                    const std::vector<std::string>& handles, std::int64_t asked_at,
                    const std::vector<std::string>& ignored);
int DeleteMissing(Transaction& transaction, std::string_view table, std::int64_t seconds);
std::vector<Doomed> ListDoomed(Transaction& transaction, std::string_view table,
                               std::string_view condition, int limit);
std::vector<std::string> ListDestroying(Transaction& transaction, std::string_view table,
                                        std::string_view worker);

}  // namespace pinion::store
