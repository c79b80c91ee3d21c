#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "store/database.h"

namespace pinion::store {

struct UserRow {
  UserId id;
  std::string sub;
  std::string username;
  std::string connector;
  std::int64_t last_login = 0;  ///< unix seconds
};

/// Notes a login; a user is known from the first one on.
void SaveLogin(Transaction& transaction, std::string_view sub, std::string_view username,
               std::string_view connector);
/// Users who logged in at that time or later, oldest login first.
std::vector<UserRow> ListUsersSince(Transaction& transaction, std::int64_t since);

/// A token that was logged out is refused until it would have expired.
void RevokeToken(Transaction& transaction, std::string_view token_id, std::int64_t expires);
/// Ids of tokens that are revoked and would be good otherwise.
std::vector<std::string> ListRevokedTokens(Transaction& transaction);

}  // namespace pinion::store
