#pragma once

#include <memory>
#include <string>

#include "cli/api.h"
#include "cli/errors.h"

namespace pinion::cli {

/// A saved target and the connection to its server.
struct Target {
  std::string name;
  std::string team;  ///< that commands act on: the saved one, or the one of --team
  std::unique_ptr<Api> api;

  /// Path below /api/v1/teams/TEAM; ":name" segments are filled in.
  std::string TeamPath(std::string_view pattern, std::vector<std::string> parameters = {}) const;
  /// Path below a pipeline of the team.
  std::string PipelinePath(const PipelineRef& ref, std::string_view pattern = "",
                           std::vector<std::string> parameters = {}) const;

  Json Info();
  /// Acts on another team from now on, if `wanted` is not empty: it must exist.
  void UseTeam(const std::string& wanted);
  /// The team that UseTeam() found, as the server describes it.
  const Json& found_team() const { return found_team_; }

 private:
  Json info_;
  Json found_team_;
};

/// What is saved of the target of -t. NoTarget, or CommandError for unknown ones.
SavedTarget RequireTarget(const Context& context);
/// The target of -t. NoTarget, or CommandError for unknown ones. The server is not asked.
Target LoadTarget(Context& context, bool with_token = true);
/// As LoadTarget; then holds the server's version against this client's.
Target OpenTarget(Context& context);
/// As OpenTarget, acting on `team` unless it is empty.
Target OpenTarget(Context& context, const std::string& team);

Connection ConnectionOf(const SavedTarget& saved);

/// Throws VersionDiffers for other major or minor versions unless `only_warn`; warns of what is
/// left.
void CheckVersion(Context& context, Target& target, bool only_warn);

}  // namespace pinion::cli
