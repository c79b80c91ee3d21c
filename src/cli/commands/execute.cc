#include <sys/stat.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "base/text.h"
#include "cli/artifacts.h"
#include "cli/commands/build_lookup.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/interrupts.h"
#include "cli/template_options.h"
#include "pipeline/planner.h"
#include "pipeline/reader.h"
#include "protocol/plan.h"

namespace pinion::cli {
namespace {

using protocol::Plan;
using protocol::TaskConfig;

struct ExecuteOptions {
  bool background = false, privileged = false, include_ignored = false;
  std::vector<std::string> inputs, mappings, outputs, tags, arguments;
  std::string inputs_from, image, team;
  TemplateOptions config;

  void AddTo(Options& options) {
    options.Add({.name = "background", .doc = "Neither watch nor fetch outputs", .short_name = 'b'},
                background);
    config.AddTo(options, "Task file; - is the standard input");
    options.Add({.name = "privileged", .doc = "Run the task with full rights", .short_name = 'p'},
                privileged);
    options.Add({.name = "include-ignored", .doc = "Upload what git ignores too"}, include_ignored);
    options.Add({.name = "input",
                 .doc = "Folder to upload as an input",
                 .short_name = 'i',
                 .value_name = "NAME=PATH"},
                inputs);
    options.Add({.name = "input-mapping",
                 .doc = "Input of the job to use as an input of the task",
                 .short_name = 'm',
                 .value_name = "NAME=NAME"},
                mappings);
    options.Add({.name = "inputs-from",
                 .doc = "Job whose inputs are used",
                 .short_name = 'j',
                 .value_name = "PIPELINE/JOB"},
                inputs_from);
    options.Add({.name = "output",
                 .doc = "Folder to fetch an output into",
                 .short_name = 'o',
                 .value_name = "NAME=PATH"},
                outputs);
    options.Add({.name = "image", .doc = "Input of the job of --inputs-from that is the image"},
                image);
    options.Add({.name = "tag", .doc = "Tag that the worker must have; may be repeated"}, tags);
    AddTeam(options, team);
    options.AddPositional("ARGUMENTS", "further arguments of the task's command", arguments);
  }
};

TaskConfig LoadConfig(const Context& context, const ExecuteOptions& given) {
  const std::string yaml = given.config.Evaluate({}, pipeline::kServerRules);
  auto config = pipeline::LoadTaskConfig(yaml);
  if (!config) throw CommandError(config.error().message);
  config->run.args.insert(config->run.args.end(), given.arguments.begin(), given.arguments.end());
  for (auto& [name, value] : config->params) {
    const auto found = context.environment.find(name);
    if (found != context.environment.end()) value = found->second;
  }
  return std::move(*config);
}

/// Folders of this machine by the input they become.
using LocalInputs = std::vector<std::pair<std::string, std::string>>;

LocalInputs FindLocalInputs(const ExecuteOptions& given, const TaskConfig& config) {
  const auto is_input = [&config](const std::string& name) {
    return std::ranges::any_of(config.inputs,
                               [&](const auto& input) { return input.name == name; });
  };
  LocalInputs inputs;
  for (const std::string& pair : given.inputs) {
    auto [name, path] = ParsePair(pair, "input", "path");
    if (!is_input(name)) throw CommandError("unknown input `" + name + "`");
    path = ExpandPath(path);
    if (std::filesystem::is_regular_file(path)) throw CommandError(path + " not a folder");
    inputs.emplace_back(name, path);
  }
  if (!given.inputs_from.empty()) return inputs;
  // The folder that we stand in is the input of its name.
  const std::string here = std::filesystem::current_path().filename().string();
  const bool provided =
      std::ranges::any_of(inputs, [&](const auto& input) { return input.first == here; });
  if (is_input(here) && !provided) inputs.emplace_back(here, ".");
  return inputs;
}

struct JobInputs {
  std::map<std::string, Plan> gets;
  std::vector<protocol::ResourceType> types;
  std::optional<protocol::ImageResource> image;
};

/// What the job of --inputs-from would get.
JobInputs FetchJobInputs(Target& target, const ExecuteOptions& given, pipeline::PlanIds& ids) {
  JobInputs result;
  if (given.inputs_from.empty()) return result;
  const PartRef job = ParsePartRef(given.inputs_from, "job");
  Json inputs, types;
  try {
    inputs = target.api->AskJson(JobCall(target, job, "GET", "/inputs"));
  } catch (const NotFoundAnswer&) {
    throw CommandError("build inputs for " + job.Text() + " not found");
  }
  try {
    types = target.api->AskJson({.path = target.PipelinePath(job.pipeline, "/resource-types"),
                                 .query = job.pipeline.Query()});
  } catch (const NotFoundAnswer&) {
    throw CommandError("resource types of " + job.pipeline.Text() + " not found");
  }
  for (const Json& type : types.IsArray() ? types.AsArray() : JsonArray())
    result.types.push_back(ValueOrThrow(FromJson<protocol::ResourceType>(type)));
  for (const Json& input : inputs.IsArray() ? inputs.AsArray() : JsonArray()) {
    // An input of a job has the members of a get.
    auto get = ValueOrThrow(FromJson<protocol::GetPlan>(input));
    get.resource.clear();
    if (!get.version) get.version.emplace();
    Plan plan;
    plan.id = ids.Next();
    get.image = pipeline::ImageForType(plan.id, get.type, get.tags, false, result.types);
    if (get.name == given.image) {
      result.image = protocol::ImageResource{
          .type = get.type, .source = get.source, .version = get.version, .params = get.params};
    }
    const std::string name = get.name;
    plan.get = std::move(get);
    result.gets.insert_or_assign(name, std::move(plan));
  }
  if (!given.image.empty() && !result.image) {
    throw CommandError("image resource " + given.image + " not found");
  }
  return result;
}

struct Output {
  std::string name;
  std::string path;
};

std::vector<Output> FindOutputs(const ExecuteOptions& given, const TaskConfig& config) {
  std::vector<Output> outputs;
  for (const std::string& pair : given.outputs) {
    const auto [name, path] = ParsePair(pair, "output", "path");
    const bool known = std::ranges::any_of(
        config.outputs, [&name](const auto& output) { return output.name == name; });
    if (!known) throw CommandError("unknown output '" + name + "'");
    outputs.push_back({name, path});
  }
  return outputs;
}

/// Uploads the local inputs; then one plan for each input of the task.
std::vector<Plan> InputPlans(Context& context, Target& target, const ExecuteOptions& given,
                             const TaskConfig& config, const JobInputs& from_job,
                             const std::map<std::string, std::string>& mapping,
                             pipeline::PlanIds& ids) {
  std::map<std::string, Plan> local;
  for (const auto& [name, path] : FindLocalInputs(given, config)) {
    Plan plan;
    plan.id = ids.Next();
    plan.artifact_input =
        protocol::ArtifactInputPlan{.artifact_id = UploadFolder(context, target,
                                                                {.name = name,
                                                                 .folder = path,
                                                                 .all = given.include_ignored,
                                                                 .platform = config.platform,
                                                                 .tags = given.tags}),
                                    .name = name};
    local.insert_or_assign(name, std::move(plan));
  }
  std::vector<Plan> plans;
  for (const auto& input : config.inputs) {
    if (const auto found = local.find(input.name); found != local.end()) {
      plans.push_back(found->second);
      continue;
    }
    const auto mapped = mapping.find(input.name);
    const auto found = from_job.gets.find(mapped == mapping.end() ? input.name : mapped->second);
    if (found != from_job.gets.end()) {
      plans.push_back(found->second);
    } else if (!input.optional) {
      throw CommandError("missing required input `" + input.name + "`");
    }
  }
  return plans;
}

Plan InParallel(std::vector<Plan> steps, pipeline::PlanIds& ids) {
  Plan plan;
  plan.id = ids.Next();
  plan.in_parallel.emplace();
  plan.in_parallel->steps = std::move(steps);
  return plan;
}

Plan MakePlan(Context& context, Target& target, const ExecuteOptions& given, TaskConfig config,
              const std::vector<Output>& outputs) {
  pipeline::PlanIds ids(context.clock.UnixSeconds());
  const JobInputs from_job = FetchJobInputs(target, given, ids);
  if (from_job.image) config.image_resource = from_job.image;
  protocol::TaskPlan task;
  task.name = "one-off";
  task.privileged = given.privileged;
  task.tags = given.tags;
  task.resource_types = from_job.types;
  for (const std::string& pair : given.mappings) {
    const auto [name, value] = ParsePair(pair, "input mapping", "value");
    task.input_mapping[name] = value;
  }
  std::vector<Plan> inputs =
      InputPlans(context, target, given, config, from_job, task.input_mapping, ids);
  task.config = std::move(config);
  Plan run;
  run.id = ids.Next();
  run.task = std::move(task);
  Plan both;
  both.do_steps.emplace();
  both.do_steps->push_back(InParallel(std::move(inputs), ids));
  both.do_steps->push_back(std::move(run));
  both.id = ids.Next();
  if (outputs.empty()) return both;

  std::vector<Plan> fetches;
  for (const Output& output : outputs) {
    Plan fetch;
    fetch.id = ids.Next();
    fetch.artifact_output = protocol::ArtifactOutputPlan{.name = output.name};
    fetches.push_back(std::move(fetch));
  }
  Plan plan;
  plan.ensure.emplace();
  plan.ensure->step = std::move(both);
  plan.ensure->next = InParallel(std::move(fetches), ids);
  plan.id = ids.Next();
  return plan;
}

/// Watches the build; the first interrupt aborts it, the second gives up.
class AbortableWatch {
 public:
  AbortableWatch(Context& context, Target& target, std::int64_t build)
      : context_(context), target_(target), build_(build) {}

  int Run() {
    const Interrupts interrupts(target_.api->loop(), {SIGINT, SIGTERM},
                                [this](int) { OnInterrupt(); });
    try {
      return WatchBuild(context_, target_, build_, {}, stop_.get_token());
    } catch (const Cancelled&) {
      throw Exit{2};
    }
  }

 private:
  void OnInterrupt() {
    if (aborting_) {
      context_.err << "exiting immediately\n";
      stop_.request_stop();
      return;
    }
    aborting_ = true;
    context_.err << "\naborting...\n" << std::flush;
    // It may go on after the watch, while the loop fetches outputs: this object lives that long.
    SpawnDetached(target_.api->loop().executor(), Abort());
  }

  Task<void> Abort() {
    try {
      const http::Response answer = co_await target_.api->client().Send(
          target_.api->MakeRequest(
              {.method = "PUT",
               .path = Path("/api/v1/builds/:id/abort", {std::to_string(build_)})}),
          stop_.get_token());
      Api::Check(answer);
      co_return;
    } catch (const Cancelled&) {
      co_return;
    } catch (const std::exception& error) {
      context_.err << "failed to abort: " << error.what() << '\n';
    }
    stop_.request_stop();
  }

  Context& context_;
  Target& target_;
  std::int64_t build_;
  std::stop_source stop_;
  bool aborting_ = false;
};

void FetchOutputs(Context& context, Target& target, std::int64_t build,
                  const std::vector<Output>& outputs) {
  const Json artifacts =
      target.api->AskJson({.path = Path("/api/v1/builds/:id/artifacts", {std::to_string(build)})});
  for (const Output& output : outputs) {
    for (const Json& artifact : artifacts.IsArray() ? artifacts.AsArray() : JsonArray()) {
      if (artifact.StringAt("name") != output.name) continue;
      DownloadArtifact(
          context, target,
          {.name = output.name, .artifact = artifact.IntegerAt("id"), .folder = output.path});
    }
  }
}

}  // namespace

int Execute(Context& context, const Command& command, const Words& words) {
  ExecuteOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context, given.team);
  if (!given.image.empty() && given.inputs_from.empty()) {
    throw CommandError("--image names an input of a job: --inputs-from must name the job");
  }
  TaskConfig config = LoadConfig(context, given);
  const std::vector<Output> outputs = FindOutputs(given, config);
  if (!outputs.empty() && given.background) {
    throw CommandError("background execution cannot withstand outputs");
  }
  const Plan plan = MakePlan(context, target, given, std::move(config), outputs);
  Call call{.method = "POST", .path = target.TeamPath("/builds")};
  if (!given.inputs_from.empty()) {
    const PartRef job = ParsePartRef(given.inputs_from, "job");
    call.path = target.PipelinePath(job.pipeline, "/builds");
    call.query = job.pipeline.Query();
  }
  call.body = ToText(pinion::ToJson(plan));
  const std::int64_t build = target.api->AskJson(call).IntegerAt("id");
  context.out << "executing build " << build << " at " << target.api->url() << "/builds/" << build
              << '\n'
              << std::flush;
  if (given.background) return 0;
  AbortableWatch watch(context, target, build);
  const int status = watch.Run();
  FetchOutputs(context, target, build, outputs);
  return status;
}

}  // namespace pinion::cli
