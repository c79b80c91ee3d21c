#include "pipeline/step_reader.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "base/text.h"
#include "base/units.h"

namespace pinion::pipeline {

/// The keys of one step: each part takes those it knows, what is left is unknown.
class StepReader::Keys {
 public:
  explicit Keys(const Node& step) : step_(step), taken_(step.entries.size(), false) {}

  bool Has(std::string_view key) const { return Index(key) < taken_.size(); }
  /// The key's value, now known; null if it is not there.
  const Node* Take(std::string_view key) {
    const std::size_t index = Index(key);
    if (index == taken_.size()) return nullptr;
    taken_[index] = true;
    return &step_.entries[index].value;
  }
  bool AnyTaken() const { return std::ranges::find(taken_, true) != taken_.end(); }
  /// What no part took, null if there is nothing.
  Json Left() const {
    JsonObject left;
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      if (taken_[i]) continue;
      const NodeEntry& entry = step_.entries[i];
      left.Set(KeyText(entry.key).value_or(""), NodeToJson(entry.value).value_or(Json()));
    }
    return left.empty() ? Json() : Json(std::move(left));
  }
  Position at() const { return step_.at; }

 private:
  std::size_t Index(std::string_view key) const {
    for (std::size_t i = 0; i < taken_.size(); ++i) {
      const Node& node = step_.entries[i].key;
      if (!taken_[i] && node.IsText() && node.scalar.AsString() == key) return i;
    }
    return taken_.size();
  }

  const Node& step_;
  std::vector<bool> taken_;
};

void StepReader::Read(const Node& node, const std::string& path, Step& out) {
  sources_.Add(path, node.at);
  if (!node.IsNull() && !node.IsMapping()) return values_.Mismatch(node, path, "a step");
  Keys keys(node);
  ReadModifiers(keys, path, out);
  const bool modified = keys.AnyTaken();
  const std::string inner = out.across ? path + ".across" : path;
  if (!ReadCore(keys, inner, out)) {
    const bool timed = out.timeout.has_value();
    values_.Add(node, path,
                modified || timed
                    ? "no core step type declared: add get, put, task or another kind of step"
                    : "no step configured: it needs get, put, task or another kind of step");
    return;
  }
  out.unknown_fields = keys.Left();
}

void StepReader::ReadModifiers(Keys& keys, const std::string& path, Step& out) {
  const std::array<std::pair<std::string_view, Box<Step>*>, 5> hooks = {
      {{"ensure", &out.ensure},
       {"on_error", &out.on_error},
       {"on_abort", &out.on_abort},
       {"on_failure", &out.on_failure},
       {"on_success", &out.on_success}}};
  for (const auto& [name, hook] : hooks) {
    if (const Node* value = keys.Take(name)) {
      Read(*value, path + "." + std::string(name), hook->emplace());
    }
  }
  if (keys.Has("across")) ReadAcross(keys, path + ".across", out.across.emplace());
  if (const Node* value = keys.Take("attempts")) {
    const std::string inner = path + (out.across ? ".across" : "") + ".attempts";
    sources_.Add(inner, value->at);
    values_.Integer(*value, inner, out.attempts.emplace(0));
  }
}

bool StepReader::ReadCore(Keys& keys, const std::string& path, Step& out) {
  if (keys.Has("run")) return ReadRun(keys, path, out), true;
  if (keys.Has("task")) return ReadTask(keys, path, out), true;
  if (keys.Has("put")) return ReadPut(keys, path, out), true;
  if (keys.Has("get")) return ReadGet(keys, path, out), true;
  if (const Node* value = keys.Take("timeout")) {
    sources_.Add(path + ".timeout", value->at);
    values_.Text(*value, path + ".timeout", out.timeout.emplace());
  }
  if (keys.Has("set_pipeline")) return ReadSetPipeline(keys, path, out), true;
  if (keys.Has("load_var")) return ReadLoadVar(keys, path, out), true;
  if (const Node* value = keys.Take("try")) {
    Read(*value, path + ".try", out.core.emplace<TryStep>().step.emplace());
    return true;
  }
  if (const Node* value = keys.Take("do")) {
    auto& step = out.core.emplace<DoStep>();
    ReadSteps(*value, path + ".do", step.steps);
    if (const Node* tags = keys.Take("tags")) values_.Tags(*tags, path + ".tags", step.tags);
    return true;
  }
  if (keys.Has("in_parallel")) return ReadInParallel(keys, path, out), true;
  return false;
}

void StepReader::ReadSteps(const Node& node, const std::string& path, std::vector<Step>& out) {
  if (node.IsSequence()) out.reserve(node.items.size());
  values_.List(node, path, [&](const Node& item, const std::string& item_path) {
    Read(item, item_path, out.emplace_back());
  });
}

void StepReader::ReadGet(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<GetStep>();
  const Node& name = *keys.Take("get");
  values_.Text(name, path + ".get", step.name);
  const std::string inner = path + ".get(" + step.name + ")";
  sources_.Add(inner, name.at);
  if (const Node* value = keys.Take("resource")) {
    values_.Text(*value, inner + ".resource", step.resource);
  }
  if (const Node* value = keys.Take("version")) {
    ReadVersion(*value, inner + ".version", step.version);
  }
  if (const Node* value = keys.Take("params")) {
    values_.Object(*value, inner + ".params", step.params);
  }
  if (const Node* value = keys.Take("passed")) {
    sources_.Add(inner + ".passed", value->at);
    values_.Texts(*value, inner + ".passed", step.passed);
  }
  if (const Node* value = keys.Take("trigger")) {
    values_.Bool(*value, inner + ".trigger", step.trigger);
  }
  if (const Node* value = keys.Take("tags")) values_.Tags(*value, inner + ".tags", step.tags);
  if (const Node* value = keys.Take("timeout")) {
    values_.Text(*value, inner + ".timeout", step.timeout);
  }
}

void StepReader::ReadPut(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<PutStep>();
  const Node& name = *keys.Take("put");
  values_.Text(name, path + ".put", step.name);
  const std::string inner = path + ".put(" + step.name + ")";
  sources_.Add(inner, name.at);
  if (const Node* value = keys.Take("resource")) {
    values_.Text(*value, inner + ".resource", step.resource);
  }
  if (const Node* value = keys.Take("params")) {
    values_.Object(*value, inner + ".params", step.params);
  }
  if (const Node* value = keys.Take("inputs")) ReadInputs(*value, inner + ".inputs", step.inputs);
  if (const Node* value = keys.Take("tags")) values_.Tags(*value, inner + ".tags", step.tags);
  if (const Node* value = keys.Take("get_params")) {
    values_.Object(*value, inner + ".get_params", step.get_params);
  }
  if (const Node* value = keys.Take("timeout")) {
    values_.Text(*value, inner + ".timeout", step.timeout);
  }
  if (const Node* value = keys.Take("no_get")) {
    values_.Bool(*value, inner + ".no_get", step.no_get);
  }
}

void StepReader::ReadTask(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<TaskStep>();
  const Node& name = *keys.Take("task");
  values_.Text(name, path + ".task", step.name);
  const std::string inner = path + ".task(" + step.name + ")";
  sources_.Add(inner, name.at);
  const auto read = [&](std::string_view key, auto&& reader) {
    if (const Node* value = keys.Take(key)) reader(*value, inner + "." + std::string(key));
  };
  read("privileged", [&](auto& node, auto at) { values_.Bool(node, at, step.privileged); });
  read("hermetic", [&](auto& node, auto at) { values_.Bool(node, at, step.hermetic); });
  read("file", [&](auto& node, auto at) { values_.Text(node, at, step.file); });
  read("container_limits",
       [&](auto& node, auto at) { ReadLimits(node, at, step.container_limits); });
  read("config", [&](auto& node, const std::string& at) {
    if (node.IsNull()) return;
    sources_.Add(at, node.at);
    ReadTaskConfig(node, at, step.config.emplace(), step.unknown_config_fields);
  });
  read("params", [&](auto& node, auto at) { ReadEnvironment(node, at, step.params); });
  read("vars", [&](auto& node, auto at) { values_.Object(node, at, step.vars); });
  read("tags", [&](auto& node, auto at) { values_.Tags(node, at, step.tags); });
  read("input_mapping",
       [&](auto& node, auto at) { values_.TextMap(node, at, step.input_mapping); });
  read("output_mapping",
       [&](auto& node, auto at) { values_.TextMap(node, at, step.output_mapping); });
  read("image", [&](auto& node, auto at) { values_.Text(node, at, step.image); });
  read("timeout", [&](auto& node, auto at) { values_.Text(node, at, step.timeout); });
}

void StepReader::ReadRun(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<RunStep>();
  const Node& message = *keys.Take("run");
  values_.Text(message, path + ".run", step.message);
  if (const Node* value = keys.Take("type")) values_.Text(*value, path + ".run.type", step.type);
  const std::string inner = path + ".run(" + step.type + "." + step.message + ")";
  sources_.Add(inner, message.at);
  if (const Node* value = keys.Take("params")) {
    values_.Object(*value, inner + ".params", step.params);
  }
  if (const Node* value = keys.Take("privileged")) {
    values_.Bool(*value, inner + ".privileged", step.privileged);
  }
  if (const Node* value = keys.Take("tags")) values_.Tags(*value, inner + ".tags", step.tags);
  if (const Node* value = keys.Take("container_limits")) {
    ReadLimits(*value, inner + ".container_limits", step.container_limits);
  }
  if (const Node* value = keys.Take("timeout")) {
    values_.Text(*value, inner + ".timeout", step.timeout);
  }
}

void StepReader::ReadSetPipeline(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<SetPipelineStep>();
  const Node& name = *keys.Take("set_pipeline");
  values_.Text(name, path + ".set_pipeline", step.name);
  const std::string inner = path + ".set_pipeline(" + step.name + ")";
  sources_.Add(inner, name.at);
  if (const Node* value = keys.Take("file")) values_.Text(*value, inner + ".file", step.file);
  if (const Node* value = keys.Take("team")) values_.Text(*value, inner + ".team", step.team);
  if (const Node* value = keys.Take("vars")) values_.Object(*value, inner + ".vars", step.vars);
  if (const Node* value = keys.Take("var_files")) {
    values_.Texts(*value, inner + ".var_files", step.var_files);
  }
  if (const Node* value = keys.Take("instance_vars")) {
    values_.Object(*value, inner + ".instance_vars", step.instance_vars);
  }
}

void StepReader::ReadLoadVar(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<LoadVarStep>();
  const Node& name = *keys.Take("load_var");
  values_.Text(name, path + ".load_var", step.name);
  const std::string inner = path + ".load_var(" + step.name + ")";
  sources_.Add(inner, name.at);
  if (const Node* value = keys.Take("file")) values_.Text(*value, inner + ".file", step.file);
  if (const Node* value = keys.Take("format")) {
    values_.Text(*value, inner + ".format", step.format);
  }
  if (const Node* value = keys.Take("reveal")) {
    values_.Bool(*value, inner + ".reveal", step.reveal);
  }
}

void StepReader::ReadInParallel(Keys& keys, const std::string& path, Step& out) {
  auto& step = out.core.emplace<InParallelStep>();
  const Node& value = *keys.Take("in_parallel");
  const std::string inner = path + ".in_parallel";
  if (value.IsSequence()) {
    ReadSteps(value, inner + ".steps", step.steps);
  } else if (value.IsMapping()) {
    values_.Fields(
        value, inner,
        {{"steps", [&](auto& node, auto& at) { ReadSteps(node, at, step.steps); }},
         {"limit", [&](auto& node, auto& at) { values_.Integer(node, at, step.limit); }},
         {"fail_fast", [&](auto& node, auto& at) { values_.Bool(node, at, step.fail_fast); }}},
        ValueReader::Unknown::kIgnore);
  } else {
    values_.Mismatch(value, inner, "a list of steps or a mapping with steps");
  }
  if (const Node* tags = keys.Take("tags")) values_.Tags(*tags, path + ".tags", step.tags);
}

void StepReader::ReadAcross(Keys& keys, const std::string& path, Across& out) {
  const Node& value = *keys.Take("across");
  sources_.Add(path, value.at);
  values_.List(value, path, [&](const Node& item, const std::string& item_path) {
    sources_.Add(item_path, item.at);
    AcrossVar& var = out.vars.emplace_back();
    values_.Fields(item, item_path,
                   {{"var", [&](auto& node, auto& at) { values_.Text(node, at, var.var); }},
                    {"values", [&](auto& node, auto& at) { values_.Any(node, at, var.values); }},
                    {"max_in_flight",
                     [&](const Node& node, const std::string& at) {
                       sources_.Add(at, node.at);
                       if (node.IsNull()) return;
                       if (node.IsText() && node.scalar.AsString() == "all") {
                         var.max_in_flight = "all";
                       } else {
                         int limit = 0;
                         if (node.IsText()) {
                           values_.Mismatch(node, at, "a whole number or 'all'");
                         } else {
                           values_.Integer(node, at, limit);
                         }
                         var.max_in_flight = limit;
                       }
                     }}},
                   ValueReader::Unknown::kRefuse);
  });
  if (const Node* fail_fast = keys.Take("fail_fast")) {
    values_.Bool(*fail_fast, path + ".fail_fast", out.fail_fast);
  }
}

void StepReader::ReadVersion(const Node& node, const std::string& path,
                             std::optional<VersionSelector>& out) {
  if (node.IsNull()) return;
  VersionSelector selector;
  if (node.IsText()) {
    selector.every = node.scalar.AsString() == "every";
    selector.latest = node.scalar.AsString() == "latest";
  } else if (node.IsMapping()) {
    // Unlike elsewhere, null is no text here.
    for (const NodeEntry& entry : node.entries) {
      const std::string key = KeyText(entry.key).value_or("");
      if (!entry.value.IsText()) {
        values_.Mismatch(entry.value, path + "." + key, "text");
        continue;
      }
      if (!selector.pinned) selector.pinned.emplace();
      (*selector.pinned)[key] = entry.value.scalar.AsString();
    }
    if (node.entries.empty()) selector.pinned.emplace();
  } else {
    return values_.Mismatch(node, path, "'latest', 'every' or a mapping of texts");
  }
  out = std::move(selector);
}

void StepReader::ReadInputs(const Node& node, const std::string& path, Json& out) {
  if (node.IsNull()) return;
  if (node.IsText()) {
    const std::string& text = node.scalar.AsString();
    out = text == "all" || text == "detect" ? text : "";
    return;
  }
  if (!node.IsSequence()) {
    return values_.Mismatch(node, path, "'all', 'detect' or a list of names");
  }
  JsonArray names;
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    const Node& item = node.items[i];
    if (item.IsText()) {
      names.push_back(Trim(item.scalar.AsString()));
    } else {
      values_.Mismatch(item, path + "[" + std::to_string(i) + "]", "text");
    }
  }
  out = std::move(names);
}

void StepReader::ReadLimits(const Node& node, const std::string& path,
                            std::optional<protocol::ContainerLimits>& out) {
  if (node.IsNull()) return;
  auto& limits = out.emplace();
  const auto read_cpu = [&](const Node& value, const std::string& at) {
    if (value.IsNull()) return;
    if (value.kind != Node::Kind::kScalar || !value.scalar.IsNumber()) {
      return values_.Mismatch(value, at, "a number of shares");
    }
    limits.cpu = static_cast<std::int64_t>(value.scalar.AsDouble());
  };
  const auto read_memory = [&](const Node& value, const std::string& at) {
    if (value.IsNull()) return;
    limits.memory = 0;  // a boolean, a list or a mapping means nothing
    if (value.kind != Node::Kind::kScalar) return;
    if (value.scalar.IsNumber()) {
      limits.memory = static_cast<std::int64_t>(value.scalar.AsDouble());
    } else if (value.IsText()) {
      const std::string& text = value.scalar.AsString();
      const std::size_t unit = text.find_first_not_of("0123456789");
      const bool bad_unit = unit != std::string::npos &&
                            std::string_view("kKmMgG").find(text[unit]) == std::string_view::npos;
      const auto bytes = ParseBytes(text);
      if (!bytes || bad_unit) {
        return values_.Mismatch(value, at, "a number of bytes, or one with K, M or G");
      }
      limits.memory = *bytes;
    }
  };
  values_.Fields(node, path, {{"cpu", read_cpu}, {"memory", read_memory}},
                 ValueReader::Unknown::kIgnore);
}

void StepReader::ReadEnvironment(const Node& node, const std::string& path,
                                 std::map<std::string, std::string>& out) {
  if (node.IsNull()) return;
  if (!node.IsMapping()) return values_.Mismatch(node, path, "a mapping");
  for (const NodeEntry& entry : node.entries) {
    const std::string key = KeyText(entry.key).value_or("");
    std::string& value = out[key];
    if (entry.value.IsNull()) continue;
    if (entry.value.IsText()) {
      value = entry.value.scalar.AsString();
      continue;
    }
    Json json;
    values_.Any(entry.value, path + "." + key, json);
    value = ToText(json);
  }
}

}  // namespace pinion::pipeline
