#include <filesystem>

#include "base/encoding.h"
#include "base/text.h"
#include "engine/container.h"
#include "engine/output.h"
#include "engine/resource_caches.h"
#include "engine/steps.h"
#include "engine/volumes.h"
#include "pipeline/planner.h"
#include "pipeline/reader.h"
#include "protocol/events.h"
#include "store/volumes.h"
#include "vars/template.h"

namespace pinion::engine {
namespace {

// As upstream: a task writes to a terminal, so that programs show colours and do not hold lines
// back, wide enough that they do not wrap them.
constexpr protocol::garden::Tty kTerminal{
    .window_size = protocol::garden::WindowSize{.columns = 500, .rows = 500}, .verbatim = true};

std::string WorkingDirectory(const std::string& step_name) {
  // Stable over builds: caches are kept by path, and compilers write paths into what they make.
  return "/tmp/build/" + ToHex(Sha256(step_name)).substr(0, 8);
}

std::string Resolve(const std::string& dir, const std::string& path) {
  const std::filesystem::path resolved = std::filesystem::path(dir) / path;
  std::string text = resolved.lexically_normal().string();
  while (text.size() > 1 && text.ends_with('/'))
    text.pop_back();
  return text;
}

/// A task's config whose ((vars)) are filled in. A param is a text whatever its value was: a number
/// from a var, as well as one that was written down.
protocol::TaskConfig ReadFilled(Json filled) {
  const Json* params = filled.Find("params");
  if (params && params->IsObject()) {
    JsonObject texts;
    for (const auto& [name, value] : params->AsObject()) {
      if (value.IsString()) {
        texts.Set(name, value);
      } else {
        texts.Set(name, value.IsNull() ? std::string() : ToText(value));
      }
    }
    filled.AsObject().Set("params", std::move(texts));
  }
  return ValueOrThrow(FromJson<protocol::TaskConfig>(filled));
}

Task<protocol::TaskConfig> LoadConfig(LeafContext context) {
  const protocol::TaskPlan& plan = *context.plan.task;
  protocol::TaskConfig merged;
  if (!plan.config_path.empty()) {
    const std::string text = co_await ReadArtifactFile(context, plan.config_path);
    auto loaded = pipeline::LoadTaskConfig(text);
    if (!loaded) {
      throw Failure(std::move(loaded.error()).Context("task config '" + plan.config_path + "'"));
    }
    // The step's own vars first; what they leave open is for local vars and credential managers.
    const vars::StaticVariables step_vars(plan.vars);
    merged = ReadFilled(ValueOrThrow(vars::Interpolate(ToJson(*loaded), step_vars)));
  } else if (plan.config) {
    merged = *plan.config;
  } else {
    throw Failure(ErrorKind::kInvalid, "the task has neither a config nor a file");
  }
  if (plan.container_limits) {
    if (!merged.container_limits) merged.container_limits.emplace();
    if (plan.container_limits->cpu) merged.container_limits->cpu = plan.container_limits->cpu;
    if (plan.container_limits->memory) {
      merged.container_limits->memory = plan.container_limits->memory;
    }
  }
  for (const auto& [name, value] : plan.params) {
    if (!plan.config_path.empty() && !merged.params.contains(name)) {
      context.run.Say(context.plan.id, "[WARNING] param '" + name +
                                           "' was not defined in the task file; it is set all the "
                                           "same, but consider defining it there\n");
    }
    merged.params[name] = value;
  }
  co_return ReadFilled(co_await FillIn(context, ToJson(merged)));
}

Task<void> SetTaskImage(LeafContext context, const protocol::TaskConfig& config,
                        ContainerRequest& request) {
  const protocol::TaskPlan& plan = *context.plan.task;
  if (!plan.image.empty()) {
    const Artifact* artifact = context.scope.FindArtifact(plan.image);
    if (!artifact) {
      throw Failure(ErrorKind::kInvalid, "missing image artifact source: " + plan.image +
                                             "\n\nmake sure there's a corresponding 'get' step, or "
                                             "a task that produces it as an output");
    }
    request.artifact = *artifact;
  } else if (config.image_resource) {
    const pipeline::ImagePlans fetch =
        pipeline::FetchImagePlans(context.plan.id, *config.image_resource, plan.resource_types,
                                  plan.tags, plan.check_skip_interval);
    const protocol::Plan* check = fetch.check ? &*fetch.check : nullptr;
    request.artifact = co_await FetchImage(context, check, fetch.get);
  } else if (!config.rootfs_uri.empty()) {
    request.rootfs_uri = config.rootfs_uri;
  } else {
    throw Failure(ErrorKind::kInvalid,
                  "no image specified for the task: set `image` on the step or `image_resource` in "
                  "the task's config");
  }
}

void SetMounts(LeafContext context, const protocol::TaskConfig& config, ContainerRequest& request) {
  const protocol::TaskPlan& plan = *context.plan.task;
  std::vector<std::string> missing;
  for (const protocol::TaskInput& input : config.inputs) {
    const auto mapped = plan.input_mapping.find(input.name);
    const std::string& name = mapped == plan.input_mapping.end() ? input.name : mapped->second;
    const Artifact* artifact = context.scope.FindArtifact(name);
    if (artifact) {
      request.inputs.push_back(
          {.path = Resolve(request.dir, input.MountPath()), .artifact = *artifact});
    } else if (!input.optional) {
      missing.push_back(name);
    }
  }
  if (!missing.empty()) {
    throw Failure(ErrorKind::kInvalid, "missing inputs: " + Join(missing, ", "));
  }
  for (const protocol::TaskOutput& output : config.outputs) {
    request.outputs.push_back(Resolve(request.dir, output.MountPath()));
  }
  for (const protocol::TaskCache& cache : config.caches) {
    std::string key;
    // One-off builds have no later build to keep a cache for.
    if (context.run.build().job) {
      key = store::TaskCacheKey(context.run.build().job, plan.name, cache.path);
    }
    request.caches.push_back({.path = Resolve(request.dir, cache.path), .key = std::move(key)});
  }
}

/// What to run: the config's command, or the image's own.
Task<void> SetCommand(LeafContext context, const Container& container,
                      const std::optional<Artifact>& image, protocol::TaskConfig& config) {
  if (!config.run.path.empty()) co_return;
  ImageMetadata metadata;
  if (image) {
    metadata = co_await context.run.services().image_metadata.Get(*container.worker, image->volume,
                                                                  context.stop());
  }
  std::vector<std::string> command = metadata.entrypoint;
  command.insert(command.end(), metadata.cmd.begin(), metadata.cmd.end());
  if (command.empty()) {
    throw Failure(
        ErrorKind::kInvalid,
        "the task says nothing to run: set run.path in its config, or use an image with an "
        "ENTRYPOINT or CMD");
  }
  config.run.path = command.front();
  command.erase(command.begin());
  command.insert(command.end(), config.run.args.begin(), config.run.args.end());
  config.run.args = std::move(command);
}

/// What the task itself leaves open is the server's default.
protocol::ContainerLimits WithDefaults(protocol::ContainerLimits limits,
                                       const protocol::ContainerLimits& defaults) {
  if (!limits.cpu) limits.cpu = defaults.cpu;
  if (!limits.memory) limits.memory = defaults.memory;
  return limits;
}

/// The config without secrets, for the log.
protocol::TaskConfig ToShow(LeafContext context, const protocol::TaskConfig& config) {
  const std::vector<std::string> secrets = SecretTexts(context.run, context.scope);
  if (secrets.empty()) return config;
  return ValueOrThrow(FromJson<protocol::TaskConfig>(RedactAll(ToJson(config), secrets)));
}

}  // namespace

Task<Conclusion> RunTask(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::TaskPlan& plan = *context.plan.task;
  const std::string& id = context.plan.id;
  const protocol::Origin origin{.id = id};

  protocol::TaskConfig config = co_await LoadConfig(context);
  if (config.platform.empty()) {
    throw Failure(ErrorKind::kInvalid, "invalid task configuration: missing 'platform'");
  }
  run.EmitOnce(id, Stage::kInitialized,
               protocol::InitializeTaskEvent(origin, run.now(), ToShow(context, config)));

  ContainerRequest request{
      .plan_id = id,
      .step_name = plan.name,
      .type = "task",
      .attempts = context.plan.attempts,
      .privileged = plan.privileged,
      .platform = config.platform,
      .tags = plan.tags,
      .dir = WorkingDirectory(plan.name),
      .user = config.run.user,
      .hermetic = plan.hermetic,
      .limits = WithDefaults(config.container_limits.value_or(protocol::ContainerLimits()),
                             run.services().default_task_limits)};
  if (!run.services().external_url.empty()) {
    request.env.push_back("ATC_EXTERNAL_URL=" + run.services().external_url);
  }
  for (const auto& [name, value] : config.params)
    request.env.push_back(name + "=" + value);
  SetMounts(context, config, request);
  co_await SetTaskImage(context, config, request);

  Interruption limited(&context.interruption);
  const std::string dir = request.dir;
  const std::optional<Artifact> image = request.artifact;
  const Container container = co_await FindOrCreateContainer(run, request, context.stop());
  co_await SetCommand(context, container, image, config);
  SetTimeLimit(limited, run.timers(), plan.timeout);
  run.EmitOnce(id, Stage::kStarted,
               protocol::StartTaskEvent(origin, run.now(), ToShow(context, config)));

  protocol::garden::ProcessSpec spec{
      .id = "task",
      .path = config.run.path,
      .args = config.run.args,
      .dir = config.run.dir.empty() ? dir : Resolve(dir, config.run.dir),
      .user = config.run.user.empty() ? container.image_user : config.run.user,
      .tty = kTerminal};
  Conclusion conclusion;
  ProcessEnd end;
  try {
    end = co_await RunAndFollow(run, context.scope, *container.worker, container.handle, id,
                                std::move(spec), "", {}, limited);
  } catch (const Cancelled&) {
    conclusion.interrupted = true;
  }
  // Also of a task that was cut short: its hooks may use them.
  for (const protocol::TaskOutput& output : config.outputs) {
    const auto mapped = plan.output_mapping.find(output.name);
    const std::string& name = mapped == plan.output_mapping.end() ? output.name : mapped->second;
    const auto volume = container.volumes.find(Resolve(dir, output.MountPath()));
    if (volume == container.volumes.end()) continue;
    conclusion.artifacts[name] = {.worker = container.worker->name(), .volume = volume->second};
  }
  conclusion.also = [request, container](store::Transaction& transaction) {
    KeepTaskCaches(transaction, request, container);
  };
  if (conclusion.interrupted) co_return conclusion;
  run.EmitOnce(id, Stage::kFinished, protocol::FinishTaskEvent(origin, run.now(), end.exit_status));
  conclusion.outcome = end.exit_status == 0 ? Outcome::kSucceeded : Outcome::kFailed;
  co_return conclusion;
}

}  // namespace pinion::engine
