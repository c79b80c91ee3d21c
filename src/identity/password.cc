#include "identity/password.h"

#include <crypt.h>

#include <memory>

#include "base/encoding.h"

namespace pinion::identity {

namespace {

constexpr unsigned long kCost = 10;
constexpr std::size_t kPasswordBytesMax = 72;

/// What an unknown user's password is compared with, so that the answer takes as long. No password
/// has this hash.
constexpr const char* kNobody = "$2b$10$.....................................................";

std::string Crypt(std::string_view password, const std::string& setting) {
  // 32 kB: too large for the stack of a small thread.
  auto data = std::make_unique<crypt_data>();
  const std::string text(password);
  const char* hash = crypt_r(text.c_str(), setting.c_str(), data.get());
  // Failure is a null pointer or a token that starts with '*'.
  if (!hash || hash[0] == '*') return {};
  return hash;
}

}  // namespace

std::string HashPassword(std::string_view password) {
  const std::string seed = RandomBytes(16);
  char setting[CRYPT_GENSALT_OUTPUT_SIZE];
  if (!crypt_gensalt_rn("$2b$", kCost, seed.data(), static_cast<int>(seed.size()), setting,
                        sizeof setting)) {
    throw Failure(ErrorKind::kInternal, "crypt_gensalt offers no bcrypt");
  }
  std::string hash = Crypt(password, setting);
  if (hash.empty()) throw Failure(ErrorKind::kInternal, "crypt offers no bcrypt");
  return hash;
}

bool IsPasswordHash(std::string_view text) {
  return text.size() == 60 &&
         (text.starts_with("$2a$") || text.starts_with("$2b$") || text.starts_with("$2y$"));
}

bool CheckPassword(std::string_view password, const std::string& hash) {
  if (!IsPasswordHash(hash) || password.size() > kPasswordBytesMax ||
      password.find('\0') != std::string_view::npos) {
    return false;
  }
  const std::string actual = Crypt(password, hash);
  return !actual.empty() && EqualInConstantTime(actual, hash);
}

Result<void> LocalUsers::Add(std::string_view entry) {
  const std::size_t colon = entry.find(':');
  if (colon == std::string_view::npos || colon == 0 || colon + 1 == entry.size()) {
    return Fail(ErrorKind::kInvalid, "local user '" + std::string(entry.substr(0, colon)) +
                                         "': give it as name:password or name:bcrypt-hash");
  }
  const std::string name(entry.substr(0, colon));
  const std::string_view secret = entry.substr(colon + 1);
  if (!IsPasswordHash(secret) && secret.size() > kPasswordBytesMax) {
    return Fail(ErrorKind::kInvalid,
                "local user '" + name + "': the password is longer than 72 bytes");
  }
  hashes_[name] = IsPasswordHash(secret) ? std::string(secret) : HashPassword(secret);
  return {};
}

std::vector<std::string> LocalUsers::Names() const {
  std::vector<std::string> names;
  for (const auto& [name, hash] : hashes_)
    names.push_back(name);
  return names;
}

bool LocalUsers::Check(const std::string& name, std::string_view password) const {
  const auto found = hashes_.find(name);
  const bool same = CheckPassword(password, found == hashes_.end() ? kNobody : found->second);
  return found != hashes_.end() && same;
}

}  // namespace pinion::identity
