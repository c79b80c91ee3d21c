#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "base/json.h"

struct evp_pkey_st;

namespace pinion::secrets {

/// One RSA and one elliptic-curve key. Immutable; any thread.
class SigningKeys {
 public:
  /// New keys; takes some 100 ms of the processor.
  static SigningKeys Make();
  /// From what Text() gave; kInvalid.
  static Result<SigningKeys> Parse(std::string_view text);
  /// Both private keys, as PEM.
  std::string Text() const;

  /// A JWT in compact form. `algorithm` is RS256 or ES256; kInvalid Failure for others.
  std::string Sign(std::string_view algorithm, const Json& claims) const;
  /// The public keys as a JSON Web Key Set.
  Json PublicKeys() const;

 private:
  using Key = std::shared_ptr<evp_pkey_st>;
  SigningKeys(Key rsa, Key curve) : rsa_(std::move(rsa)), curve_(std::move(curve)) {}
  Key rsa_;
  Key curve_;
};

}  // namespace pinion::secrets
