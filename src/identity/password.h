#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pinion::identity {

/// bcrypt of a password, cost 10. Takes some 70 ms: on a thread pool, not on a loop.
std::string HashPassword(std::string_view password);

/// True for "$2a$…", "$2b$…" and "$2y$…" hashes.
bool IsPasswordHash(std::string_view text);

/// Compares in constant time. False for hashes of other kinds and for passwords over 72 bytes, of
/// which bcrypt would look at the beginning only. As slow as HashPassword.
bool CheckPassword(std::string_view password, const std::string& hash);

/// The users that the server's settings name (--add-local-user name:password-or-bcrypt). Immutable
/// after construction but for Add; any thread may read.
class LocalUsers {
 public:
  /// Adds "name:password" or "name:bcrypt-hash"; plain passwords are hashed now and not kept.
  /// Errors name the user, never the password.
  Result<void> Add(std::string_view entry);
  bool empty() const { return hashes_.empty(); }
  std::vector<std::string> Names() const;

  /// True if there is such a user with that password. An unknown name takes as long as a known one.
  bool Check(const std::string& name, std::string_view password) const;

 private:
  std::map<std::string, std::string> hashes_;
};

}  // namespace pinion::identity
