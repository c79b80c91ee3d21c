#include <re2/re2.h>

#include "pipeline/validate.h"

namespace pinion::pipeline {

std::optional<IdentifierProblem> CheckIdentifier(std::string_view name, std::string_view path) {
  const std::string prefix = std::string(path) + ": ";
  if (name.empty()) return IdentifierProblem{true, prefix + "identifier cannot be an empty string"};
  static const re2::RE2 kNumber(R"([0-9]+)");
  static const re2::RE2 kFirst(R"([\p{Ll}\p{Lt}\p{Lm}\p{Lo}0-9])");
  static const re2::RE2 kFurther(R"([\p{Ll}\p{Lt}\p{Lm}\p{Lo}0-9\-_.]*)");
  static const re2::RE2 kAnyCharacter(R"((?s).)");
  re2::StringPiece rest(name.data(), name.size());
  std::string reason;
  if (re2::RE2::FullMatch(rest, kNumber)) {
    reason = "cannot be just numbers";
  } else if (!re2::RE2::Consume(&rest, kFirst)) {
    reason = "must start with a lowercase letter or a number";
  } else {
    re2::RE2::Consume(&rest, kFurther);
    if (rest.empty()) return std::nullopt;
    re2::StringPiece after = rest;
    re2::RE2::Consume(&after, kAnyCharacter);
    const std::string offender(rest.data(), rest.size() - after.size());
    reason = "illegal character '" +
             (offender.empty() ? std::string(rest.data(), std::min<std::size_t>(rest.size(), 1))
                               : offender) +
             "'";
  }
  return IdentifierProblem{
      false, prefix + "'" + std::string(name) + "' is not a valid identifier: " + reason};
}

}  // namespace pinion::pipeline
