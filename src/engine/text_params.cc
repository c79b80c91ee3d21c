#include "engine/text_params.h"

#include <algorithm>
#include <array>
#include <string_view>

namespace pinion::engine {
namespace {

/// Members of a plan that hold no further tasks but in templates, which are filled in on their own.
constexpr std::array<std::string_view, 9> kWithoutTasks = {
    "across", "artifact_input", "artifact_output", "check", "get", "load_var", "put",
    "run",    "set_pipeline"};

Json Texts(const Json& params) {
  if (!params.IsObject()) return params;
  JsonObject texts;
  for (const auto& [name, value] : params.AsObject()) {
    texts.Set(name, value.IsString() ? value : Json(value.IsNull() ? "" : ToText(value)));
  }
  return texts;
}

Json WithTextMember(const Json& object, bool has_config) {
  if (!object.IsObject()) return object;
  JsonObject members;
  for (const auto& [name, value] : object.AsObject()) {
    if (name == "params") {
      members.Set(name, Texts(value));
    } else if (has_config && name == "config") {
      members.Set(name, WithTextMember(value, false));
    } else {
      members.Set(name, value);
    }
  }
  return members;
}

}  // namespace

Json WithTextParams(const Json& plan) {
  if (plan.IsArray()) {
    JsonArray items;
    for (const Json& item : plan.AsArray())
      items.push_back(WithTextParams(item));
    return items;
  }
  if (!plan.IsObject()) return plan;
  JsonObject members;
  for (const auto& [name, value] : plan.AsObject()) {
    if (name == "task") {
      members.Set(name, WithTextMember(value, true));
    } else if (std::ranges::find(kWithoutTasks, name) != kWithoutTasks.end()) {
      members.Set(name, value);
    } else {
      members.Set(name, WithTextParams(value));
    }
  }
  return members;
}

}  // namespace pinion::engine
