#include "api/identifier.h"

#include <algorithm>

namespace pinion::api {

namespace {

bool IsDigit(unsigned char c) {
  return c >= '0' && c <= '9';
}
bool StartsWell(unsigned char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || c >= 0x80;
}
bool GoesOnWell(unsigned char c) {
  return StartsWell(c) || c == '-' || c == '_' || c == '.';
}

}  // namespace

Result<void> CheckIdentifier(std::string_view name, std::string_view what,
                             std::vector<present::ConfigWarning>& warnings) {
  const std::string prefix(what);
  if (name.empty()) {
    return Fail(ErrorKind::kInvalid, prefix + ": identifier cannot be an empty string");
  }
  std::string reason;
  const auto bad = std::ranges::find_if_not(name.substr(1), GoesOnWell);
  if (std::ranges::all_of(name, IsDigit)) {
    reason = "cannot be just numbers";
  } else if (!StartsWell(static_cast<unsigned char>(name.front()))) {
    reason = "must start with a lowercase letter or a number";
  } else if (bad != name.substr(1).end()) {
    reason = "illegal character '" + std::string(1, *bad) + "'";
  }
  if (!reason.empty()) {
    warnings.push_back(
        {.type = "invalid_identifier",
         .message = prefix + ": '" + std::string(name) + "' is not a valid identifier: " + reason});
  }
  return {};
}

}  // namespace pinion::api
