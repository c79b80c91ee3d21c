#include <cmath>

#include "base/clock.h"
#include "base/text.h"
#include "base/units.h"
#include "pipeline/reader.h"
#include "pipeline/step_reader.h"
#include "pipeline/validate.h"

namespace pinion::pipeline {
namespace {

constexpr auto kIgnore = ValueReader::Unknown::kIgnore;

constexpr std::string_view kTaskKeys[] = {"platform",         "rootfs_uri", "image_resource",
                                          "container_limits", "params",     "run",
                                          "inputs",           "outputs",    "caches"};

}  // namespace

void StepReader::ReadTaskConfig(const Node& node, const std::string& path,
                                protocol::TaskConfig& out, std::vector<std::string>& unknown) {
  const auto read_run = [&](const Node& value, const std::string& at) {
    values_.Fields(value, at,
                   {{"path", [&](auto& n, auto& p) { values_.Text(n, p, out.run.path); }},
                    {"args", [&](auto& n, auto& p) { values_.Texts(n, p, out.run.args); }},
                    {"dir", [&](auto& n, auto& p) { values_.Text(n, p, out.run.dir); }},
                    {"user", [&](auto& n, auto& p) { values_.Text(n, p, out.run.user); }}},
                   kIgnore);
  };
  const auto read_input = [&](const Node& item, const std::string& at) {
    auto& input = out.inputs.emplace_back();
    values_.Fields(item, at,
                   {{"name", [&](auto& n, auto& p) { values_.Text(n, p, input.name); }},
                    {"path", [&](auto& n, auto& p) { values_.Text(n, p, input.path); }},
                    {"optional", [&](auto& n, auto& p) { values_.Bool(n, p, input.optional); }}},
                   kIgnore);
  };
  const auto read_output = [&](const Node& item, const std::string& at) {
    auto& output = out.outputs.emplace_back();
    values_.Fields(item, at,
                   {{"name", [&](auto& n, auto& p) { values_.Text(n, p, output.name); }},
                    {"path", [&](auto& n, auto& p) { values_.Text(n, p, output.path); }}},
                   kIgnore);
  };
  values_.Fields(
      node, path,
      {{"platform", [&](auto& n, auto& p) { values_.Text(n, p, out.platform); }},
       {"rootfs_uri", [&](auto& n, auto& p) { values_.Text(n, p, out.rootfs_uri); }},
       {"image_resource", [&](auto& n, auto& p) { ReadImageResource(n, p, out.image_resource); }},
       {"container_limits", [&](auto& n, auto& p) { ReadLimits(n, p, out.container_limits); }},
       {"params", [&](auto& n, auto& p) { ReadEnvironment(n, p, out.params); }},
       {"run", read_run},
       {"inputs", [&](auto& n, auto& p) { values_.List(n, p, read_input); }},
       {"outputs", [&](auto& n, auto& p) { values_.List(n, p, read_output); }},
       {"caches",
        [&](auto& n, auto& p) {
          values_.List(n, p, [&](const Node& item, const std::string& at) {
            ReadCache(item, at, out.caches.emplace_back());
          });
        }}},
      kIgnore);
  for (const NodeEntry& entry : node.entries) {
    const std::string key = KeyText(entry.key).value_or("");
    bool known = false;
    for (const std::string_view name : kTaskKeys)
      known = known || name == key;
    if (!known) unknown.push_back(key);
  }
}

void StepReader::ReadImageResource(const Node& node, const std::string& path,
                                   std::optional<protocol::ImageResource>& out) {
  if (node.IsNull()) return;
  auto& image = out.emplace();
  values_.Fields(node, path,
                 {{"name", [&](auto& n, auto& p) { values_.Text(n, p, image.name); }},
                  {"type", [&](auto& n, auto& p) { values_.Text(n, p, image.type); }},
                  {"source", [&](auto& n, auto& p) { values_.Object(n, p, image.source); }},
                  {"version",
                   [&](auto& n, auto& p) {
                     if (!n.IsNull()) values_.TextMap(n, p, image.version.emplace());
                   }},
                  {"params", [&](auto& n, auto& p) { values_.Object(n, p, image.params); }},
                  {"tags", [&](auto& n, auto& p) { values_.Tags(n, p, image.tags); }}},
                 kIgnore);
}

void StepReader::ReadCache(const Node& node, const std::string& path, protocol::TaskCache& out) {
  values_.Fields(node, path,
                 {{"path", [&](auto& n, auto& p) { values_.Text(n, p, out.path); }},
                  {"ttl",
                   [&](auto& n, auto& p) {
                     values_.Text(n, p, out.ttl);
                     if (out.ttl.empty()) return;
                     const auto ttl = ParseDuration(out.ttl);
                     if (!ttl) {
                       values_.Add(n, p, ttl.error().message);
                     } else if (*ttl < std::chrono::seconds(1)) {
                       values_.Add(n, p, "a cache is kept for 1s at least, not " + out.ttl);
                     }
                   }}},
                 kIgnore);
}

ParsedTaskConfig ReadTaskConfig(const Node& root) {
  ParsedTaskConfig parsed;
  SourceMap sources;
  StepReader(parsed.issues, sources).ReadTaskConfig(root, "", parsed.config, parsed.unknown_fields);
  return parsed;
}

Result<ParsedTaskConfig> ReadTaskConfig(std::string_view text) {
  const auto document = ParseYaml(text);
  if (!document) return std::unexpected(document.error());
  return ReadTaskConfig(document->root);
}

Result<protocol::TaskConfig> LoadTaskConfig(std::string_view text) {
  auto parsed = ReadTaskConfig(text);
  if (!parsed) return std::unexpected(std::move(parsed).error());
  std::string message = IssuesText(parsed->issues);
  const auto add = [&](const std::string& line) {
    if (!message.empty()) message += '\n';
    message += line;
  };
  if (!parsed->unknown_fields.empty()) {
    add("unknown fields: [" + Join(parsed->unknown_fields, " ") + "]");
  }
  const auto broken = ValidateTaskConfig(parsed->config);
  if (!broken.empty()) {
    add("invalid task configuration:");
    for (const std::string& line : broken)
      add(line);
  }
  if (!message.empty()) return Fail(ErrorKind::kInvalid, message);
  return std::move(parsed->config);
}

}  // namespace pinion::pipeline
