#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace re2 {
class RE2;
}

namespace pinion::pipeline {

/// A pattern for names. Matching takes time linear in the name, whatever the pattern.
class Glob {
 public:
  /// Patterns of groups: `*`, `?`, `[abc]`, `[a-z]`, `[!a]`, `{a,b*}`, `\` before a letter to take.
  /// Nothing if the pattern is broken.
  static std::optional<Glob> ForGroup(std::string_view pattern);
  /// Patterns of `passed`: `*` and `?` (no slash), `[abc]`, `[a-z]`, `[^a]`, `\`. Nothing if
  /// broken.
  static std::optional<Glob> ForPassed(std::string_view pattern);

  bool Matches(std::string_view name) const;

 private:
  Glob(std::string literal, std::shared_ptr<const re2::RE2> expression)
      : literal_(std::move(literal)), expression_(std::move(expression)) {}

  std::string literal_;                         // the only match, unless there is an expression
  std::shared_ptr<const re2::RE2> expression_;  // of patterns with special characters
};

}  // namespace pinion::pipeline
