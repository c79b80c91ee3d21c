#include "pipeline/template.h"

#include <utility>

#include "vars/template.h"

namespace pinion::pipeline {
namespace {

class Interpolation {
 public:
  Interpolation(const vars::Variables& variables, std::set<std::string>& missing)
      : variables_(variables), missing_(missing) {}

  Result<Node> Run(const Node& node) {
    if (++nodes_ > YamlLimits().nodes) {
      return Fail(ErrorKind::kTooLarge, "the document becomes too large with its vars filled in");
    }
    if (node.IsText()) return Text(node);
    Node out;
    out.kind = node.kind;
    out.at = node.at;
    out.scalar = node.scalar;
    for (const Node& item : node.items) {
      auto inner = Run(item);
      if (!inner) return inner;
      out.items.push_back(std::move(*inner));
    }
    for (const NodeEntry& entry : node.entries) {
      auto value = Run(entry.value);
      if (!value) return value;
      auto key = Run(entry.key);
      if (!key) return key;
      auto text = KeyText(*key);
      if (!text) return Placed(std::move(text).error(), entry.key.at);
      out.entries.push_back({std::move(*key), std::move(*value)});
    }
    return out;
  }

 private:
  static std::unexpected<Error> Placed(Error error, Position at) {
    return Fail(error.kind, "line " + std::to_string(at.line) + ", column " +
                                std::to_string(at.column) + ": " + error.message);
  }

  static std::size_t Count(const Json& json) {
    std::size_t count = 1;
    if (json.IsArray()) {
      for (const Json& item : json.AsArray())
        count += Count(item);
    } else if (json.IsObject()) {
      for (const auto& [name, value] : json.AsObject())
        count += 1 + Count(value);
    }
    return count;
  }

  Result<Node> Text(const Node& node) {
    const std::string& text = node.scalar.AsString();
    if (text.find("((") == std::string::npos) return node;
    auto value = vars::InterpolateText(text, variables_, missing_);
    if (!value) return Placed(std::move(value).error(), node.at);
    nodes_ += Count(*value);
    return NodeFromJson(*value, node.at);
  }

  const vars::Variables& variables_;
  std::set<std::string>& missing_;
  std::size_t nodes_ = 0;
};

void CollectUses(const Node& node, std::vector<VarUse>& out) {
  if (node.IsText()) {
    for (std::string& name : vars::NamesIn(node.scalar.AsString())) {
      out.push_back({std::move(name), node.at});
    }
  }
  for (const Node& item : node.items)
    CollectUses(item, out);
  for (const NodeEntry& entry : node.entries) {
    CollectUses(entry.key, out);
    CollectUses(entry.value, out);
  }
}

struct Pair {
  vars::Reference name;
  std::string_view value;
};

Result<Pair> SplitPair(std::string_view pair) {
  const std::size_t equals = pair.find('=');
  if (equals == std::string_view::npos) {
    return Fail(ErrorKind::kInvalid,
                "invalid variable pair '" + std::string(pair) + "' (must be name=value)");
  }
  auto name = vars::Reference::Parse(pair.substr(0, equals));
  if (!name) return std::unexpected(std::move(name).error());
  return Pair{std::move(*name), pair.substr(equals + 1)};
}

/// Sets every value inside an object by its dotted name, so that objects merge.
void SetDeep(vars::StaticVariables& out, const vars::Reference& at, const Json& value) {
  if (!value.IsObject()) {
    out.Set(at, value);
    return;
  }
  for (const auto& [name, member] : value.AsObject()) {
    vars::Reference inner = at;
    inner.fields.push_back(name);
    SetDeep(out, inner, member);
  }
}

}  // namespace

std::vector<VarUse> VarUses(const Node& node) {
  std::vector<VarUse> uses;
  CollectUses(node, uses);
  return uses;
}

Result<Node> InterpolateNode(const Node& node, const vars::Variables& variables,
                             std::set<std::string>& missing) {
  return Interpolation(variables, missing).Run(node);
}

Result<ParsedPipeline> LoadPipeline(std::string_view text, const vars::Variables* variables,
                                    ReadRules rules) {
  auto document = ParseYaml(text);
  if (!document) return std::unexpected(std::move(document).error());
  if (variables) {
    std::set<std::string> missing;
    auto filled = InterpolateNode(document->root, *variables, missing);
    if (!filled) return std::unexpected(std::move(filled).error());
    document->root = std::move(*filled);
  }
  ParsedPipeline parsed = ReadPipeline(document->root, rules);
  if (rules.refuse_repeated_keys) {
    parsed.issues.insert(parsed.issues.begin(), document->repeated_keys.begin(),
                         document->repeated_keys.end());
  }
  return parsed;
}

Result<std::string> EvaluateTemplate(std::string_view text, const vars::Variables& variables,
                                     ReadRules rules) {
  const auto document = ParseYaml(text);
  if (!document) return std::unexpected(document.error());
  if (rules.refuse_repeated_keys && !document->repeated_keys.empty()) {
    return Fail(ErrorKind::kInvalid, IssuesText(document->repeated_keys));
  }
  std::set<std::string> missing;
  const auto filled = InterpolateNode(document->root, variables, missing);
  if (!filled) return std::unexpected(filled.error());
  const auto json = NodeToJson(*filled);
  if (!json) return std::unexpected(json.error());
  return EmitYaml(*json);
}

Result<void> ClientVariables::AddText(std::string_view pair) {
  auto split = SplitPair(pair);
  if (!split) return std::unexpected(std::move(split).error());
  flags_.Set(split->name, split->value);
  return {};
}

Result<void> ClientVariables::AddYaml(std::string_view pair) {
  auto split = SplitPair(pair);
  if (!split) return std::unexpected(std::move(split).error());
  const auto document = ParseYaml(split->value);
  if (!document) return std::unexpected(document.error());
  auto value = NodeToJson(document->root);
  if (!value) return std::unexpected(std::move(value).error());
  flags_.Set(split->name, std::move(*value));
  return {};
}

void ClientVariables::AddInstanceVars(const Json& object) {
  if (!object.IsObject()) return;
  for (const auto& [name, value] : object.AsObject())
    SetDeep(flags_, {"", name, {}}, value);
}

Result<void> ClientVariables::AddFile(std::string_view name, std::string_view text) {
  auto values = ReadVarFile(text);
  if (!values) {
    return std::unexpected(std::move(values).error().Context("reading template variables (" +
                                                             std::string(name) + ")"));
  }
  files_.emplace_back(*values);
  return {};
}

Result<std::optional<Json>> ClientVariables::Get(const vars::Reference& reference) const {
  std::vector<const vars::Variables*> layers = {&flags_};
  for (auto file = files_.rbegin(); file != files_.rend(); ++file)
    layers.push_back(&*file);
  return vars::LayeredVariables(std::move(layers)).Get(reference);
}

Result<Json> ReadVarFile(std::string_view text) {
  const auto document = ParseYaml(text);
  if (!document) return std::unexpected(document.error());
  if (document->root.IsNull()) return Json(JsonObject());
  if (!document->root.IsMapping()) {
    return Fail(ErrorKind::kInvalid, "expected a mapping of names to values, got " +
                                         std::string(document->root.TypeName()));
  }
  return NodeToJson(document->root);
}

}  // namespace pinion::pipeline
