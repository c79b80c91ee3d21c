#include "cli/template_options.h"

#include "base/files.h"
#include "cli/errors.h"
#include "cli/refs.h"
#include "pipeline/template.h"

namespace pinion::cli {

void TemplateOptions::AddTo(Options& options, std::string_view config_doc) {
  options.Add({.name = "config",
               .doc = config_doc,
               .short_name = 'c',
               .value_name = "FILE",
               .required = true},
              config);
  options.Add({.name = "var",
               .doc = "Value of a var, as text",
               .short_name = 'v',
               .value_name = "NAME=TEXT"},
              texts);
  options.Add({.name = "yaml-var",
               .doc = "Value of a var, as YAML",
               .short_name = 'y',
               .value_name = "NAME=YAML"},
              yamls);
  options.Add({.name = "load-vars-from",
               .doc = "YAML file with values of vars; later files win over earlier ones",
               .short_name = 'l',
               .value_name = "FILE"},
              files);
}

std::string TemplateOptions::Evaluate(const Json& instance_vars, pipeline::ReadRules rules) const {
  const auto must = [](const Result<void>& result) {
    if (!result) throw CommandError(result.error().message);
  };
  const auto text = ReadFile(ExpandPath(config));
  if (!text) throw CommandError("could not read file: " + text.error().message);
  pipeline::ClientVariables variables;
  for (const std::string& pair : texts)
    must(variables.AddText(pair));
  for (const std::string& pair : yamls)
    must(variables.AddYaml(pair));
  if (instance_vars.IsObject()) variables.AddInstanceVars(instance_vars);
  for (const std::string& file : files) {
    const std::string path = ExpandPath(file);
    const auto content = ReadFile(path);
    if (!content) {
      throw CommandError("could not read template variables file (" + path +
                         "): " + content.error().message);
    }
    must(variables.AddFile(path, *content));
  }
  auto evaluated = pipeline::EvaluateTemplate(*text, variables, rules);
  if (!evaluated) throw CommandError(evaluated.error().message);
  return std::move(*evaluated);
}

}  // namespace pinion::cli
