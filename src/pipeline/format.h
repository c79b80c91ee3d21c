#pragma once

#include <string>
#include <string_view>

#include "pipeline/model.h"

/// The normal form of pipelines: one spelling for one meaning.
namespace pinion::pipeline {

/// As clients read it in answers, member for member. Steps and free values have their members in
/// the order of their names, so equal parts have equal texts.
Json ConfigToJson(const Pipeline& pipeline);
/// kInvalid naming what does not fit. Unknown members are ignored.
Result<Pipeline> ConfigFromJson(const Json& json);

/// The parts, as the database keeps them.
Json ToJson(const Job& job);
Json ToJson(const Resource& resource);
Json ToJson(const Prototype& prototype);
Json ToJson(const Group& group);
Json ToJson(const VarSource& source);
Json ToJson(const Display& display);
Json ToJson(const Step& step);
Json ResourceTypeToJson(const protocol::ResourceType& type);
Json TaskConfigToJson(const protocol::TaskConfig& config);
Result<Job> JobFromJson(const Json& json);
Result<Resource> ResourceFromJson(const Json& json);
Result<protocol::ResourceType> ResourceTypeFromJson(const Json& json);
Result<Prototype> PrototypeFromJson(const Json& json);
/// From the database's text.
Result<Job> ParseJob(std::string_view text);
Result<Resource> ParseResource(std::string_view text);
Result<protocol::ResourceType> ParseResourceType(std::string_view text);
Result<Prototype> ParsePrototype(std::string_view text);

/// What `format-pipeline` prints: the pipeline in block style, all keys sorted.
std::string PipelineToYaml(const Pipeline& pipeline);
/// Reads any pipeline, valid or not, and prints it so. kInvalid with all that is malformed.
Result<std::string> FormatPipeline(std::string_view text);

}  // namespace pinion::pipeline
