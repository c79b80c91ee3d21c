#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json_fields.h"
#include "identity/roles.h"

namespace pinion::identity {

/// What a token says. The names are those of upstream's claims.
struct Claims {
  std::string sub;       ///< connector and user id, packed: what the users table is keyed by
  std::string audience;  ///< client that asked: "fly", "concourse-web", "concourse-worker"
  std::string token_id;
  std::int64_t issued = 0;   ///< unix seconds
  std::int64_t expires = 0;  ///< unix seconds
  std::string name;
  std::string preferred_username;
  std::string email;
  std::string user_id;
  std::string connector;
  std::vector<std::string> groups;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("sub", self.sub);
    visit("aud", self.audience);
    visit("jti", self.token_id);
    visit("iat", self.issued);
    visit("exp", self.expires);
    visit("name", self.name, kOmitEmpty);
    visit("preferred_username", self.preferred_username, kOmitEmpty);
    visit("email", self.email, kOmitEmpty);
    visit("user_id", self.user_id, kOmitEmpty);
    visit("connector", self.connector, kOmitEmpty);
    visit("groups", self.groups, kOmitEmpty);
  }

  identity::Person Person() const;
  /// How changes and builds name this person.
  std::string DisplayUserId() const;
};

/// Signs and checks tokens: JWS compact form, HS256 and nothing else. Immutable; any thread.
class TokenSigner {
 public:
  /// `key` has at least 32 random bytes.
  explicit TokenSigner(std::string key);

  std::string Sign(const Claims& claims) const;
  /// The claims of a token that we signed, that has not expired at `now` (unix seconds) and whose
  /// audience is one of `audiences`. kUnauthorized otherwise, with the reason (not for the answer).
  Result<Claims> Verify(std::string_view token, std::int64_t now,
                        const std::vector<std::string>& audiences) const;

  /// Signs a short text for a round trip through a browser; `purpose` keeps kinds apart.
  std::string Seal(std::string_view purpose, std::string_view text) const;
  /// The text, if it was sealed for that purpose.
  std::optional<std::string> Unseal(std::string_view purpose, std::string_view sealed) const;

 private:
  std::string Mac(std::string_view purpose, std::string_view text) const;
  std::string key_;
};

}  // namespace pinion::identity
