#include "pipeline/glob.h"

#include <re2/re2.h>

#include "pipeline/yaml_scalar.h"

namespace pinion::pipeline {
namespace {

constexpr std::size_t kLongestPattern = 4096;

std::shared_ptr<const re2::RE2> Compile(const std::string& expression) {
  re2::RE2::Options options;
  options.set_dot_nl(true);
  options.set_log_errors(false);
  auto compiled = std::make_shared<const re2::RE2>(expression, options);
  return compiled->ok() ? compiled : nullptr;
}

std::string Quoted(std::string_view text) {
  return re2::RE2::QuoteMeta(re2::StringPiece(text.data(), text.size()));
}

/// Takes whole UTF-8 characters off a pattern.
class Pattern {
 public:
  explicit Pattern(std::string_view rest) : rest_(rest) {}
  bool AtEnd() const { return rest_.empty(); }
  bool Skip(char c) {
    if (!rest_.starts_with(c)) return false;
    rest_.remove_prefix(1);
    return true;
  }
  bool At(char c) const { return rest_.starts_with(c); }
  std::string_view Next() {
    std::size_t length = 1;
    while (length < rest_.size() && (static_cast<unsigned char>(rest_[length]) & 0xC0) == 0x80) {
      ++length;
    }
    const std::string_view next = rest_.substr(0, length);
    rest_.remove_prefix(length);
    return next;
  }

 private:
  std::string_view rest_;
};

/// One side of a range or a single character of a class. Nothing if there is none.
std::optional<std::string_view> ClassCharacter(Pattern& pattern) {
  if (pattern.AtEnd()) return std::nullopt;
  if (pattern.Skip('\\') && pattern.AtEnd()) return std::nullopt;
  return pattern.Next();
}

/// After `[`: a range `lo-hi`, or a list in which `-` is a character. As groups have it.
bool GroupClass(Pattern& pattern, std::string& out) {
  const bool negated = pattern.Skip('!');
  if (pattern.At(']')) return false;
  const auto first = ClassCharacter(pattern);
  if (!first) return false;
  std::string list = Quoted(*first);
  if (pattern.Skip('-')) {
    const auto last = ClassCharacter(pattern);
    if (!last || CodePoints(*last) < CodePoints(*first) || !pattern.Skip(']')) return false;
    list += "-" + Quoted(*last);
  } else {
    while (!pattern.Skip(']')) {
      const auto next = ClassCharacter(pattern);
      if (!next) return false;
      list += Quoted(*next);
    }
  }
  out += (negated ? "[^" : "[") + list + "]";
  return true;
}

/// After `[`: characters and ranges. As `passed` has it.
bool PassedClass(Pattern& pattern, std::string& out) {
  std::string list;
  const bool negated = pattern.Skip('^');
  while (list.empty() || !pattern.Skip(']')) {
    if (pattern.At('-') || pattern.At(']')) return false;
    const auto first = ClassCharacter(pattern);
    if (!first) return false;
    list += Quoted(*first);
    if (!pattern.Skip('-')) continue;
    if (pattern.At('-') || pattern.At(']')) return false;
    const auto last = ClassCharacter(pattern);
    if (!last) return false;
    if (CodePoints(*last) < CodePoints(*first)) return false;
    list += "-" + Quoted(*last);
  }
  out += (negated ? "[^" : "[") + list + "]";
  return true;
}

}  // namespace

std::optional<Glob> Glob::ForGroup(std::string_view text) {
  if (text.size() > kLongestPattern) return std::nullopt;
  if (text.find_first_of("*?[{\\") == std::string_view::npos) {
    return Glob(std::string(text), nullptr);
  }
  std::string expression;
  std::size_t open = 0;
  for (Pattern pattern(text); !pattern.AtEnd();) {
    if (pattern.Skip('*')) {
      expression += ".*";
    } else if (pattern.Skip('?')) {
      expression += ".";
    } else if (pattern.Skip('[')) {
      if (!GroupClass(pattern, expression)) return std::nullopt;
    } else if (pattern.Skip('{')) {
      expression += "(?:";
      ++open;
    } else if (open > 0 && pattern.Skip('}')) {
      expression += ")";
      --open;
    } else if (open > 0 && pattern.Skip(',')) {
      expression += "|";
    } else {
      if (pattern.Skip('\\') && pattern.AtEnd()) break;
      expression += Quoted(pattern.Next());
    }
  }
  expression.append(open, ')');  // what is not closed ends with the pattern
  auto compiled = Compile(expression);
  if (!compiled) return std::nullopt;
  return Glob("", std::move(compiled));
}

std::optional<Glob> Glob::ForPassed(std::string_view text) {
  if (text.size() > kLongestPattern) return std::nullopt;
  if (text.find_first_of("*?[\\") == std::string_view::npos) {
    return Glob(std::string(text), nullptr);
  }
  std::string expression;
  for (Pattern pattern(text); !pattern.AtEnd();) {
    if (pattern.Skip('*')) {
      expression += "[^/]*";
    } else if (pattern.Skip('?')) {
      expression += "[^/]";
    } else if (pattern.Skip('[')) {
      if (!PassedClass(pattern, expression)) return std::nullopt;
    } else {
      if (pattern.Skip('\\') && pattern.AtEnd()) return std::nullopt;
      expression += Quoted(pattern.Next());
    }
  }
  auto compiled = Compile(expression);
  if (!compiled) return std::nullopt;
  return Glob("", std::move(compiled));
}

bool Glob::Matches(std::string_view name) const {
  if (!expression_) return name == literal_;
  return re2::RE2::FullMatch(re2::StringPiece(name.data(), name.size()), *expression_);
}

}  // namespace pinion::pipeline
