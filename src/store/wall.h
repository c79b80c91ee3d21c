#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "store/database.h"

namespace pinion::store {

/// The message that every page and `fly get-wall` shows.
struct WallMessage {
  std::string message;
  /// Unix seconds; nothing: it stays.
  std::optional<std::int64_t> expires;
};
/// Nothing if none is set or it has expired.
std::optional<WallMessage> FindWall(Transaction& transaction);
void SetWall(Transaction& transaction, std::string_view message,
             std::optional<std::int64_t> expires);
void ClearWall(Transaction& transaction);

}  // namespace pinion::store
