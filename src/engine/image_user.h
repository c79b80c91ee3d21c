#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace pinion::engine {

/// A user's numbers inside a container.
struct UserIds {
  std::int64_t uid = 0;
  std::int64_t gid = 0;
  friend bool operator==(const UserIds&, const UserIds&) = default;
};

/// Whom "name", "name:group", "uid" or "uid:gid" (mixed too) means, by the texts of an image's
/// /etc/passwd and /etc/group. Numbers need no entry. Nothing for names that the files do not have.
std::optional<UserIds> FindUserIds(std::string_view user, std::string_view passwd,
                                   std::string_view group);

}  // namespace pinion::engine
