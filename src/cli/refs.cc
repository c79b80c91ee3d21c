#include "cli/refs.h"

#include <glob.h>

#include <algorithm>

#include "base/encoding.h"
#include "base/text.h"
#include "cli/errors.h"
#include "http/message.h"
#include "pipeline/instance_vars.h"
#include "pipeline/yaml.h"
#include "vars/reference.h"
#include "vars/variables.h"

namespace pinion::cli {
namespace {

/// The place of `wanted` outside of quotes, and outside of brackets if asked for; npos if none.
std::size_t FindOutside(std::string_view text, char wanted, std::string_view quotes,
                        bool mind_brackets) {
  char quote = 0;
  int depth = 0;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (quote) {
      if (c == quote) quote = 0;
      continue;
    }
    if (c == wanted && depth == 0) return i;
    if (mind_brackets && (c == '{' || c == '[')) ++depth;
    if (mind_brackets && (c == '}' || c == ']')) --depth;
    if (quotes.find(c) != std::string_view::npos) quote = c;
  }
  return std::string_view::npos;
}

vars::Reference ParseKey(std::string_view key) {
  auto reference = vars::Reference::Parse(key);
  if (!reference) throw CommandError(reference.error().message);
  return *reference;
}

}  // namespace

std::string QueryText(QueryItems items) {
  std::ranges::sort(items);
  std::string text;
  for (const auto& [name, value] : items)
    text += (text.empty() ? "?" : "&") + PercentEncode(name) + "=" + PercentEncode(value);
  return text;
}

std::string PipelineRef::Text() const {
  if (!instance_vars.IsObject()) return name;
  return name + "/" + pipeline::InstanceVarsText(instance_vars);
}

QueryItems PipelineRef::Query() const {
  QueryItems items;
  for (const auto& [key, value] : pipeline::FlatInstanceVars(instance_vars))
    items.emplace_back("vars." + key, ToText(value));
  return items;
}

Json ParseYamlValue(std::string_view text, std::string_view what) {
  const auto document = pipeline::ParseYaml(text);
  if (!document) {
    throw CommandError("invalid value for " + std::string(what) + ": " + document.error().message);
  }
  auto json = pipeline::NodeToJson(document->root);
  if (!json) {
    throw CommandError("invalid value for " + std::string(what) + ": " + json.error().message);
  }
  return *json;
}

Json ParseInstanceVars(std::string_view text) {
  vars::StaticVariables all;
  bool any = false;
  for (;;) {
    const std::size_t colon = FindOutside(text, ':', "\"", false);
    if (colon == std::string_view::npos) break;
    const std::string_view key = text.substr(0, colon);
    text.remove_prefix(colon + 1);
    const std::size_t comma = FindOutside(text, ',', "\"'", true);
    all.Set(ParseKey(key), ParseYamlValue(text.substr(0, comma), "key '" + std::string(key) + "'"));
    any = true;
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
  }
  if (!any) {
    throw CommandError("instance vars should be formatted as <key1:value1>(,<key2:value2>)");
  }
  return all.ToJson();
}

Json InstanceVarsFromQuery(std::string_view query) {
  const auto parsed = http::Query::Parse(query);
  if (!parsed) throw CommandError(parsed.error().message);
  std::map<std::string, std::string> wanted;
  for (const auto& [name, value] : *parsed) {
    if (name == "vars" || name.starts_with("vars.")) wanted.try_emplace(name, value);
  }
  if (wanted.empty()) return {};
  vars::StaticVariables all;
  for (const auto& [name, value] : wanted) {
    auto json = ParseJson(value);
    if (!json) throw CommandError("the value of " + name + " in the URL: " + json.error().message);
    all.Set(ParseKey(name), std::move(*json));
  }
  const Json root = all.ToJson();
  const Json* vars = root.Find("vars");
  return vars ? *vars : Json();
}

PipelineRef ParsePipelineRef(std::string_view text) {
  const std::size_t slash = text.find('/');
  PipelineRef ref{std::string(text.substr(0, slash)), {}};
  if (slash != std::string_view::npos)
    ref.instance_vars = ParseInstanceVars(text.substr(slash + 1));
  return ref;
}

PipelineRef RefOf(const Json& object, std::string_view name, std::string_view vars) {
  PipelineRef ref{std::string(object.StringAt(name)), {}};
  const Json* found = object.Find(vars);
  if (found && found->IsObject()) ref.instance_vars = *found;
  return ref;
}

PartRef ParsePartRef(std::string_view text, std::string_view kind) {
  const std::size_t slash = text.rfind('/');
  if (slash == std::string_view::npos || slash + 1 == text.size()) {
    throw CommandError("'" + std::string(text) + "': argument format should be <pipeline>/<" +
                       std::string(kind) + ">");
  }
  return {ParsePipelineRef(text.substr(0, slash)), std::string(text.substr(slash + 1))};
}

VersionPairs ParseVersion(const std::vector<std::string>& texts) {
  VersionPairs pairs;
  for (const std::string& text : texts) {
    const std::size_t colon = text.find(':');
    if (colon == std::string::npos || colon == 0) {
      throw CommandError("invalid version pair '" + text + "' (must be key:value)");
    }
    pairs.emplace_back(text.substr(0, colon), text.substr(colon + 1));
  }
  return pairs;
}

Json VersionJson(const VersionPairs& pairs) {
  JsonObject object;
  for (const auto& [name, value] : pairs)
    object.Set(name, value);
  object.SortByName();
  return object;
}

std::string VersionText(const Json& version) {
  std::vector<std::string> parts;
  if (version.IsObject()) {
    for (const auto& [name, value] : version.AsObject())
      parts.push_back(name + ":" + (value.IsString() ? value.AsString() : ToText(value)));
  }
  std::ranges::sort(parts);
  return Join(parts, ",");
}

std::pair<std::string, std::string> ParsePair(std::string_view text, std::string_view kind,
                                              std::string_view value_name) {
  const std::size_t equals = text.find('=');
  if (equals == std::string_view::npos || equals == 0) {
    throw CommandError("invalid " + std::string(kind) + " pair '" + std::string(text) +
                       "' (must be name=" + std::string(value_name) + ")");
  }
  return {std::string(text.substr(0, equals)), std::string(text.substr(equals + 1))};
}

std::string ExpandPath(const std::string& path) {
  if (path.empty()) return path;
  if (path == "-") return "/dev/stdin";
  glob_t found{};
  const int status = ::glob(path.c_str(), 0, nullptr, &found);
  std::vector<std::string> matches(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  ::globfree(&found);
  if (status != 0 || matches.empty()) throw CommandError("path '" + path + "' does not exist");
  if (matches.size() > 1) {
    throw CommandError("path '" + path + "' resolves to multiple entries: " + Join(matches, ", "));
  }
  return matches.front();
}

std::string Path(std::string_view pattern, const std::vector<std::string>& parameters) {
  std::string path;
  std::size_t next = 0;
  for (const std::string_view part : Split(pattern.substr(1), '/')) {
    path += '/';
    path += part.starts_with(':') ? PercentEncode(parameters.at(next++)) : std::string(part);
  }
  return path;
}

}  // namespace pinion::cli
