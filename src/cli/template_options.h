#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "base/options.h"
#include "pipeline/reader.h"

namespace pinion::cli {

/// The options of a template and its vars: --config, --var, --yaml-var, --load-vars-from.
struct TemplateOptions {
  std::string config;
  std::vector<std::string> texts;
  std::vector<std::string> yamls;
  std::vector<std::string> files;

  void AddTo(Options& options, std::string_view config_doc);
  /// The file with its vars filled in, as YAML. Instance vars win over all others.
  std::string Evaluate(const Json& instance_vars, pipeline::ReadRules rules) const;
};

}  // namespace pinion::cli
