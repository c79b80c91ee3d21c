#pragma once

#include <map>
#include <string>

#include "cli/render_events.h"
#include "cli/target.h"

namespace pinion::cli {

/// The build that a user means: by number within a job, by id without one, and without either the
/// job's current build, or the newest build that belongs to no job. CommandError if there is none.
Json FindBuild(Target& target, const std::optional<PartRef>& job, const std::string& build);

/// A page of the server's user interface, taken apart: "teams", "pipelines", "jobs", "builds",
/// "resources" by what follows them in the path.
struct PageUrl {
  std::string origin;  ///< scheme and host
  std::map<std::string, std::string> parts;
  std::string query;
  std::string Part(const std::string& name) const;
};
PageUrl ParsePageUrl(const std::string& url);

/// Watches a build that goes on without its watcher: an interrupt prints how to come back, exit
/// status 2.
int WatchDetachable(Context& context, Target& target, const PartRef& job, const Json& build);

/// Path below the job, whose query is the pipeline's.
Call JobCall(const Target& target, const PartRef& job, std::string method, std::string_view pattern,
             std::vector<std::string> parameters = {});

/// A whole number from the command line.
std::int64_t ParseNumber(const std::string& text, std::string_view what);

}  // namespace pinion::cli
