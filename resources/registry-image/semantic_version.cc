#include "registry-image/semantic_version.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/text.h"

namespace pinion::resource {
namespace {

constexpr std::size_t kVersionBytesMax = 256;
constexpr std::size_t kConstraintBytesMax = 512;
constexpr std::size_t kGroupsMax = 32;

bool IsDigit(char c) {
  return c >= '0' && c <= '9';
}

bool IsIdentifierCharacter(char c) {
  return IsDigit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
}

bool IsNumber(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, IsDigit);
}

bool IsSpace(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v';
}

// Takes the longest start of `rest` whose characters pass.
template <class Test>
std::string_view TakeWhile(std::string_view& rest, Test test) {
  const auto end = std::ranges::find_if_not(rest, test);
  const std::string_view taken = rest.substr(0, static_cast<std::size_t>(end - rest.begin()));
  rest.remove_prefix(taken.size());
  return taken;
}

bool Take(std::string_view& rest, std::string_view start) {
  if (!rest.starts_with(start)) return false;
  rest.remove_prefix(start.size());
  return true;
}

std::optional<std::uint64_t> TakeNumber(std::string_view& rest) {
  const std::string_view digits = TakeWhile(rest, IsDigit);
  std::uint64_t number = 0;
  const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (digits.empty() || read.ec != std::errc()) return std::nullopt;
  return number;
}

// Identifiers between dots; numeric ones of pre-releases have no leading zeros.
bool TakeIdentifiers(std::string_view& rest, bool zeros_allowed, std::string& out) {
  out = TakeWhile(rest, [](char c) { return IsIdentifierCharacter(c) || c == '.'; });
  return std::ranges::all_of(Split(out, '.'), [&](std::string_view part) {
    const bool leading_zero = part.size() > 1 && part[0] == '0' && IsNumber(part);
    return !part.empty() && (zeros_allowed || !leading_zero);
  });
}

// What follows the numbers: "-pre.release" and "+build".
bool TakeSuffix(std::string_view& rest, SemanticVersion& version) {
  if (Take(rest, "-") && !TakeIdentifiers(rest, false, version.pre_release)) return false;
  return !Take(rest, "+") || TakeIdentifiers(rest, true, version.build);
}

std::weak_ordering CompareIdentifiers(std::string_view a, std::string_view b) {
  if (IsNumber(a) != IsNumber(b)) return IsNumber(b) <=> IsNumber(a);  // numbers come first
  if (IsNumber(a) && a.size() != b.size()) return a.size() <=> b.size();
  return a <=> b;
}

std::weak_ordering ComparePreReleases(std::string_view a, std::string_view b) {
  if (a.empty() || b.empty()) return a.empty() <=> b.empty();  // the finished one is later
  const auto left = Split(a, '.');
  const auto right = Split(b, '.');
  for (std::size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (const auto order = CompareIdentifiers(left[i], right[i]); order != 0) return order;
  }
  return left.size() <=> right.size();
}

bool IsWildcard(std::string_view text) {
  return text == "x" || text == "X" || text == "*";
}

// "A - B" with spaces around the dash means at least A and at most B.
std::string SpellOutRanges(std::string_view text) {
  std::vector<std::string> groups;
  for (std::size_t start = 0; start <= text.size();) {
    const std::size_t end = std::min(text.find("||", start), text.size());
    std::string group(text.substr(start, end - start));
    for (std::size_t dash = 0; (dash = group.find(" - ", dash)) != std::string::npos;) {
      const std::size_t last = group.find_last_not_of(' ', dash);
      if (last == std::string::npos) break;
      const std::size_t before = group.find_last_of(" ,", last);
      const std::size_t from = before == std::string::npos ? 0 : before + 1;
      group.replace(dash, 3, ", <=");
      group.insert(from, ">=");
      dash += 5;
    }
    groups.push_back(std::move(group));
    start = end + 2;
  }
  return Join(groups, "||");
}

}  // namespace

std::string SemanticVersion::Text() const {
  std::string text =
      std::to_string(major) + "." + std::to_string(minor) + "." + std::to_string(patch);
  if (!pre_release.empty()) text += "-" + pre_release;
  if (!build.empty()) text += "+" + build;
  return text;
}

std::weak_ordering SemanticVersion::operator<=>(const SemanticVersion& other) const {
  if (major != other.major) return major <=> other.major;
  if (minor != other.minor) return minor <=> other.minor;
  if (patch != other.patch) return patch <=> other.patch;
  return ComparePreReleases(pre_release, other.pre_release);
}

std::optional<SemanticVersion> ParseSemanticVersion(std::string_view text) {
  if (text.size() > kVersionBytesMax) return std::nullopt;
  SemanticVersion version;
  version.original = text;
  std::string_view rest = text;
  Take(rest, "v");
  const std::array<std::uint64_t*, 3> numbers = {&version.major, &version.minor, &version.patch};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    if (i > 0 && !Take(rest, ".")) break;
    const auto number = TakeNumber(rest);
    if (!number) return std::nullopt;
    *numbers[i] = *number;
  }
  if (!TakeSuffix(rest, version) || !rest.empty()) return std::nullopt;
  return version;
}

Result<VersionConstraint::Term> VersionConstraint::ReadTerm(std::string_view& rest) {
  using enum Operator;
  static constexpr std::array<std::pair<std::string_view, Operator>, 11> kOperators = {{
      {"!=", kNotEqual},
      {">=", kAtLeast},
      {"=>", kAtLeast},
      {"<=", kAtMost},
      {"=<", kAtMost},
      {"~>", kTilde},
      {"~", kTilde},
      {"^", kCaret},
      {">", kAbove},
      {"<", kBelow},
      {"=", kEqual},
  }};
  const std::string_view whole = rest;
  const auto wrong = [&] {
    return Fail(ErrorKind::kInvalid,
                "'" + std::string(whole.substr(0, 100)) + "' does not begin with a condition");
  };
  Term term;
  const auto found =
      std::ranges::find_if(kOperators, [&](const auto& entry) { return Take(rest, entry.first); });
  if (found != kOperators.end()) term.comparison = found->second;
  TakeWhile(rest, IsSpace);
  Take(rest, "v");
  const std::array<std::uint64_t*, 3> numbers = {&term.version.major, &term.version.minor,
                                                 &term.version.patch};
  bool any = false;
  const std::array<bool*, 3> open = {&term.any_major, &term.any_minor, &term.any_patch};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const bool written = i == 0 || Take(rest, ".");
    const bool wildcard = written && !rest.empty() && IsWildcard(rest.substr(0, 1));
    if (written && wildcard) rest.remove_prefix(1);
    const auto number = written && !wildcard ? TakeNumber(rest) : std::nullopt;
    if (written && !wildcard && !number) return wrong();
    // From the first open part on, numbers mean nothing.
    if (!any && !number) *open[i] = any = true;
    if (!any) *numbers[i] = *number;
  }
  if (!TakeSuffix(rest, term.version)) return wrong();
  if (!rest.empty() && rest[0] != ',' && !IsSpace(rest[0])) return wrong();
  return term;
}

Result<VersionConstraint> VersionConstraint::Parse(std::string_view text) {
  if (text.size() > kConstraintBytesMax) {
    return Fail(ErrorKind::kInvalid, "a version constraint has at most 512 bytes");
  }
  VersionConstraint constraint;
  const std::string spelled = SpellOutRanges(text);
  for (std::size_t start = 0; start <= spelled.size();) {
    const std::size_t end = std::min(spelled.find("||", start), spelled.size());
    std::string_view rest = std::string_view(spelled).substr(start, end - start);
    start = end + 2;
    Group& group = constraint.groups_.emplace_back();
    if (constraint.groups_.size() > kGroupsMax) {
      return Fail(ErrorKind::kInvalid, "a version constraint has at most 32 alternatives");
    }
    TakeWhile(rest, IsSpace);
    do {
      auto term = ReadTerm(rest);
      if (!term) return std::unexpected(std::move(term).error());
      group.push_back(std::move(*term));
      TakeWhile(rest, IsSpace);
      if (Take(rest, ",")) {
        TakeWhile(rest, IsSpace);
        if (rest.empty()) return Fail(ErrorKind::kInvalid, "nothing follows the last comma");
      }
    } while (!rest.empty());
  }
  return constraint;
}

bool VersionConstraint::Allows(const SemanticVersion& version) const {
  return std::ranges::any_of(groups_, [&](const Group& group) {
    // Pre-releases count only where the group itself speaks of one.
    const bool speaks = std::ranges::any_of(
        group, [](const Term& term) { return !term.version.pre_release.empty(); });
    if (!version.pre_release.empty() && !speaks) return false;
    return std::ranges::all_of(group, [&](const Term& term) { return Holds(term, version); });
  });
}

bool VersionConstraint::Holds(const Term& term, const SemanticVersion& version) {
  switch (term.comparison) {
    case Operator::kEqual:
      return term.range() ? HoldsTilde(term, version) : version == term.version;
    case Operator::kNotEqual:
      return HoldsNotEqual(term, version);
    case Operator::kAbove:
      return HoldsAbove(term, version);
    case Operator::kBelow:
      return version < term.version;
    case Operator::kAtLeast:
      return version >= term.version;
    case Operator::kAtMost:
      return HoldsAtMost(term, version);
    case Operator::kTilde:
      return HoldsTilde(term, version);
    case Operator::kCaret:
      return HoldsCaret(term, version);
  }
  return false;
}

bool VersionConstraint::HoldsNotEqual(const Term& term, const SemanticVersion& version) {
  if (!term.range() || term.any_major) return version != term.version;
  if (term.version.major != version.major) return true;
  if (term.any_minor) return false;
  if (term.version.minor != version.minor) return true;
  return term.version.pre_release != version.pre_release;
}

bool VersionConstraint::HoldsAbove(const Term& term, const SemanticVersion& version) {
  // ">11" begins at 12, ">11.1" at 11.2.
  if (!term.range() || term.any_major || version.major != term.version.major) {
    return version > term.version;
  }
  return term.any_patch && version.minor > term.version.minor;
}

bool VersionConstraint::HoldsAtMost(const Term& term, const SemanticVersion& version) {
  if (!term.range()) return version <= term.version;
  // "<=11" goes on to the end of 11, "<=11.1" to the end of 11.1.
  if (version.major != term.version.major) return version.major < term.version.major;
  return term.any_minor || version.minor <= term.version.minor;
}

bool VersionConstraint::HoldsTilde(const Term& term, const SemanticVersion& version) {
  if (version < term.version) return false;
  const SemanticVersion& from = term.version;
  const bool zero = from.major == 0 && from.minor == 0 && from.patch == 0;
  if (zero && !term.any_minor && !term.any_patch) return true;
  return version.major == from.major && (term.any_minor || version.minor == from.minor);
}

bool VersionConstraint::HoldsCaret(const Term& term, const SemanticVersion& version) {
  if (version < term.version) return false;
  // Everything up to the next change of the leftmost number that is not zero.
  const SemanticVersion& from = term.version;
  if (version.major != from.major) return false;
  if (from.major > 0 || term.any_minor) return true;
  if (version.minor != from.minor) return false;
  return from.minor > 0 || term.any_patch || version.patch == from.patch;
}

}  // namespace pinion::resource
