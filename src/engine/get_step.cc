#include "engine/resource_script.h"

#include "engine/image_pull.h"
#include "engine/resource_caches.h"
#include "protocol/events.h"
#include "store/resources.h"
#include "store/versions.h"

namespace pinion::engine {
namespace {

constexpr std::string_view kGetDir = "/tmp/build/get";

/// The version to fetch: fixed by the plan, or what another step of the build came to.
protocol::Version VersionOf(const protocol::GetPlan& plan, const Scope& scope) {
  if (plan.version) return *plan.version;
  if (plan.version_from) {
    if (const protocol::Version* version = scope.FindVersion(*plan.version_from)) return *version;
  }
  throw Failure(ErrorKind::kInternal, "no version was given for '" + plan.name + "'");
}

Json MetadataVars(const protocol::Metadata& metadata) {
  JsonObject object;
  for (const protocol::MetadataField& field : metadata)
    object.Set(field.name, field.value);
  return object;
}

struct Fetched {
  Artifact artifact;
  protocol::Metadata metadata;
  int exit_status = 0;
};

/// What the container of the step's `in` is like, but for its image.
ContainerRequest ContainerOf(LeafContext context) {
  const protocol::GetPlan& plan = *context.plan.get;
  return {.plan_id = context.plan.id,
          .step_name = plan.name,
          .type = "get",
          .attempts = context.plan.attempts,
          .tags = plan.tags,
          .env = context.run.ResourceEnv(),
          .dir = std::string(kGetDir),
          .outputs = {std::string(kGetDir)}};
}

/// Runs `in` in a container and keeps its volume as the worker's cache.
Task<Fetched> Fetch(LeafContext context, ContainerRequest wanted, CacheKey key,
                    protocol::Version version, Json request) {
  const protocol::GetPlan& plan = *context.plan.get;
  BuildRun& run = context.run;
  if (!plan.image.get_plan && plan.image.base_type == kRegistryImage) {
    auto pulled =
        co_await PullImage(context, key, *request.Find("source"),
                           request.Find("params") ? *request.Find("params") : Json(), version);
    if (pulled) co_return Fetched{std::move(pulled->artifact), std::move(pulled->metadata)};
  }
  const Container container =
      co_await FindOrCreateContainer(run, std::move(wanted), context.stop());
  Interruption limited(&context.interruption);
  SetTimeLimit(limited, run.timers(), plan.timeout);
  ScriptEnd end = co_await RunScript(context, container, "/opt/resource/in", {std::string(kGetDir)},
                                     std::move(request), limited);
  Fetched fetched{.exit_status = end.exit_status};
  if (end.exit_status != 0) co_return fetched;
  ResourceResult result = ValueOrThrow(ParseResourceResult("/opt/resource/in", end.output));
  fetched.metadata = std::move(result.metadata);
  fetched.artifact = {.worker = container.worker->name(),
                      .volume = container.volumes.at(std::string(kGetDir)),
                      .from_cache = true,
                      .content = key.text};
  co_await KeepCache(run, key, version, fetched.artifact, fetched.metadata);
  co_return fetched;
}

}  // namespace

Task<Conclusion> RunGet(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::GetPlan& plan = *context.plan.get;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("get", origin, run.now()));

  const Json source = co_await FillIn(context, plan.source);
  const Json params = co_await FillIn(context, plan.params);
  const protocol::Version version = VersionOf(plan, context.scope);
  // What was fetched is shared by all who would fetch the same.
  const auto chain = co_await ScopeChainOf(context, plan.type, source, plan.image);
  ContainerRequest wanted = ContainerOf(context);
  const std::string image = co_await SetImage(context, plan.image, wanted);
  const CacheKey key = MakeCacheKey(store::ScopeKey(chain), params, version, image);
  run.EmitOnce(context.plan.id, Stage::kStarted, protocol::StartEvent("get", origin, run.now()));

  // One fetch at a time of the same thing: whoever waits finds it in the cache.
  const auto turn = co_await run.services().gets.Enter(key.text, context.stop());
  Conclusion conclusion;
  Fetched fetched;
  if (std::optional<CachedVolume> cached = co_await FindCache(run, key, version)) {
    std::string known;
    for (const auto& [name, value] : version)
      known += (known.empty() ? "" : ", ") + name + ": " + value;
    run.Say(context.plan.id,
            "\x1b[1;36mINFO: found existing resource cache\x1b[0m (" + known + ")\n\n");
    fetched.artifact = {.worker = cached->worker,
                        .volume = cached->volume,
                        .from_cache = true,
                        .content = key.text};
    fetched.metadata = std::move(cached->metadata);
    conclusion.repeatable = true;
  } else {
    JsonObject request{{"source", source}, {"version", ToJson(version)}};
    if (!params.IsNull()) request.Set("params", params);
    fetched = co_await Fetch(context, std::move(wanted), key, version, std::move(request));
  }

  const bool succeeded = fetched.exit_status == 0;
  run.EmitOnce(context.plan.id, Stage::kFinished,
               protocol::FinishGetEvent(origin, run.now(), fetched.exit_status,
                                        succeeded ? std::optional(version) : std::nullopt,
                                        fetched.metadata));
  if (!succeeded) {
    conclusion.outcome = Outcome::kFailed;
    co_return conclusion;
  }
  conclusion.artifacts[plan.name] = fetched.artifact;
  conclusion.version = version;
  conclusion.vars.push_back({.name = plan.name, .value = MetadataVars(fetched.metadata)});
  if (!plan.resource.empty()) {
    conclusion.also = [build = run.build(), resource = plan.resource, version,
                       metadata = fetched.metadata](store::Transaction& transaction) {
      const auto row = store::FindResourceByName(transaction, build.pipeline, resource);
      if (row) store::SaveMetadata(transaction, row->id, version, metadata);
    };
  }
  co_return conclusion;
}

}  // namespace pinion::engine
