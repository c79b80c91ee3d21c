#include <ostream>

#include "base/options.h"
#include "cli/commands/build_lookup.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/prompt.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/time_text.h"

namespace pinion::cli {
namespace {

struct ListOptions {
  std::string pipeline, team;
  bool json = false;
  void AddTo(Options& options) {
    options.Add({.name = "pipeline",
                 .doc = "The pipeline: NAME or NAME/KEY:VALUE,…",
                 .short_name = 'p',
                 .required = true},
                pipeline);
    options.Add({.name = "json", .doc = "Print JSON"}, json);
    AddTeam(options, team);
  }
};

Json ListJobs(Target& target, const PipelineRef& ref) {
  const Json jobs =
      target.api->AskJson({.path = target.PipelinePath(ref, "/jobs"), .query = ref.Query()});
  return jobs.IsArray() ? jobs : Json(JsonArray());
}

Cell BuildCell(const Json& job, std::string_view member) {
  const Json* build = job.Find(member);
  if (!build || !build->IsObject()) return "n/a";
  return StatusCell(std::string(build->StringAt("status")));
}

/// Does something to the job that -j names, whose answer is only found or not.
struct JobAction {
  std::string method;
  std::string_view pattern;
  std::string_view done;
  bool takes_team = true;
};

int Act(Context& context, const Command& command, const Words& words, const JobAction& action) {
  std::string job_text, team;
  Options options;
  AddJob(options, job_text, "The job", true);
  if (action.takes_team) AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PartRef job = ParsePartRef(job_text, "job");
  Target target = OpenTarget(context, team);
  if (!target.api->Found(JobCall(target, job, action.method, action.pattern))) {
    throw CommandError(job.Text() + " not found" +
                       (action.takes_team ? " on team " + target.team : "") + "\n");
  }
  context.out << action.done << " '" << job.name << "'\n";
  return 0;
}

}  // namespace

int Jobs(Context& context, const Command& command, const Words& words) {
  ListOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(given.pipeline);
  Target target = OpenTarget(context, given.team);
  const Json jobs = ListJobs(target, ref);
  if (given.json) {
    PrintJson(context, jobs, Shape::kJob);
    return 0;
  }
  Table table{{"name", "paused", "status", "next"}, {}};
  for (const Json& job : jobs.AsArray()) {
    table.rows.push_back({std::string(job.StringAt("name")), YesNo(job.BoolAt("paused")),
                          BuildCell(job, "finished_build"), BuildCell(job, "next_build")});
  }
  table.Print(context);
  return 0;
}

int PausedJobs(Context& context, const Command& command, const Words& words) {
  ListOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(given.pipeline);
  Target target = OpenTarget(context, given.team);
  JsonArray paused;
  for (const Json& job : ListJobs(target, ref).AsArray()) {
    if (job.BoolAt("paused")) paused.push_back(job);
  }
  if (given.json) {
    PrintJson(context, paused, Shape::kJob);
    return 0;
  }
  Table table{{"name", "paused", "paused_by", "paused_at"}, {}};
  for (const Json& job : paused) {
    const std::int64_t at = job.IntegerAt("paused_at");
    table.rows.push_back({std::string(job.StringAt("name")), "yes",
                          OrNotAvailable(std::string(job.StringAt("paused_by"))),
                          at == 0 ? "n/a" : GoTime(at)});
  }
  table.Print(context);
  return 0;
}

int PauseJob(Context& context, const Command& command, const Words& words) {
  return Act(context, command, words, {"PUT", "/pause", "paused"});
}

int UnpauseJob(Context& context, const Command& command, const Words& words) {
  return Act(context, command, words, {"PUT", "/unpause", "unpaused"});
}

int ScheduleJob(Context& context, const Command& command, const Words& words) {
  return Act(context, command, words, {"PUT", "/schedule", "scheduled", false});
}

int TriggerJob(Context& context, const Command& command, const Words& words) {
  std::string job_text, team;
  bool watch = false;
  Options options;
  AddJob(options, job_text, "The job", true);
  options.Add({.name = "watch", .doc = "Show the build's output", .short_name = 'w'}, watch);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PartRef job = ParsePartRef(job_text, "job");
  Target target = OpenTarget(context, team);
  const Json build = target.api->AskJson(JobCall(target, job, "POST", "/builds"));
  context.out << "started " << job.Text() << " #" << build.StringAt("name") << '\n';
  return watch ? WatchDetachable(context, target, job, build) : 0;
}

int ClearTaskCache(Context& context, const Command& command, const Words& words) {
  std::string job_text, step, path, team;
  bool non_interactive = false;
  Options options;
  AddJob(options, job_text, "The job", true);
  options.Add({.name = "step", .doc = "Name of the task step", .short_name = 's', .required = true},
              step);
  options.Add({.name = "cache-path", .doc = "Only the cache of this path", .short_name = 'c'},
              path);
  options.Add({.name = "non-interactive", .doc = "Do not ask", .short_name = 'n'}, non_interactive);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PartRef job = ParsePartRef(job_text, "job");
  Target target = OpenTarget(context, team);
  context.out << "!!! this will remove the task cache(s) for `" << job.Text() << "`, task step `"
              << step << "`";
  if (!path.empty()) context.out << ", at `" << path << "`";
  context.out << "\n\n";
  if (!non_interactive && !Confirm(context, "are you sure?")) {
    context.out << "bailing out\n";
    return 0;
  }
  Call call = JobCall(target, job, "DELETE", "/tasks/:step/cache", {step});
  if (!path.empty()) call.query.emplace_back("cache_path", path);
  const Json answer = target.api->AskJson(call);
  context.out << answer.IntegerAt("caches_removed") << " caches removed\n";
  return 0;
}

}  // namespace pinion::cli
