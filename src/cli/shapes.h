#pragma once

#include <string_view>

#include "base/json.h"
#include "cli/context.h"

namespace pinion::cli {

/// The objects that commands print with --json.
enum class Shape {
  kBuild,
  kComponent,
  kContainer,
  kHealth,
  kJob,
  kPipeline,
  kResource,
  kResourceVersion,
  kTeam,
  kUser,
  kUserInfo,
  kVolume,
  kWorker,
};

/// An answer in the shape that scripts expect: members in a fixed order, absent ones at their zero
/// values or left out, unknown ones dropped. Lists are shaped item by item.
Json Shaped(const Json& answer, Shape shape);

/// Prints it, indented, with a line feed.
void PrintJson(Context& context, const Json& answer, Shape shape);

}  // namespace pinion::cli
