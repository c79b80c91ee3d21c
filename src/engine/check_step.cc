#include "base/units.h"
#include "engine/check_script.h"
#include "engine/resource_caches.h"
#include "engine/resource_script.h"
#include "protocol/events.h"
#include "store/resources.h"
#include "store/scopes.h"
#include "store/versions.h"

namespace pinion::engine {
namespace {

constexpr std::string_view kCheckDir = "/tmp/build/check";
constexpr std::string_view kCheckPath = "/opt/resource/check";
constexpr Duration kDefaultInterval = std::chrono::minutes(1);

/// The scope as the step finds it.
struct Found {
  ScopeId scope;
  std::optional<protocol::Version> latest;
  std::string image;   ///< that it was last checked with
  bool fresh = false;  ///< checked within the interval: no need to run
};

Found FindScope(store::Transaction& transaction, const store::BuildRow& build,
                const protocol::CheckPlan& plan, const std::string& key) {
  Found found{.scope = store::FindOrCreateScope(transaction, key, plan.type)};
  if (!plan.resource.empty()) {
    const auto row = store::FindResourceByName(transaction, build.pipeline, plan.resource);
    if (row) store::AttachResource(transaction, row->id, found.scope);
  } else if (!plan.resource_type.empty()) {
    const auto row = store::FindResourceTypeByName(transaction, build.pipeline, plan.resource_type);
    if (row) store::AttachResourceType(transaction, row->id, found.scope);
  }
  if (const auto latest = store::LatestVersion(transaction, found.scope)) {
    found.latest = store::ParseVersion(latest->version);
  }
  const auto scope = store::FindScope(transaction, found.scope);
  if (scope) found.image = scope->last_check_image;
  const auto interval = ParseDuration(plan.interval);
  const std::int64_t seconds =
      std::chrono::floor<std::chrono::seconds>(interval ? *interval : kDefaultInterval).count();
  found.fresh = !plan.skip_interval && scope && scope->last_check_succeeded.value_or(false) &&
                found.latest && scope->last_check_end &&
                (plan.interval == "never" || *scope->last_check_end + seconds > transaction.now());
  return found;
}

}  // namespace

Task<CheckOutput> RunCheckScript(LeafContext context, Json source, checking::CheckStart from) {
  BuildRun& run = context.run;
  const protocol::CheckPlan& plan = *context.plan.check;
  ContainerRequest wanted{.plan_id = context.plan.id,
                          .step_name = plan.name,
                          .type = "check",
                          .tags = plan.tags,
                          .env = run.ResourceEnv(),
                          .dir = std::string(kCheckDir)};
  checking::CheckResult result;
  result.image = co_await SetImage(context, plan.image, wanted);
  if (from.image && *from.image != result.image && from.version) {
    // What another version of the type found means nothing to this one.
    from.version.reset();
    result.from_scratch = true;
  }
  const Container container =
      co_await FindOrCreateContainer(run, std::move(wanted), context.stop());
  run.EmitOnce(context.plan.id, Stage::kStarted,
               protocol::StartEvent("", {.id = context.plan.id}, run.now()));
  Interruption limited(&context.interruption);
  SetTimeLimit(limited, run.timers(), plan.timeout);
  JsonObject request{{"source", std::move(source)}, {"version", ToJson(from.version)}};
  const ScriptEnd end = co_await RunScript(context, container, std::string(kCheckPath), {},
                                           std::move(request), limited);
  CheckOutput output{.exit_status = end.exit_status};
  if (end.exit_status == 0) result.versions = ValueOrThrow(ParseVersions(end.output));
  output.result = std::move(result);
  co_return output;
}

Task<Conclusion> RunCheck(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::CheckPlan& plan = *context.plan.check;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("check", origin, run.now(), plan.name));
  const Json source = co_await FillIn(context, plan.source);
  const auto chain = co_await ScopeChainOf(context, plan.type, source, plan.image);
  const ResourceId resource = plan.resource.empty() ? ResourceId() : run.build().resource;
  const std::string key = ScopeKeyFor(run.services(), chain, resource);
  // One check at a time of the same thing; who waited finds it fresh.
  const auto turn = co_await run.services().checks.Enter(key, context.stop());
  const Found found = co_await run.InDatabase(
      true, [build = run.build(), plan, key](store::Transaction& transaction) {
        return FindScope(transaction, build, plan, key);
      });

  Conclusion conclusion;
  conclusion.version = found.latest;
  conclusion.repeatable = found.fresh;
  if (!found.fresh) {
    checking::CheckStart from{.version = plan.from_version};
    if (!from.version) from = {.version = found.latest, .image = found.image};
    const CheckOutput output = co_await RunCheckScript(context, source, from);
    const std::string error =
        output.exit_status == 0 ? ""
                                : "check exited with status " + std::to_string(output.exit_status);
    const std::vector<protocol::Version>& versions = output.result.versions;
    if (!versions.empty()) conclusion.version = versions.back();
    conclusion.outcome = error.empty() ? Outcome::kSucceeded : Outcome::kFailed;
    const auto interval = ParseDuration(plan.interval);
    std::optional<std::int64_t> next_in;
    if (plan.interval != "never") {
      next_in =
          std::chrono::ceil<std::chrono::seconds>(interval ? *interval : kDefaultInterval).count();
    }
    conclusion.also = [scope = found.scope, result = output.result, error, build = run.build().id,
                       next_in](store::Transaction& transaction) {
      if (error.empty()) {
        store::SaveVersions(transaction, scope, result.versions, result.from_scratch);
      }
      store::SaveCheck(transaction, scope,
                       {.succeeded = error.empty(),
                        .error = error,
                        .build = build,
                        .image = result.image,
                        .next_in = next_in});
    };
  }
  run.EmitOnce(context.plan.id, Stage::kFinished,
               protocol::FinishEvent(origin, run.now(), conclusion.outcome == Outcome::kSucceeded));
  co_return conclusion;
}

}  // namespace pinion::engine
