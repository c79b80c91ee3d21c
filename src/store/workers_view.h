#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/database.h"

namespace pinion::store {

/// The name of the team that owns the worker, "" for a global one; nothing if there is no such
/// worker.
std::optional<std::string> FindWorkerTeam(Transaction& transaction, std::string_view worker);

}  // namespace pinion::store
