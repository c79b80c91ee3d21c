#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"
#include "base/units.h"

namespace pinion {

/// What is said once about an option of a command: flag, environment variable, help, documentation
/// and validation follow from it and from the variable that it fills.
struct Option {
  std::string_view name;  ///< long flag without dashes; the variable is CONCOURSE_NAME if `env`
  std::string_view doc;   ///< one line, for --help and the reference
  char short_name = 0;    ///< 0: none
  std::string_view value_name = "";  ///< shown in help; empty: by type
  bool secret = false;               ///< its value is never printed
  bool required = false;
  bool env = false;     ///< also read from CONCOURSE_… (upstream's names)
  bool hidden = false;  ///< left out of --help
};

/// An option with the type-erased variable behind it.
struct BoundOption {
  Option option;
  std::string
      type;  ///< "text", "number", "duration", "size", "list" or "" for flags without a value
  std::string fallback;  ///< the default as text; empty for none
  bool repeatable = false;
  std::function<Result<void>(std::string_view)> set;

  bool takes_value() const { return !type.empty(); }
  std::string EnvName() const;
};

/// Collects the options of a command. Variables must outlive Parse().
class Options {
 public:
  void Add(const Option& option, std::string& value);
  void Add(const Option& option, std::optional<std::string>& value);
  void Add(const Option& option, int& value);
  void Add(const Option& option, std::optional<int>& value);
  void Add(const Option& option, bool& value);
  void Add(const Option& option, Duration& value);
  void Add(const Option& option, ByteSize& value);
  void Add(const Option& option, std::vector<std::string>& values);
  /// Words that are no options, in order. `name` as shown in the usage line.
  void AddPositional(std::string_view name, std::string_view doc, std::vector<std::string>& values);
  bool TakesPositional() const { return positional_ != nullptr; }

  /// Names of another program's options that are accepted for compatibility but have no meaning
  /// here: using one adds a warning. `takes_value` by name.
  void Ignore(std::map<std::string, bool> takes_value) { ignored_ = std::move(takes_value); }

  const std::vector<BoundOption>& all() const { return options_; }

  /// Reads the environment (where options ask for it), then the words; words win. As upstream's
  /// parser:
  /// --name=value, --name value, -nvalue, -n value, grouped short flags, `--` ends options. Lists
  /// are repeated as words and split at commas in the environment. Every error at once, kInvalid;
  /// an unknown option with the nearest name. Warnings name what was ignored.
  Result<void> Parse(const std::vector<std::string>& words,
                     const std::map<std::string, std::string>& environment,
                     std::vector<std::string>& warnings);

  /// The list of options for --help.
  std::string Help() const;

 private:
  void Bind(const Option& option, std::string type, std::string fallback, bool repeatable,
            std::function<Result<void>(std::string_view)> set);
  const BoundOption* Find(std::string_view name) const;
  std::string Unknown(std::string_view name) const;

  std::vector<BoundOption> options_;
  std::map<std::string, bool> ignored_;
  std::vector<std::string>* positional_ = nullptr;
  std::string positional_name_;
  std::string positional_doc_;
};

/// The process's environment as a map.
std::map<std::string, std::string> ReadEnvironment();

}  // namespace pinion
