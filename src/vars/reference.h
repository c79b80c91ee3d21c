#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace pinion::vars {

/// What stands between the parentheses of a ((var)): [SOURCE:]PATH[.FIELD…].
struct Reference {
  std::string source;  ///< name of a var source; "." for local vars; empty for the default
  std::string path;
  std::vector<std::string> fields;  ///< members to follow inside the value

  /// kInvalid for an empty segment or a quoted source. Segments with dots or colons are in quotes.
  static Result<Reference> Parse(std::string_view text);
  /// As Parse() reads it.
  std::string Text() const;
  Reference WithoutSource() const { return {"", path, fields}; }
  friend bool operator==(const Reference&, const Reference&) = default;
};

}  // namespace pinion::vars
