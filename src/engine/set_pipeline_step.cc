#include "base/text.h"
#include "engine/steps.h"
#include "pipeline/format.h"
#include "pipeline/instance_vars.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"
#include "protocol/events.h"
#include "store/pipeline_layout.h"
#include "store/pipeline_parents.h"
#include "store/pipelines.h"
#include "store/teams.h"
#include "vars/template.h"

namespace pinion::engine {
namespace {

/// What the step came to; nothing: the configuration is no good, the log says why.
enum class Saved { kRefused, kUnchanged, kChanged };

/// The document with instance vars, vars and var files filled in: the first that knows a var wins,
/// what nobody knows stays for credential managers.
Task<pipeline::Node> LoadDocument(LeafContext context, protocol::SetPipelinePlan plan) {
  const std::string text = co_await ReadArtifactFile(context, plan.file);
  auto document = pipeline::ParseYaml(text);
  if (!document) throw Failure(std::move(document.error()).Context(plan.file));
  Json config = ValueOrThrow(pipeline::NodeToJson(document->root));
  std::vector<vars::StaticVariables> layers;
  layers.emplace_back(plan.instance_vars);
  layers.emplace_back(plan.vars);
  for (const std::string& file : plan.var_files) {
    auto values = pipeline::ParseYaml(co_await ReadArtifactFile(context, file));
    if (!values) throw Failure(std::move(values.error()).Context(file));
    layers.emplace_back(ValueOrThrow(pipeline::NodeToJson(values->root)));
  }
  std::vector<const vars::Variables*> pointers;
  for (const vars::StaticVariables& layer : layers)
    pointers.push_back(&layer);
  co_return pipeline::NodeFromJson(
      ValueOrThrow(vars::Interpolate(config, vars::LayeredVariables(pointers))));
}

/// The team whose pipeline is set: the build's own, or another when the build's is an admin team.
TeamId TargetTeam(store::Transaction& transaction, const store::BuildRow& build,
                  const std::string& name) {
  if (name.empty() || name == build.team_name) return build.team;
  const auto own = store::FindTeam(transaction, build.team_name);
  const auto target = store::FindTeam(transaction, name);
  if (!target) throw Failure(ErrorKind::kNotFound, "team " + name + " not found");
  if (!own || !own->admin) {
    throw Failure(ErrorKind::kForbidden, "only main team can set another team's pipeline");
  }
  return target->id;
}

std::string InstanceVarsText(const Json& instance_vars) {
  if (!instance_vars.IsObject() || instance_vars.AsObject().empty()) return "";
  JsonObject sorted = instance_vars.AsObject();
  sorted.SortByName();
  return ToText(sorted);
}

Saved Save(store::Transaction& transaction, const store::BuildRow& build,
           const protocol::SetPipelinePlan& plan, const pipeline::Pipeline& config) {
  const TeamId team = TargetTeam(transaction, build, plan.team);
  const std::string team_name = plan.team.empty() ? build.team_name : plan.team;
  const store::NewPipeline pipeline =
      store::LayOut(config, plan.name, InstanceVarsText(plan.instance_vars));
  const auto existing =
      store::FindPipeline(transaction, team_name, pipeline.name, pipeline.instance_vars);
  const bool same = existing && !existing->archived &&
                    store::PipelineConfigText(transaction, existing->id) == pipeline.config;
  if (same) {
    store::SetPipelineParent(transaction, existing->id, build.job, build.id);
    return Saved::kUnchanged;
  }
  store::SavePipeline(
      transaction, team, pipeline,
      {.initially_paused = false, .parent_job = build.job.value, .parent_build = build.id.value});
  return Saved::kChanged;
}

/// Reads and checks the document; says everything that is wrong with it.
std::optional<pipeline::Pipeline> Check(BuildRun& run, const std::string& id,
                                        const pipeline::Node& document) {
  const pipeline::ParsedPipeline parsed = pipeline::ReadPipeline(document, pipeline::kStepRules);
  if (!parsed.issues.empty()) {
    std::string text = "error parsing pipeline:\n";
    for (const pipeline::Issue& issue : parsed.issues)
      text += issue.message + "\n";
    run.Say(id, text);
    return std::nullopt;
  }
  const pipeline::Validation validation = pipeline::Validate(parsed.pipeline);
  for (const pipeline::Warning& warning : validation.warnings) {
    run.Say(id, "WARNING: " + warning.message + "\n");
  }
  if (!validation.ok()) {
    std::string text = "invalid pipeline:\n";
    for (const std::string& error : validation.ErrorTexts())
      text += "- " + error;
    run.Say(id, text);
    return std::nullopt;
  }
  return parsed.pipeline;
}

Task<Saved> SetPipeline(LeafContext context, protocol::SetPipelinePlan plan) {
  BuildRun& run = context.run;
  const std::string& id = context.plan.id;
  for (const std::string& name : {plan.name, plan.team}) {
    if (!name.contains('/')) continue;
    run.Say(id, "ERROR: '" + name + "' cannot contain '/'\n");
    co_return Saved::kRefused;
  }
  const pipeline::Node document = co_await LoadDocument(context, plan);
  const std::optional<pipeline::Pipeline> config = Check(run, id, document);
  if (!config) co_return Saved::kRefused;
  const Saved saved = co_await run.InDatabase(
      true, [build = run.build(), plan, config = *config](store::Transaction& transaction) {
        return Save(transaction, build, plan, config);
      });
  std::string target = plan.name;
  if (plan.instance_vars.IsObject() && !plan.instance_vars.AsObject().empty()) {
    target += "/" + pipeline::InstanceVarsText(plan.instance_vars);
  }
  run.Say(id, saved == Saved::kChanged ? "setting pipeline: " + target + "\ndone\n"
                                       : "no changes to apply.\n");
  co_return saved;
}

}  // namespace

Task<Conclusion> RunSetPipeline(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("", origin, run.now()));
  const Json filled = co_await FillIn(context, ToJson(*context.plan.set_pipeline));
  auto plan = ValueOrThrow(FromJson<protocol::SetPipelinePlan>(filled));
  if (plan.name == "self") {
    plan.name = run.build().pipeline_name;
    plan.instance_vars = run.build().instance_vars.empty()
                             ? Json()
                             : ValueOrThrow(ParseJson(run.build().instance_vars));
    plan.team.clear();
  }
  run.EmitOnce(context.plan.id, Stage::kStarted, protocol::StartEvent("", origin, run.now()));
  const Saved saved = co_await SetPipeline(context, std::move(plan));
  if (saved != Saved::kRefused) {
    run.Emit(protocol::SetPipelineChangedEvent(origin, run.now(), saved == Saved::kChanged));
  }
  const bool succeeded = saved != Saved::kRefused;
  run.EmitOnce(context.plan.id, Stage::kFinished,
               protocol::FinishEvent(origin, run.now(), succeeded));
  Conclusion conclusion;
  conclusion.outcome = succeeded ? Outcome::kSucceeded : Outcome::kFailed;
  co_return conclusion;
}

}  // namespace pinion::engine
