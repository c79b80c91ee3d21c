#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "vars/variables.h"

/// ((vars)) inside texts. What does not look like a var stays as it is.
namespace pinion::vars {

/// The texts between parentheses, in order, as often as they appear.
std::vector<std::string> NamesIn(std::string_view text);

/// All references of a value, in keys too, each once, in the order of their first appearance.
/// kInvalid for one that cannot be read.
Result<std::vector<Reference>> References(const Json& value);

/// Replaces the vars of a text. A text that is nothing but one var becomes its value, of whatever
/// type; inside longer text only texts and numbers fit (kInvalid for others). Vars that `variables`
/// does not know stay, and their names are added to `missing`.
Result<Json> InterpolateText(const std::string& text, const Variables& variables,
                             std::set<std::string>& missing);

/// The same for every text of a value and every key of its objects; vars that are missing stay.
Result<Json> Interpolate(const Json& value, const Variables& variables);
/// The same, but every var must be known: kInvalid "undefined vars: a, b".
Result<Json> InterpolateAll(const Json& value, const Variables& variables);

/// The error for vars that had to be known.
Error UndefinedVars(const std::set<std::string>& missing);

}  // namespace pinion::vars
