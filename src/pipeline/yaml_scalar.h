#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

/// How YAML 1.1 scalars are read and must be written so that they read back the same.
namespace pinion::pipeline {

/// The value of a scalar. `tag` is the long form or empty; `plain` says that it was written without
/// quotes or asks to be resolved. kInvalid if it does not fit its tag.
Result<Json> ResolveScalar(std::string_view tag, std::string_view text, bool plain);

/// True if the text, written without quotes, would not be read as that text.
bool NeedsQuotes(std::string_view text);

/// Letters and digits as Go's unicode package has them, for the order of keys.
bool IsLetter(char32_t code);
/// The code points of UTF-8 text; a broken byte stands for itself.
std::u32string CodePoints(std::string_view text);

}  // namespace pinion::pipeline
