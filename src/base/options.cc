#include "base/options.h"

#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "base/text.h"
#include "base/units.h"

namespace pinion {
namespace {

Result<int> ParseInteger(std::string_view text) {
  int value = 0;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value);
  if (parsed.ec != std::errc() || parsed.ptr != text.data() + text.size() || text.empty()) {
    return Fail(ErrorKind::kInvalid, "'" + std::string(text) + "' is no whole number");
  }
  return value;
}

/// Walks over the words of a command line.
class Words {
 public:
  explicit Words(const std::vector<std::string>& words) : words_(words) {}
  bool done() const { return at_ == words_.size(); }
  const std::string& Take() { return words_[at_++]; }
  /// The value of an option: what stands behind '=', or the next word.
  std::optional<std::string> Value(std::optional<std::string> attached) {
    if (attached) return attached;
    if (done()) return std::nullopt;
    return Take();
  }

 private:
  const std::vector<std::string>& words_;
  std::size_t at_ = 0;
};

}  // namespace

std::string BoundOption::EnvName() const {
  std::string name = "CONCOURSE_";
  for (const char c : option.name) {
    name += c == '-' ? '_' : static_cast<char>(c >= 'a' && c <= 'z' ? c - 32 : c);
  }
  return name;
}

void Options::Bind(const Option& option, std::string type, std::string fallback, bool repeatable,
                   std::function<Result<void>(std::string_view)> set) {
  options_.push_back({option, std::move(type), std::move(fallback), repeatable, std::move(set)});
}

void Options::Add(const Option& option, std::string& value) {
  Bind(option, "text", value, false, [&value](std::string_view text) -> Result<void> {
    value = text;
    return {};
  });
}

void Options::Add(const Option& option, std::optional<std::string>& value) {
  Bind(option, "text", value.value_or(""), false, [&value](std::string_view text) -> Result<void> {
    value = std::string(text);
    return {};
  });
}

void Options::Add(const Option& option, int& value) {
  Bind(option, "number", std::to_string(value), false,
       [&value](std::string_view text) -> Result<void> {
         const auto parsed = ParseInteger(text);
         if (!parsed) return std::unexpected(parsed.error());
         value = *parsed;
         return {};
       });
}

void Options::Add(const Option& option, std::optional<int>& value) {
  Bind(option, "number", value ? std::to_string(*value) : "", false,
       [&value](std::string_view text) -> Result<void> {
         const auto parsed = ParseInteger(text);
         if (!parsed) return std::unexpected(parsed.error());
         value = *parsed;
         return {};
       });
}

void Options::Add(const Option& option, bool& value) {
  Bind(option, "", "", false, [&value](std::string_view text) -> Result<void> {
    const std::string word = ToLower(text);
    if (word != "true" && word != "false" && word != "1" && word != "0" && !word.empty()) {
      return Fail(ErrorKind::kInvalid, "'" + std::string(text) + "' is neither true nor false");
    }
    value = word != "false" && word != "0";
    return {};
  });
}

void Options::Add(const Option& option, Duration& value) {
  Bind(option, "duration", value == Duration::zero() ? "" : DurationText(value), false,
       [&value](std::string_view text) -> Result<void> {
         const auto parsed = ParseDuration(text);
         if (!parsed) return std::unexpected(parsed.error());
         value = *parsed;
         return {};
       });
}

void Options::Add(const Option& option, ByteSize& value) {
  Bind(option, "size", BytesText(value), false, [&value](std::string_view text) -> Result<void> {
    const auto parsed = ParseBytes(text);
    if (!parsed) return std::unexpected(parsed.error());
    value.bytes = *parsed;
    return {};
  });
}

void Options::Add(const Option& option, std::vector<std::string>& values) {
  Bind(option, "list", Join(values, ","), true, [&values](std::string_view text) -> Result<void> {
    values.emplace_back(text);
    return {};
  });
}

void Options::AddPositional(std::string_view name, std::string_view doc,
                            std::vector<std::string>& values) {
  positional_ = &values;
  positional_name_ = name;
  positional_doc_ = doc;
}

const BoundOption* Options::Find(std::string_view name) const {
  const auto found = std::ranges::find_if(
      options_, [&](const BoundOption& bound) { return bound.option.name == name; });
  return found == options_.end() ? nullptr : &*found;
}

std::string Options::Unknown(std::string_view name) const {
  std::vector<std::string_view> candidates;
  for (const BoundOption& bound : options_)
    candidates.push_back(bound.option.name);
  const std::string_view nearest = Nearest(name, candidates);
  std::string message = "unknown option --" + std::string(name);
  if (!nearest.empty()) message += ": did you mean --" + std::string(nearest) + "?";
  return message;
}

Result<void> Options::Parse(const std::vector<std::string>& words,
                            const std::map<std::string, std::string>& environment,
                            std::vector<std::string>& warnings) {
  std::vector<std::string> errors;
  std::set<std::string_view> given;
  const auto set = [&](const BoundOption& bound, std::string_view value, const std::string& where) {
    given.insert(bound.option.name);
    if (const auto result = bound.set(value); !result) {
      errors.push_back(where + ": " + result.error().message);
    }
  };

  // Words first, so that the environment fills only what they leave open.
  Words rest(words);
  bool options_end = false;
  while (!rest.done()) {
    const std::string word = rest.Take();
    if (options_end || word.size() < 2 || word[0] != '-') {
      if (positional_) {
        positional_->push_back(word);
      } else {
        errors.push_back("unexpected word '" + word + "'");
      }
      continue;
    }
    if (word == "--") {
      options_end = true;
      continue;
    }
    if (word.starts_with("--")) {
      const std::size_t equals = word.find('=');
      const std::string name = word.substr(2, equals == std::string::npos ? equals : equals - 2);
      std::optional<std::string> attached;
      if (equals != std::string::npos) attached = word.substr(equals + 1);
      const BoundOption* bound = Find(name);
      if (!bound) {
        const auto ignored = ignored_.find(name);
        if (ignored == ignored_.end()) {
          errors.push_back(Unknown(name));
        } else {
          if (ignored->second && !attached && !rest.done()) rest.Take();
          warnings.push_back("--" + name + " has no meaning here and is ignored");
        }
        continue;
      }
      if (!bound->takes_value()) {
        set(*bound, attached.value_or("true"), "--" + name);
        continue;
      }
      const std::optional<std::string> value = rest.Value(attached);
      if (!value) {
        errors.push_back("--" + name + " needs a value");
      } else {
        set(*bound, *value, "--" + name);
      }
      continue;
    }
    // Short options: flags may be grouped, a value may follow directly.
    for (std::size_t i = 1; i < word.size(); ++i) {
      const auto bound = std::ranges::find_if(options_, [&](const BoundOption& candidate) {
        return candidate.option.short_name == word[i];
      });
      const std::string name = std::string("-") + word[i];
      if (bound == options_.end()) {
        errors.push_back("unknown option " + name);
        break;
      }
      if (!bound->takes_value()) {
        set(*bound, "true", name);
        continue;
      }
      std::optional<std::string> attached;
      if (i + 1 < word.size()) attached = word.substr(word[i + 1] == '=' ? i + 2 : i + 1);
      const std::optional<std::string> value = rest.Value(attached);
      if (!value) {
        errors.push_back(name + " needs a value");
      } else {
        set(*bound, *value, name);
      }
      break;
    }
  }

  std::set<std::string> known;
  for (const BoundOption& bound : options_) {
    if (!bound.option.env) continue;
    const std::string name = bound.EnvName();
    known.insert(name);
    const auto found = environment.find(name);
    if (found == environment.end() || given.contains(bound.option.name)) continue;
    if (!bound.repeatable) {
      set(bound, found->second, name);
      continue;
    }
    for (const std::string_view part : Split(found->second, ',')) {
      if (!part.empty()) set(bound, part, name);
    }
  }
  if (!known.empty()) {
    std::map<std::string, std::string> ignored_names;
    for (const auto& [name, takes_value] : ignored_) {
      Option option{.name = name, .doc = ""};
      ignored_names[BoundOption{.option = option}.EnvName()] = name;
    }
    for (const auto& [name, value] : environment) {
      if (!name.starts_with("CONCOURSE_") || known.contains(name)) continue;
      warnings.push_back(name + (ignored_names.contains(name)
                                     ? " has no meaning here and is ignored"
                                     : " is not a known variable and is ignored"));
    }
  }
  for (const BoundOption& bound : options_) {
    if (bound.option.required && !given.contains(bound.option.name)) {
      errors.push_back("--" + std::string(bound.option.name) + " is required");
    }
  }
  if (errors.empty()) return {};
  return Fail(ErrorKind::kInvalid, Join(errors, "\n"));
}

std::string Options::Help() const {
  std::string help;
  const auto line = [&](std::string left, std::string_view doc) {
    constexpr std::size_t kColumn = 36;
    left.resize(std::max(left.size() + 2, kColumn), ' ');
    help += left + std::string(doc) + "\n";
  };
  if (!positional_name_.empty()) line("  " + positional_name_, positional_doc_);
  for (const BoundOption& bound : options_) {
    if (bound.option.hidden) continue;
    std::string left = "  ";
    left += bound.option.short_name ? std::string("-") + bound.option.short_name + ", " : "    ";
    left += "--" + std::string(bound.option.name);
    if (bound.takes_value()) {
      left += "=" + std::string(bound.option.value_name.empty() ? std::string_view(bound.type)
                                                                : bound.option.value_name);
    }
    std::string doc(bound.option.doc);
    if (!bound.fallback.empty() && !bound.option.secret) doc += " (default " + bound.fallback + ")";
    if (bound.option.env) doc += " [$" + bound.EnvName() + "]";
    line(left, doc);
  }
  return help;
}

std::map<std::string, std::string> ReadEnvironment() {
  std::map<std::string, std::string> environment;
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry;
    const std::size_t equals = text.find('=');
    if (equals != std::string_view::npos) {
      environment.emplace(text.substr(0, equals), text.substr(equals + 1));
    }
  }
  return environment;
}

}  // namespace pinion
