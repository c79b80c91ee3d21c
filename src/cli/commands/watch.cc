#include <ostream>

#include "base/options.h"
#include "cli/commands/build_lookup.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"

namespace pinion::cli {
namespace {

std::int64_t BuildOfUrl(Target& target, const std::string& url) {
  const PageUrl page = ParsePageUrl(url);
  if (page.origin != target.api->url()) {
    throw CommandError("URL doesn't match target (" + url + ", " + target.api->url() + ")");
  }
  const std::string team = page.Part("teams");
  if (!team.empty() && team != target.team) {
    throw CommandError(
        "Team in URL doesn't match the provided team name or current team of the target  (" + url +
        ", " + target.team + ")");
  }
  if (!page.Part("pipelines").empty() && !page.Part("jobs").empty()) {
    const PartRef job{{page.Part("pipelines"), InstanceVarsFromQuery(page.query)},
                      page.Part("jobs")};
    return FindBuild(target, job, page.Part("builds")).IntegerAt("id");
  }
  if (!page.Part("builds").empty()) return ParseNumber(page.Part("builds"), "build id");
  throw CommandError("No build found in " + url);
}

}  // namespace

int Watch(Context& context, const Command& command, const Words& words) {
  std::string job_text, build, url, team;
  RenderOptions render;
  Options options;
  AddJob(options, job_text, "The job whose build is shown");
  options.Add(
      {.name = "build", .doc = "Number of the job's build, or id of a build", .short_name = 'b'},
      build);
  options.Add({.name = "url", .doc = "URL of the build's or job's page", .short_name = 'u'}, url);
  options.Add({.name = "timestamps", .doc = "Begin lines with the local time", .short_name = 't'},
              render.timestamps);
  options.Add(
      {.name = "ignore-event-parsing-errors", .doc = "Skip events that this client does not know"},
      render.ignore_unknown);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  std::optional<PartRef> job;
  if (!job_text.empty()) job = ParsePartRef(job_text, "job");
  Target target = OpenTarget(context, team);
  std::int64_t id = 0;
  if (job || (build.empty() && url.empty())) {
    id = FindBuild(target, job, build).IntegerAt("id");
  } else {
    id = build.empty() ? BuildOfUrl(target, url) : ParseNumber(build, "build id");
  }
  return WatchBuild(context, target, id, render);
}

int AbortBuild(Context& context, const Command& command, const Words& words) {
  std::string job_text, build, team;
  bool force = false;
  Options options;
  AddJob(options, job_text, "The job whose build is aborted");
  options.Add({.name = "build",
               .doc = "Number of the job's build, or id of a build",
               .short_name = 'b',
               .required = true},
              build);
  AddTeam(options, team);
  options.Add({.name = "force", .doc = "Do not wait for the build's steps"}, force);
  ParseWords(context, command, options, words);
  std::optional<PartRef> job;
  if (!job_text.empty()) job = ParsePartRef(job_text, "job");
  Target target = OpenTarget(context, team);
  Json found;
  try {
    found = target.api->AskJson(job ? JobCall(target, *job, "GET", "/builds/:build", {build})
                                    : Call{.path = Path("/api/v1/builds/:id", {build})});
  } catch (const NotFoundAnswer&) {
    throw CommandError("build does not exist");
  }
  Call call{.method = "PUT",
            .path = Path("/api/v1/builds/:id/abort", {std::to_string(found.IntegerAt("id"))})};
  if (force) call.query.emplace_back("force", "");
  target.api->Ask(call);
  context.out << (force ? "build forcefully aborted" : "build successfully aborted") << '\n';
  return 0;
}

int RerunBuild(Context& context, const Command& command, const Words& words) {
  std::string job_text, build;
  bool watch = false;
  Options options;
  AddJob(options, job_text, "The job", true);
  options.Add({.name = "build", .doc = "Number of the build", .short_name = 'b', .required = true},
              build);
  options.Add({.name = "watch", .doc = "Show the new build's output", .short_name = 'w'}, watch);
  ParseWords(context, command, options, words);
  const PartRef job = ParsePartRef(job_text, "job");
  Target target = OpenTarget(context);
  const Json started = target.api->AskJson(JobCall(target, job, "POST", "/builds/:build", {build}));
  context.out << "started " << job.Text() << " #" << started.StringAt("name") << '\n';
  return watch ? WatchDetachable(context, target, job, started) : 0;
}

}  // namespace pinion::cli
