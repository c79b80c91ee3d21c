#include <set>

#include "base/text.h"
#include "engine/resource_caches.h"
#include "engine/resource_script.h"
#include "protocol/events.h"

namespace pinion::engine {
namespace {

constexpr std::string_view kPutDir = "/tmp/build/put";

/// First path segments of every text in the params: what `inputs: detect` takes.
void CollectPrefixes(const Json& value, std::set<std::string>& out) {
  if (value.IsString()) {
    for (const std::string_view part : Split(value.AsString(), '/')) {
      if (part.empty() || part == "." || part == "..") continue;
      out.insert(std::string(part));
      break;
    }
  } else if (value.IsArray()) {
    for (const Json& item : value.AsArray())
      CollectPrefixes(item, out);
  } else if (value.IsObject()) {
    for (const auto& [name, item] : value.AsObject())
      CollectPrefixes(item, out);
  }
}

std::vector<ContainerRequest::Mount> Inputs(const protocol::PutPlan& plan, const Scope& scope) {
  std::vector<ContainerRequest::Mount> mounts;
  const auto mount = [&](const std::string& name, const Artifact& artifact) {
    mounts.push_back({.path = std::string(kPutDir) + "/" + name, .artifact = artifact});
  };
  if (plan.inputs.IsArray()) {
    for (const Json& item : plan.inputs.AsArray()) {
      const std::string name = item.IsString() ? item.AsString() : ToText(item);
      const Artifact* artifact = scope.FindArtifact(name);
      if (!artifact) {
        throw Failure(ErrorKind::kInvalid, "input '" + name + "' of put '" + plan.name +
                                               "' was made by no step before it");
      }
      mount(name, *artifact);
    }
    return mounts;
  }
  const bool all = plan.inputs.IsString() && plan.inputs.AsString() == "all";
  std::set<std::string> wanted;
  CollectPrefixes(plan.params, wanted);
  for (const auto& [name, artifact] : scope.Artifacts()) {
    if (all || wanted.contains(name)) mount(name, artifact);
  }
  return mounts;
}

}  // namespace

Task<Conclusion> RunPut(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::PutPlan& plan = *context.plan.put;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("put", origin, run.now()));

  const Json source = co_await FillIn(context, plan.source);
  const Json params = co_await FillIn(context, plan.params);
  ContainerRequest wanted{.plan_id = context.plan.id,
                          .step_name = plan.name,
                          .type = "put",
                          .attempts = context.plan.attempts,
                          .tags = plan.tags,
                          .env = run.ResourceEnv(),
                          .dir = std::string(kPutDir),
                          .inputs = Inputs(plan, context.scope)};
  if (plan.expose_build_created_by && run.build().created_by) {
    wanted.env.push_back("BUILD_CREATED_BY=" + *run.build().created_by);
  }
  co_await SetImage(context, plan.image, wanted);
  const Container container =
      co_await FindOrCreateContainer(run, std::move(wanted), context.stop());

  Interruption limited(&context.interruption);
  SetTimeLimit(limited, run.timers(), plan.timeout);
  run.EmitOnce(context.plan.id, Stage::kStarted, protocol::StartEvent("put", origin, run.now()));
  JsonObject request{{"source", source}};
  if (!params.IsNull()) request.Set("params", params);
  const ScriptEnd end = co_await RunScript(context, container, "/opt/resource/out",
                                           {std::string(kPutDir)}, std::move(request), limited);
  Conclusion conclusion;
  if (end.exit_status != 0) {
    run.EmitOnce(context.plan.id, Stage::kFinished,
                 protocol::FinishPutEvent(origin, run.now(), end.exit_status, {}, {}));
    conclusion.outcome = Outcome::kFailed;
    co_return conclusion;
  }
  const ResourceResult result = ValueOrThrow(ParseResourceResult("/opt/resource/out", end.output));
  run.EmitOnce(context.plan.id, Stage::kFinished,
               protocol::FinishPutEvent(origin, run.now(), 0, result.version, result.metadata));
  conclusion.version = result.version;
  if (!plan.resource.empty()) {
    const auto chain = co_await ScopeChainOf(context, plan.type, source, plan.image);
    conclusion.also = [&services = run.services(), build = run.build(), plan, chain,
                       result](store::Transaction& transaction) {
      SaveOutput(transaction, services, build, plan, chain, *result.version, result.metadata);
    };
  }
  co_return conclusion;
}

}  // namespace pinion::engine
