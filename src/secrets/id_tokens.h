#pragma once

#include <memory>
#include <stop_token>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/clock.h"
#include "base/json.h"

namespace pinion::store {
class Database;
}

namespace pinion::secrets {

/// Whose vars are asked for.
struct VarOwner {
  std::string team;
  std::string pipeline;
  std::string instance_vars;  ///< JSON, "" for none
  std::string job;            ///< "" for checks and one-off builds
};

/// What an `idtoken` var source says in its config; kInvalid for what it may not say.
struct IdTokenConfig {
  std::string subject_scope = "pipeline";  ///< team, pipeline, instance or job
  std::vector<std::string> audience;
  Duration expires_in = std::chrono::hours(1);
  std::string algorithm = "RS256";  ///< or ES256

  static Result<IdTokenConfig> Parse(const Json& config);
};

class SigningKeys;

/// Tokens (JWTs) by which builds prove to others whose they are, and the public keys to check them
/// by. The keys are made at the first use and kept in the database: all nodes sign with the same.
/// On one loop's thread.
class IdTokens {
 public:
  IdTokens(store::Database& database, const Clock& clock);
  ~IdTokens();
  IdTokens(const IdTokens&) = delete;
  IdTokens& operator=(const IdTokens&) = delete;

  /// The URL that tokens name as their issuer, without a slash at the end.
  void SetIssuer(std::string issuer) { issuer_ = std::move(issuer); }
  const std::string& issuer() const { return issuer_; }

  Task<std::string> Make(IdTokenConfig config, VarOwner owner);
  /// A JSON Web Key Set.
  Task<Json> PublicKeys();

 private:
  Task<void> LoadKeys();

  store::Database& database_;
  const Clock& clock_;
  std::string issuer_;
  std::shared_ptr<const SigningKeys> keys_;
};

}  // namespace pinion::secrets
