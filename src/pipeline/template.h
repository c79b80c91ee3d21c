#pragma once

#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "pipeline/reader.h"
#include "pipeline/yaml.h"
#include "vars/variables.h"

/// Pipelines with ((vars)) that are filled in before the pipeline is read.
namespace pinion::pipeline {

/// One use of a var: what stands between its parentheses, and the text it is part of.
struct VarUse {
  std::string name;
  Position at;
};
/// All uses in a document, keys included, in its order.
std::vector<VarUse> VarUses(const Node& node);

/// The tree with the vars replaced that `variables` knows; others stay and are added to `missing`.
/// kInvalid, with the place, for a var that cannot be read or does not fit; kTooLarge if the tree
/// grows past a million values.
Result<Node> InterpolateNode(const Node& node, const vars::Variables& variables,
                             std::set<std::string>& missing);

/// Parses, fills in what `variables` knows (null: nothing is filled in), and reads. The error is
/// broken YAML, a limit, or a var that does not fit.
Result<ParsedPipeline> LoadPipeline(std::string_view text, const vars::Variables* variables,
                                    ReadRules rules);
/// The text that a client sends: the document with its vars filled in, in block style, keys sorted.
Result<std::string> EvaluateTemplate(std::string_view text, const vars::Variables& variables,
                                     ReadRules rules);

/// The vars that a client was given, by precedence: --var, --yaml-var and instance vars before
/// files, later files before earlier ones.
class ClientVariables : public vars::Variables {
 public:
  /// NAME=VALUE of --var: the value is text.
  Result<void> AddText(std::string_view pair);
  /// NAME=VALUE of --yaml-var: the value is YAML.
  Result<void> AddYaml(std::string_view pair);
  /// An object; its members win over what was added before.
  void AddInstanceVars(const Json& object);
  /// The text of a file of --load-vars-from: a mapping. `name` is for errors.
  Result<void> AddFile(std::string_view name, std::string_view text);

  Result<std::optional<Json>> Get(const vars::Reference& reference) const override;

 private:
  vars::StaticVariables flags_;
  std::vector<vars::StaticVariables> files_;
};

/// The mapping in a file of vars; an empty file has none.
Result<Json> ReadVarFile(std::string_view text);

}  // namespace pinion::pipeline
