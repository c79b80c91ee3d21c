#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "store/database.h"

namespace pinion::store {

/// Named texts that every node shares: keys made at the first start, the wall's message.
std::optional<std::string> FindSetting(Transaction& transaction, std::string_view name);
void PutSetting(Transaction& transaction, std::string_view name, std::string_view value);
void DeleteSetting(Transaction& transaction, std::string_view name);
/// The setting's value; the first caller of all nodes makes it.
std::string SettingOrMade(Transaction& transaction, std::string_view name,
                          const std::function<std::string()>& make);

}  // namespace pinion::store
