#include <algorithm>
#include <ostream>
#include <set>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/prompt.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/warnings.h"
#include "pipeline/instance_vars.h"

namespace pinion::cli {
namespace {

JsonArray ListPipelines(Target& target) {
  const Json pipelines = target.api->AskJson({.path = target.TeamPath("/pipelines")});
  return pipelines.IsArray() ? pipelines.AsArray() : JsonArray();
}

/// Does something to pipelines whose answer is only found or not: "pause" is done at ".../pause"
/// and reported as "paused".
void Act(Context& context, Target& target, const std::vector<PipelineRef>& refs,
         std::string_view action, std::string_view done) {
  for (const PipelineRef& ref : refs) {
    const Call call{.method = "PUT",
                    .path = target.PipelinePath(ref, "/" + std::string(action)),
                    .query = ref.Query()};
    if (!target.api->Found(call)) {
      throw PlainError("pipeline '" + ref.Text() + "' not found\n");
    }
    context.out << done << " '" << ref.Text() << "'\n" << std::flush;
  }
}

int ActOnOne(Context& context, const Command& command, const Words& words, std::string_view action,
             std::string_view done) {
  std::string pipeline, team;
  Options options;
  AddPipeline(options, pipeline);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(pipeline);
  Target target = OpenTarget(context, team);
  Act(context, target, {ref}, action, done);
  return 0;
}

/// --pipeline or --all, exactly one of them.
struct OneOrAll {
  std::optional<std::string> pipeline;
  bool all = false;
  std::string team;

  void AddTo(Options& options) {
    options.Add({.name = "pipeline",
                 .doc = "The pipeline: NAME, or NAME/KEY:VALUE,... for an instance",
                 .short_name = 'p'},
                pipeline);
    options.Add({.name = "all", .doc = "Every pipeline of the team", .short_name = 'a'}, all);
    AddTeam(options, team);
  }
  void Check() const {
    if (!pipeline && !all) {
      throw PlainError("one of the flags '-p, --pipeline' or '-a, --all' is required");
    }
    if (pipeline && all) {
      throw PlainError("only one of the flags '-p, --pipeline' or '-a, --all' is allowed");
    }
  }
  std::vector<PipelineRef> Refs(Target& target, bool skip_archived) const {
    if (pipeline) return {ParsePipelineRef(*pipeline)};
    std::vector<PipelineRef> refs;
    for (const Json& found : ListPipelines(target)) {
      if (skip_archived && found.BoolAt("archived")) continue;
      refs.push_back(RefOf(found));
    }
    return refs;
  }
};

int ActOnOneOrAll(Context& context, const Command& command, const Words& words,
                  std::string_view action, std::string_view done) {
  OneOrAll given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  given.Check();
  Target target = OpenTarget(context, given.team);
  Act(context, target, given.Refs(target, false), action, done);
  return 0;
}

bool ConfirmArchive(Context& context, const std::vector<PipelineRef>& refs) {
  std::string prompt = "archive pipeline '" + refs.front().Text() + "'?";
  if (refs.size() > 1) {
    prompt = "archive " + std::to_string(refs.size()) + " pipelines?";
    Table table{{"pipelines"}, {}};
    for (const PipelineRef& ref : refs)
      table.rows.push_back({ref.Text()});
    table.Print(context, true);
    context.out << '\n';
  }
  context.out << "!!! archiving the pipeline will remove its configuration. Build history will be "
                 "retained.\n\n";
  return Confirm(context, prompt);
}

void RefuseSlash(const std::string& name, std::string_view what) {
  if (name.find('/') == std::string::npos) return;
  throw CommandError(std::string(what) + " cannot contain '/'");
}

/// Sends the new order; says what the server has against it.
void SendOrder(Target& target, const std::string& path, Json order, std::string_view what) {
  Call call{.method = "PUT", .path = path, .body = ToText(order)};
  const http::Response answer = target.api->Send(call);
  if (answer.status == 200) return;
  std::string why = answer.body;
  if (answer.status == 401) throw NotAuthorized();
  if (answer.status == 403) {
    why = "you do not have a role on team '" + target.team + "'";
  } else if (answer.status != 400) {
    why = UnexpectedAnswer(answer.status, StatusText(answer.status), answer.body).what();
  }
  throw PlainError("failed to order " + std::string(what) + ": " + why);
}

}  // namespace

int PausePipeline(Context& context, const Command& command, const Words& words) {
  return ActOnOneOrAll(context, command, words, "pause", "paused");
}

int UnpausePipeline(Context& context, const Command& command, const Words& words) {
  return ActOnOneOrAll(context, command, words, "unpause", "unpaused");
}

int ExposePipeline(Context& context, const Command& command, const Words& words) {
  return ActOnOne(context, command, words, "expose", "exposed");
}

int HidePipeline(Context& context, const Command& command, const Words& words) {
  return ActOnOne(context, command, words, "hide", "hid");
}

int ArchivePipeline(Context& context, const Command& command, const Words& words) {
  OneOrAll given;
  bool non_interactive = false;
  Options options;
  given.AddTo(options);
  AddNonInteractive(options, non_interactive);
  ParseWords(context, command, options, words);
  given.Check();
  Target target = OpenTarget(context, given.team);
  const std::vector<PipelineRef> refs = given.Refs(target, true);
  if (refs.empty()) {
    context.out << "there are no unarchived pipelines\nbailing out\n";
    return 0;
  }
  if (!non_interactive && !ConfirmArchive(context, refs)) {
    context.out << "bailing out\n";
    return 0;
  }
  Act(context, target, refs, "archive", "archived");
  return 0;
}

int DestroyPipeline(Context& context, const Command& command, const Words& words) {
  std::string pipeline, team;
  bool non_interactive = false;
  Options options;
  AddPipeline(options, pipeline);
  AddNonInteractive(options, non_interactive);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(pipeline);
  Target target = OpenTarget(context, team);
  Call call{.path = target.PipelinePath(ref), .query = ref.Query()};
  if (!target.api->Found(call)) {
    context.out << "`" << ref.Text() << "` does not exist\n";
    return 0;
  }
  context.out << "!!! this will remove all data for pipeline `" << ref.Text() << "`\n\n";
  if (!non_interactive && !Confirm(context, "are you sure?")) {
    context.out << "bailing out\n";
    return 0;
  }
  call.method = "DELETE";
  target.api->Found(call);  // gone meanwhile is as good
  context.out << "`" << ref.Text() << "` deleted\n";
  return 0;
}

int RenamePipeline(Context& context, const Command& command, const Words& words) {
  std::string old_name, new_name, team;
  Options options;
  options.Add({.name = "old-name", .doc = "Its name now", .short_name = 'o', .required = true},
              old_name);
  options.Add({.name = "new-name", .doc = "Its new name", .short_name = 'n', .required = true},
              new_name);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  RefuseSlash(old_name, "old pipeline name");
  RefuseSlash(new_name, "new pipeline name");
  Target target = OpenTarget(context, team);
  Call call{.method = "PUT", .path = target.PipelinePath({old_name, {}}, "/rename")};
  call.body = ToText(JsonObject{{"name", new_name}});
  try {
    ShowWarnings(context, WarningsOf(target.api->AskJson(call)));
  } catch (const NotFoundAnswer&) {
    throw PlainError("pipeline '" + old_name + "' not found\n");
  }
  context.out << "pipeline successfully renamed to '" << new_name << "'\n";
  return 0;
}

int OrderPipelines(Context& context, const Command& command, const Words& words) {
  bool alphabetical = false;
  std::vector<std::string> names;
  std::string team;
  Options options;
  options.Add({.name = "alphabetical", .doc = "Order all pipelines by name", .short_name = 'a'},
              alphabetical);
  options.Add({.name = "pipeline",
               .doc = "Name of a pipeline; repeat it in the wanted order",
               .short_name = 'p'},
              names);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  if (!alphabetical && names.empty()) {
    throw PlainError("error: either --pipeline or --alphabetical are required");
  }
  Target target = OpenTarget(context, team);
  if (alphabetical) {
    std::set<std::string> sorted;
    for (const Json& pipeline : ListPipelines(target))
      sorted.emplace(pipeline.StringAt("name"));
    names.assign(sorted.begin(), sorted.end());
  }
  JsonArray order;
  for (const std::string& name : names) {
    RefuseSlash(name, "pipeline name \"" + name + "\"");
    order.emplace_back(name);
  }
  SendOrder(target, target.TeamPath("/pipelines/ordering"), std::move(order), "pipelines");
  context.out << "ordered pipelines \n";
  for (const std::string& name : names)
    context.out << "  - " << name << " \n";
  return 0;
}

int OrderInstancedPipelines(Context& context, const Command& command, const Words& words) {
  std::string group, team;
  std::vector<std::string> instances;
  Options options;
  options.Add({.name = "group", .doc = "Name of the group", .short_name = 'g', .required = true},
              group);
  options.Add({.name = "pipeline",
               .doc = "Instance vars of a pipeline; repeat it in the wanted order",
               .short_name = 'p',
               .value_name = "KEY:VALUE,...",
               .required = true},
              instances);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  JsonArray order;
  for (const std::string& instance : instances)
    order.push_back(ParseInstanceVars(instance));
  Target target = OpenTarget(context, team);
  SendOrder(target, target.PipelinePath({group, {}}, "/ordering"), order, "instanced pipelines");
  context.out << "ordered instanced pipelines \n";
  for (const Json& vars : order)
    context.out << "  - " << pipeline::InstanceVarsText(vars) << " \n";
  return 0;
}

}  // namespace pinion::cli
