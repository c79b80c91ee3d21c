#include "identity/token.h"

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"

namespace pinion::identity {

namespace {

constexpr std::size_t kTokenBytesMax = 16 << 10;
// Nodes' clocks differ: a token of another may seem to come from the future.
constexpr std::int64_t kLeewaySeconds = 60;
constexpr std::string_view kTokenPurpose = "token";

std::unexpected<Error> Refuse(std::string reason) {
  return Fail(ErrorKind::kUnauthorized, "token: " + std::move(reason));
}

}  // namespace

Person Claims::Person() const {
  return {.connector = connector,
          .user_id = user_id,
          .username = preferred_username.empty() ? name : preferred_username,
          .groups = groups};
}

std::string Claims::DisplayUserId() const {
  if (!preferred_username.empty()) return preferred_username;
  return user_id.empty() ? name : user_id;
}

TokenSigner::TokenSigner(std::string key) : key_(std::move(key)) {
  if (key_.size() < 32)
    throw Failure(ErrorKind::kInternal, "the token key is shorter than 32 bytes");
}

std::string TokenSigner::Mac(std::string_view purpose, std::string_view text) const {
  // A key of its own for each purpose, so that one kind of text never passes for another.
  return ToBase64Url(HmacSha256(HmacSha256(key_, purpose), text));
}

std::string TokenSigner::Sign(const Claims& claims) const {
  std::string text = ToBase64Url(R"({"alg":"HS256","typ":"JWT"})");
  text += '.';
  text += ToBase64Url(ToText(ToJson(claims)));
  const std::string mac = Mac(kTokenPurpose, text);
  return text + "." + mac;
}

Result<Claims> TokenSigner::Verify(std::string_view token, std::int64_t now,
                                   const std::vector<std::string>& audiences) const {
  if (token.size() > kTokenBytesMax) return Refuse("too long");
  const auto parts = Split(token, '.');
  if (parts.size() != 3) return Refuse("not three parts");
  const std::string_view signed_text = token.substr(0, parts[0].size() + 1 + parts[1].size());

  // The signature comes first: nothing of an unsigned token is parsed.
  if (!EqualInConstantTime(Mac(kTokenPurpose, signed_text), parts[2])) {
    return Refuse("wrong signature");
  }
  const auto header_text = FromBase64(parts[0]);
  const auto header = header_text ? ParseJson(*header_text) : Result<Json>(Json());
  if (!header || header->StringAt("alg") != "HS256") return Refuse("algorithm is not HS256");

  const auto body = FromBase64(parts[1]);
  if (!body) return Refuse("body is not base64");
  auto claims = FromText<Claims>(*body);
  if (!claims) return Refuse("body: " + claims.error().message);
  if (claims->expires <= now) return Refuse("expired");
  if (claims->issued > now + kLeewaySeconds) return Refuse("issued in the future");
  if (std::ranges::find(audiences, claims->audience) == audiences.end()) {
    return Refuse("meant for another audience");
  }
  return claims;
}

std::string TokenSigner::Seal(std::string_view purpose, std::string_view text) const {
  std::string sealed = ToBase64Url(text);
  const std::string mac = Mac(purpose, sealed);
  return sealed + "." + mac;
}

std::optional<std::string> TokenSigner::Unseal(std::string_view purpose,
                                               std::string_view sealed) const {
  const auto parts = Split(sealed, '.');
  if (parts.size() != 2 || !EqualInConstantTime(Mac(purpose, parts[0]), parts[1])) {
    return std::nullopt;
  }
  return FromBase64(parts[0]);
}

}  // namespace pinion::identity
