// YAML documents, pipelines and task files: text to tree to model to errors, and back to text.
#include "pipeline/yaml.h"

#include "base/json_fields.h"
#include "fuzz/target.h"
#include "pipeline/format.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"

using namespace pinion;
using fuzz::Require;

namespace {

/// Every place is in the text.
void RequirePlaces(const pipeline::Node& node, int lines) {
  Require(node.at.line >= 0 && node.at.line <= lines, "a value stands behind the text's end");
  for (const pipeline::Node& item : node.items)
    RequirePlaces(item, lines);
  for (const pipeline::NodeEntry& entry : node.entries) {
    RequirePlaces(entry.key, lines);
    RequirePlaces(entry.value, lines);
  }
}

/// Bytes that are no UTF-8 (by !!binary) are printed as U+FFFD: those texts do not come back.
bool IsPrintable(const Json& value) {
  const std::string text = ToText(value);
  const auto again = ParseJson(text);
  return again.has_value() && ToText(*again) == text;
}

void CheckTree(const pipeline::Node& root) {
  const auto json = pipeline::NodeToJson(root);
  if (!json || !IsPrintable(*json)) return;
  const auto direct = pipeline::NodeToJson(pipeline::NodeFromJson(*json));
  Require(direct.has_value() && *direct == *json, "a tree made of JSON means something else",
          ToText(*json));
  const std::string text = pipeline::EmitYaml(*json);
  const auto again = pipeline::ParseYaml(text);
  Require(again.has_value(), "YAML that was printed is not read", text);
  const auto value = pipeline::NodeToJson(again->root);
  Require(value.has_value(), "YAML that was printed has no value", text);
  Require(ToText(*value) == ToText(*json), "YAML that was printed means something else",
          text + "\n--- is\n" + ToText(*value) + "\n--- was\n" + ToText(*json));
}

void CheckPipeline(const pipeline::Node& root, pipeline::ReadRules rules) {
  const pipeline::ParsedPipeline parsed = pipeline::ReadPipeline(root, rules);
  const pipeline::Validation verdict = pipeline::Validate(parsed.pipeline, &parsed.sources);
  Require(verdict.ok() == verdict.ErrorTexts().empty(), "errors without texts");
  if (!parsed.issues.empty()) return;
  const Json config = pipeline::ConfigToJson(parsed.pipeline);
  if (!IsPrintable(config)) return;
  const auto again = pipeline::ConfigFromJson(config);
  Require(again.has_value(), "a pipeline's own form is not read",
          ToText(config) + (again ? "" : again.error().message));
  Require(ToText(pipeline::ConfigToJson(*again)) == ToText(config),
          "a pipeline's own form reads as another",
          ToText(config) + "\n" + ToText(pipeline::ConfigToJson(*again)));
  // Unknown fields are errors too, and are no part of the form.
  Require(!verdict.ok() || pipeline::Validate(*again).ok(),
          "the form of a sound pipeline is unsound", ToText(config));
  const std::string text = pipeline::PipelineToYaml(parsed.pipeline);
  const auto formatted = pipeline::FormatPipeline(text);
  Require(formatted.has_value() && *formatted == text, "the normal form is not its own normal form",
          text + "\n---\n" + (formatted ? *formatted : formatted.error().message));
  for (const auto& job : parsed.pipeline.jobs) {
    // As text: whole floats print as integers do.
    const std::string stored = ToText(pipeline::ToJson(job));
    const auto read = pipeline::ParseJob(stored);
    Require(read.has_value() && ToText(pipeline::ToJson(*read)) == stored,
            "a job of the database reads as another", stored);
  }
}

void CheckTask(const pipeline::Node& root, std::string_view text) {
  const pipeline::ParsedTaskConfig task = pipeline::ReadTaskConfig(root);
  const bool sound = task.issues.empty() && task.unknown_fields.empty() &&
                     pipeline::ValidateTaskConfig(task.config).empty();
  const auto loaded = pipeline::LoadTaskConfig(text);
  Require(!loaded || sound, "a task file is taken with errors in it");
  if (!sound) return;
  const Json json = pipeline::TaskConfigToJson(task.config);
  if (!IsPrintable(json)) return;
  const pipeline::ParsedTaskConfig again = pipeline::ReadTaskConfig(pipeline::NodeFromJson(json));
  Require(again.issues.empty() && ToText(pipeline::TaskConfigToJson(again.config)) == ToText(json),
          "a task config reads as another", ToText(json));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto document =
      pipeline::ParseYaml(text, {.depth = 60, .nodes = 50'000, .text_bytes = 1 << 20});
  if (!document) {
    Require(!document.error().message.empty(), "an error without a message");
    return 0;
  }
  RequirePlaces(document->root, static_cast<int>(std::ranges::count(text, '\n')) + 2 +
                                    static_cast<int>(std::ranges::count(text, '\r')) +
                                    static_cast<int>(size));
  CheckTree(document->root);
  CheckPipeline(document->root, pipeline::kServerRules);
  CheckPipeline(document->root, pipeline::kClientRules);
  CheckPipeline(document->root, pipeline::kStrictRules);
  CheckTask(document->root, text);
  const auto formatted = pipeline::FormatPipeline(text);
  Require(!formatted || pipeline::FormatPipeline(*formatted).has_value(),
          "what was formatted is not formatted again", formatted ? *formatted : "");
  return 0;
}
