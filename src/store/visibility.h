#pragma once

#include <string>
#include <vector>

#include "base/ids.h"
#include "store/database.h"

namespace pinion::store {

/// Whose things a list shows: all, or those of some teams and (of everybody) what is public.
struct Visibility {
  bool all = false;
  std::vector<TeamId> teams;
  bool public_too = true;
};

/// The ids as a JSON array: one parameter for a list of any length.
std::string IdArrayText(const std::vector<TeamId>& ids);

/// A condition on tables t (teams) and p (pipelines); $1 is the array text, $2 all, $3 public_too.
std::string_view VisibilityCondition(const Transaction& transaction);

}  // namespace pinion::store
