#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pinion::resource {

/// A version as image tags spell them: "1", "v1.2", "1.2.3-rc.1+build". Missing parts are zero.
struct SemanticVersion {
  std::uint64_t major = 0;
  std::uint64_t minor = 0;
  std::uint64_t patch = 0;
  std::string pre_release;
  std::string build;
  std::string original;

  /// All three numbers, without a leading "v".
  std::string Text() const;
  /// The semver.org order; build data does not count.
  std::weak_ordering operator<=>(const SemanticVersion& other) const;
  bool operator==(const SemanticVersion& other) const { return (*this <=> other) == 0; }
};

std::optional<SemanticVersion> ParseSemanticVersion(std::string_view text);

/// A condition such as ">= 1.2 < 3.0.0 || ~4.2", in the language of Go's Masterminds/semver, which
/// upstream's resource type reads it with.
class VersionConstraint {
 public:
  /// kInvalid names the part that is wrong.
  static Result<VersionConstraint> Parse(std::string_view text);
  bool Allows(const SemanticVersion& version) const;

 private:
  enum class Operator { kEqual, kNotEqual, kAbove, kBelow, kAtLeast, kAtMost, kTilde, kCaret };
  struct Term {
    Operator comparison = Operator::kEqual;
    SemanticVersion version;
    // Which number was left out or written as x; then the term stands for a range.
    bool any_major = false;
    bool any_minor = false;
    bool any_patch = false;
    bool range() const { return any_major || any_minor || any_patch; }
  };
  using Group = std::vector<Term>;  // all of them must hold

  static Result<Term> ReadTerm(std::string_view& rest);
  static bool Holds(const Term& term, const SemanticVersion& version);
  static bool HoldsNotEqual(const Term& term, const SemanticVersion& version);
  static bool HoldsAbove(const Term& term, const SemanticVersion& version);
  static bool HoldsAtMost(const Term& term, const SemanticVersion& version);
  static bool HoldsTilde(const Term& term, const SemanticVersion& version);
  static bool HoldsCaret(const Term& term, const SemanticVersion& version);

  std::vector<Group> groups_;  // one of them must hold
};

}  // namespace pinion::resource
