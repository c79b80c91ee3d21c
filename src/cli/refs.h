#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"

/// How pipelines, jobs and versions are named on the command line. All parsers throw CommandError.
namespace pinion::cli {

/// Names and values of a query string, not encoded yet.
using QueryItems = std::vector<std::pair<std::string, std::string>>;
/// Percent-encoded and sorted by name, with its '?'; empty if there are none.
std::string QueryText(QueryItems items);

/// A pipeline, with its instance vars when it is an instance of a group.
struct PipelineRef {
  std::string name;
  Json instance_vars;  ///< an object, or null

  /// NAME or NAME/k:v,…
  std::string Text() const;
  QueryItems Query() const;
};

/// Reads what pipeline::InstanceVarsText() writes.
Json ParseInstanceVars(std::string_view text);
/// From the query of a page's URL.
Json InstanceVarsFromQuery(std::string_view query);

PipelineRef ParsePipelineRef(std::string_view text);
/// The pipeline of an answer's object: its members `name` and `vars`.
PipelineRef RefOf(const Json& object, std::string_view name = "name",
                  std::string_view vars = "instance_vars");

/// A job or resource of a pipeline.
struct PartRef {
  PipelineRef pipeline;
  std::string name;
  std::string Text() const { return pipeline.Text() + "/" + name; }
};
/// PIPELINE[/k:v,…]/NAME; `kind` is "job" or "resource", for messages.
PartRef ParsePartRef(std::string_view text, std::string_view kind);

/// KEY:VALUE of a resource's version, one a text.
using VersionPairs = std::vector<std::pair<std::string, std::string>>;
VersionPairs ParseVersion(const std::vector<std::string>& texts);
Json VersionJson(const VersionPairs& pairs);
/// k:v,… sorted.
std::string VersionText(const Json& version);

/// NAME=VALUE.
std::pair<std::string, std::string> ParsePair(std::string_view text, std::string_view kind,
                                              std::string_view value_name);

/// A path as the user gave it: patterns must match exactly one file, "-" is the standard input.
std::string ExpandPath(const std::string& path);

/// Replaces ":name" segments by the parameters, percent-encoded, in order.
std::string Path(std::string_view pattern, const std::vector<std::string>& parameters);

/// A YAML value of the command line.
Json ParseYamlValue(std::string_view text, std::string_view what);

}  // namespace pinion::cli
