#pragma once

#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include "async/task.h"
#include "base/clock.h"
#include "base/ids.h"
#include "base/json.h"
#include "protocol/plan.h"

/// What the checker needs of others, given to it at its making.
namespace pinion::checking {

/// Whose secrets fill a source's ((vars)).
struct SourceOwner {
  TeamId team;
  std::string team_name;
  PipelineId pipeline;
  std::string pipeline_name;
  std::string instance_vars;  ///< JSON, "" for none
};

class SourceFiller {
 public:
  virtual ~SourceFiller() = default;
  /// The value with its ((vars)) filled in. A Failure names those that are undefined, or why the
  /// credential manager does not answer.
  virtual Task<Json> FillIn(SourceOwner owner, Json value, std::stop_token stop) = 0;
};

/// Where a check goes on from.
struct CheckStart {
  std::optional<protocol::Version> version;  ///< nothing: from scratch
  /// The content of the custom type's image that found it ("" for base types): with another one the
  /// check is made from scratch. Nothing: whatever the image.
  std::optional<std::string> image;
};

/// One check to run. It is no build: it has no row and no log.
struct CheckRequest {
  SourceOwner owner;
  ResourceId resource;
  std::string resource_name;
  ScopeId scope;
  /// A check, with the checks and gets of its type's images. Sources are not filled in.
  protocol::Plan plan;
  CheckStart from;
};

struct CheckResult {
  std::vector<protocol::Version> versions;  ///< oldest first
  std::string image;                        ///< as in CheckStart: what it was made with
  bool from_scratch = false;                ///< as the image was another one
};

class CheckRunner {
 public:
  virtual ~CheckRunner() = default;
  /// Runs the check in a container. Saves nothing: that is the checker's part. A Failure is a check
  /// that failed, its message what users read; Cancelled once `stop` is requested.
  virtual Task<CheckResult> RunCheck(CheckRequest request, std::stop_token stop) = 0;
};

}  // namespace pinion::checking
