#include <filesystem>

#include "base/text.h"
#include "engine/steps.h"
#include "pipeline/yaml.h"
#include "protocol/events.h"
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
  co_return ValueOrThrow(vars::InterpolateAll(value, context.scope.vars()));
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
