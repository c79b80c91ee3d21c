#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/issue.h"
#include "pipeline/model.h"

/// The rules of the language that go beyond shapes: names, references, cycles, limits.
namespace pinion::pipeline {

/// What is allowed but likely wrong.
struct Warning {
  std::string type;  ///< "invalid_identifier", "deprecated_field", "pipeline" or "var_shadowed"
  std::string message;
  Position at;
};

/// All errors of one part, as clients print them.
struct ErrorGroup {
  std::string name;  ///< "groups", "resources", "jobs", …
  std::vector<Issue>
      issues;  ///< their `message` holds the path too; `path` is what `at` belongs to

  /// "invalid NAME:\n\tMESSAGE\n\tMESSAGE\n".
  std::string Text() const;
};

struct Validation {
  std::vector<Warning> warnings;
  std::vector<ErrorGroup> errors;

  bool ok() const { return errors.empty(); }
  /// The texts of all groups, as the server answers them.
  std::vector<std::string> ErrorTexts() const;
};

/// Holds a pipeline to all rules. With `sources`, issues and warnings know their place, and error
/// texts end with it.
Validation Validate(const Pipeline& pipeline, const SourceMap* sources = nullptr);

/// How a name fails to be an identifier. Empty names are errors, others are warnings; `path` is how
/// messages call the named thing ("pipeline", "team", "jobs.unit").
struct IdentifierProblem {
  bool is_error = false;
  std::string message;
};
std::optional<IdentifierProblem> CheckIdentifier(std::string_view name, std::string_view path);

/// What is wrong with a task config beyond its shape.
std::vector<std::string> ValidateTaskConfig(const protocol::TaskConfig& config);

/// What is wrong with the settings of a credential manager: an unknown type, settings that cannot
/// be read, settings that are not enough. Empty if nothing is.
std::vector<std::string> ValidateVarSource(const VarSource& source);

/// Var sources in the order in which they can be set up, each after those it refers to. kInvalid
/// naming those that need each other or one that is not there.
Result<std::vector<VarSource>> OrderVarSources(const std::vector<VarSource>& sources);

}  // namespace pinion::pipeline
