#include <filesystem>

#include "base/text.h"
#include "engine/steps.h"
#include "pipeline/yaml.h"
#include "protocol/events.h"
#include "secrets/var_sources.h"
#include "vars/template.h"

namespace pinion::engine {
namespace {

/// The file's content as `format` (or its extension) says.
Json ParseVar(const protocol::LoadVarPlan& plan, const std::string& text) {
  std::string format = plan.format;
  if (format.empty()) {
    const std::string extension = std::filesystem::path(plan.file).extension().string();
    format = extension == ".json" || extension == ".yml" || extension == ".yaml"
                 ? extension.substr(1)
                 : "trim";
  }
  if (format == "raw") return text;
  if (format == "trim") return std::string(Trim(text));
  Result<Json> value = Fail(ErrorKind::kInvalid, "");
  if (format == "json") {
    value = ParseJson(text);
  } else if (format == "yml" || format == "yaml") {
    const auto document = pipeline::ParseYaml(text);
    value = document ? pipeline::NodeToJson(document->root) : std::unexpected(document.error());
  } else {
    throw Failure(ErrorKind::kInvalid,
                  "invalid format '" + plan.format + "': use json, yml, yaml, trim or raw");
  }
  if (!value) {
    throw Failure(
        std::move(value.error()).Context("failed to parse " + plan.file + " as " + format));
  }
  return std::move(*value);
}

}  // namespace

Task<Json> FillIn(LeafContext context, Json value) {
  BuildRun& run = context.run;
  const vars::LocalVariables& local = context.scope.vars();
  std::vector<vars::Reference> references = ValueOrThrow(vars::References(value));
  std::erase_if(references, [](const vars::Reference& one) { return one.source == "."; });
  if (references.empty() || !run.services().var_sources) {
    co_return ValueOrThrow(vars::InterpolateAll(value, local));
  }
  const store::BuildRow& build = run.build();
  const secrets::VarOwner owner{.team = build.team_name,
                                .pipeline = build.pipeline_name,
                                .instance_vars = build.instance_vars,
                                .job = build.job_name};
  const vars::ResolvedVariables resolved = co_await run.services().var_sources->Resolve(
      owner, build.pipeline, references, context.stop());
  for (const vars::Reference& reference : references) {
    const auto secret = resolved.Get({reference.source, reference.path, {}});
    if (secret && *secret) run.AddSecret(**secret);
  }
  co_return ValueOrThrow(vars::InterpolateAll(value, vars::LayeredVariables({&local, &resolved})));
}

Task<Conclusion> RunLoadVar(LeafContext context) {
  BuildRun& run = context.run;
  const protocol::LoadVarPlan& plan = *context.plan.load_var;
  const protocol::Origin origin{.id = context.plan.id};
  run.EmitOnce(context.plan.id, Stage::kInitialized,
               protocol::InitializeEvent("", origin, run.now()));
  run.EmitOnce(context.plan.id, Stage::kStarted, protocol::StartEvent("", origin, run.now()));
  const std::string text = co_await ReadArtifactFile(context, plan.file);
  Conclusion conclusion;
  conclusion.vars.push_back(
      {.name = plan.name, .value = ParseVar(plan, text), .secret = !plan.reveal});
  run.Say(context.plan.id, "var " + plan.name + " fetched.\n");
  run.EmitOnce(context.plan.id, Stage::kFinished, protocol::FinishEvent(origin, run.now(), true));
  co_return conclusion;
}

}  // namespace pinion::engine
