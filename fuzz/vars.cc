// ((vars)): references, texts, and pipelines that are filled in. The input is the vars as one line
// of YAML, then the template.
#include "fuzz/target.h"
#include "pipeline/instance_vars.h"
#include "pipeline/template.h"
#include "vars/template.h"

using namespace pinion;
using fuzz::Require;

namespace {

void CheckReference(const std::string& name) {
  const auto reference = vars::Reference::Parse(name);
  if (!reference) return;
  const std::string text = reference->Text();
  const auto again = vars::Reference::Parse(text);
  Require(again.has_value() && *again == *reference, "a reference's own text names something else",
          name + " / " + text);
  Require(reference->WithoutSource().source.empty(), "a source stayed");
}

void CheckText(const std::string& text, const vars::Variables& variables) {
  for (const std::string& name : vars::NamesIn(text))
    CheckReference(name);
  std::set<std::string> missing;
  const auto filled = vars::InterpolateText(text, variables, missing);
  if (filled && vars::NamesIn(text).empty()) {
    Require(filled->IsString() && filled->AsString() == text && missing.empty(),
            "a text without vars changed", text);
  }
}

void CheckValue(const Json& value, const vars::StaticVariables& known) {
  const auto references = vars::References(value);
  const auto some = vars::Interpolate(value, known);
  const auto all = vars::InterpolateAll(value, known);
  Require(!all || some.has_value(), "all vars fit, some do not", ToText(value));
  if (all) Require(*some == *all, "nothing is missing, and yet they differ", ToText(value));
  if (!references) return;
  if (references->empty() && some) Require(*some == value, "a value without vars changed");
  vars::ResolvedVariables resolved;
  vars::LocalVariables outer;
  vars::LocalVariables inner(&outer);
  for (const vars::Reference& reference : *references) {
    resolved.Set(reference, Json("value"));
    Require(resolved.Has(reference), "a var that was set is not there", reference.Text());
    (reference.fields.empty() ? outer : inner).Set(reference.path, Json("value"), true);
  }
  Require(references->empty() || !inner.SecretTexts().empty(), "a secret is not told");
  const vars::LayeredVariables layers({&known, &inner, &resolved});
  static_cast<void>(vars::InterpolateAll(value, layers));
  std::vector<std::string> texts;
  vars::CollectTexts(value, texts);
}

void CheckClient(std::string_view head, std::string_view text) {
  pipeline::ClientVariables variables;
  const std::size_t half = head.find(',');
  static_cast<void>(variables.AddFile("vars.yml", head));
  static_cast<void>(variables.AddYaml(head.substr(0, half)));
  static_cast<void>(variables.AddText(head.substr(std::min(half, head.size()))));
  const auto evaluated = pipeline::EvaluateTemplate(text, variables, pipeline::kClientRules);
  if (!evaluated) return;
  const auto loaded = pipeline::LoadPipeline(text, &variables, pipeline::kClientRules);
  Require(loaded.has_value(), "a template is evaluated but not read", *evaluated);
  Require(pipeline::ParseYaml(*evaluated).has_value(), "an evaluated template is no YAML",
          *evaluated);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::string head(input.Until("\n"));
  const std::string text(input.Rest());
  Json values = Json(JsonObject{});
  if (auto read = pipeline::ReadVarFile(head)) values = std::move(*read);
  const vars::StaticVariables known(values);
  static_cast<void>(pipeline::InstanceVarsText(values));
  Require(known.ToJson().IsObject(), "vars are no object");
  CheckReference(head);
  CheckText(text, known);
  const auto document = pipeline::ParseYaml(text, {.nodes = 20'000, .text_bytes = 1 << 20});
  if (!document) return 0;
  if (const auto value = pipeline::NodeToJson(document->root)) CheckValue(*value, known);
  std::set<std::string> missing;
  const auto filled = pipeline::InterpolateNode(document->root, known, missing);
  const auto uses = pipeline::VarUses(document->root);
  Require(!filled || missing.size() <= uses.size(), "more vars are missing than used");
  CheckClient(head, text);
  return 0;
}
