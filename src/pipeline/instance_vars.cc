#include "pipeline/instance_vars.h"

#include <algorithm>

#include "base/text.h"
#include "pipeline/yaml.h"
#include "vars/reference.h"

namespace pinion::pipeline {
namespace {

Json SortedByName(const Json& value) {
  if (value.IsArray()) {
    JsonArray items;
    for (const Json& item : value.AsArray())
      items.push_back(SortedByName(item));
    return items;
  }
  if (!value.IsObject()) return value;
  JsonObject object;
  for (const auto& [name, member] : value.AsObject())
    object.Set(name, SortedByName(member));
  object.SortByName();
  return object;
}

using FlatVars = std::vector<std::pair<std::string, Json>>;

void Flatten(const Json& value, vars::Reference& at, FlatVars& out) {
  if (!value.IsObject() || value.AsObject().empty()) {
    out.emplace_back(at.Text(), SortedByName(value));
    return;
  }
  for (const auto& [name, member] : value.AsObject()) {
    at.fields.push_back(name);
    Flatten(member, at, out);
    at.fields.pop_back();
  }
}

/// Whether YAML would read the text as something else, or the reference's own signs are in it.
bool NeedsQuotes(const std::string& text) {
  const auto document = ParseYaml(text);
  if (!document || !document->root.IsText()) return true;
  return text.find_first_of(",: /") != std::string::npos;
}

}  // namespace

std::vector<std::pair<std::string, Json>> FlatInstanceVars(const Json& vars) {
  FlatVars flat;
  if (!vars.IsObject()) return flat;
  for (const auto& [name, value] : vars.AsObject()) {
    vars::Reference at{.path = name};
    Flatten(value, at, flat);
  }
  std::ranges::sort(flat, {}, &FlatVars::value_type::first);
  return flat;
}

std::string InstanceVarsText(const Json& vars) {
  std::vector<std::string> parts;
  for (const auto& [key, value] : FlatInstanceVars(vars)) {
    std::string text = ToText(value);
    if (value.IsString() && !NeedsQuotes(value.AsString())) text = text.substr(1, text.size() - 2);
    parts.push_back(key + ":" + text);
  }
  return Join(parts, ",");
}

}  // namespace pinion::pipeline
