#pragma once

#include <vector>

#include "base/ids.h"

namespace pinion::checking {

/// Asks for checks before their time: a build waits for them, a webhook came in.
class CheckRequester {
 public:
  virtual ~CheckRequester() = default;
  /// Checks these resources soon, whatever their interval says; resources of one scope are checked
  /// once, and a check that runs already serves. Returns at once; on the loop.
  virtual void RequestChecks(const std::vector<ResourceId>& resources) = 0;
};

}  // namespace pinion::checking
