#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "pipeline/model.h"
#include "pipeline/yaml.h"

/// From documents to meaning. A reader finds everything that is malformed (a wrong type, a step of
/// no kind) at once; what breaks the rules of the language is found by validate.h afterwards.
namespace pinion::pipeline {

/// Who reads is more or less forgiving.
struct ReadRules {
  bool refuse_unknown_keys = true;       ///< in jobs, resources, groups, …; steps have own rules
  bool refuse_unknown_top_keys = false;  ///< beside jobs, resources, …; often they hold anchors
  bool refuse_repeated_keys = false;
};
/// The server, when a client saves a pipeline.
inline constexpr ReadRules kServerRules{};
/// The set_pipeline step.
inline constexpr ReadRules kStepRules{.refuse_repeated_keys = true};
/// The client, before it asks the server.
inline constexpr ReadRules kClientRules{.refuse_unknown_keys = false, .refuse_repeated_keys = true};
/// validate-pipeline --strict.
inline constexpr ReadRules kStrictRules{.refuse_unknown_top_keys = true,
                                        .refuse_repeated_keys = true};

/// A pipeline as far as it could be read; complete when there are no issues.
struct ParsedPipeline {
  Pipeline pipeline;
  SourceMap sources;  ///< by the paths that issues and messages of validation use
  std::vector<Issue> issues;
};

struct ParsedTaskConfig {
  protocol::TaskConfig config;
  std::vector<std::string> unknown_fields;
  std::vector<Issue> issues;
};

/// Reads text. The error is broken YAML (kInvalid) or a limit (kTooLarge).
Result<ParsedPipeline> ReadPipeline(std::string_view text, ReadRules rules = kServerRules);
/// Reads a tree; repeated keys are its parser's business.
ParsedPipeline ReadPipeline(const Node& root, ReadRules rules = kServerRules);

/// A task file, or the config that `fly execute` sends. Neither unknown fields nor a missing
/// platform is an issue yet.
Result<ParsedTaskConfig> ReadTaskConfig(std::string_view text);
ParsedTaskConfig ReadTaskConfig(const Node& root);

/// Reads a task file and holds it to all rules: kInvalid with everything that is wrong.
Result<protocol::TaskConfig> LoadTaskConfig(std::string_view text);

}  // namespace pinion::pipeline
