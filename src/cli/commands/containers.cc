#include <algorithm>
#include <ostream>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/shapes.h"
#include "cli/table.h"
#include "cli/target.h"
#include "pipeline/yaml.h"

namespace pinion::cli {
namespace {

/// The value as YAML on one line: "a:b,c:d".
std::string OneLine(const Json& value) {
  const std::string yaml = pipeline::EmitYaml(value);
  std::vector<std::string> lines;
  for (const std::string_view line : Split(Trim(yaml), '\n'))
    lines.emplace_back(line);
  std::string text = Join(lines, ",");
  std::erase(text, ' ');
  return text;
}

std::string MapText(const Json& object, std::string_view member) {
  const Json* found = object.Find(member);
  return found && !found->IsNull() ? OneLine(*found) : "null";
}

std::string TypeText(const Json& type) {
  const Json* base = type.Find("base_resource_type");
  if (base && base->IsObject()) return OneLine(*base);
  const Json* inner = type.Find("resource_type");
  if (!inner || !inner->IsObject()) return "";
  return "type:resource(" + TypeText(*inner) + "),version:" + MapText(type, "version");
}

std::string Identifier(const Json& volume, bool details) {
  const std::string_view type = volume.StringAt("type");
  const auto text = [&volume](std::string_view member) {
    return std::string(volume.StringAt(member));
  };
  if (type == "container") {
    if (!details) return text("container_handle");
    std::string full = "container:" + text("container_handle") + ",path:" + text("path");
    if (!text("parent_handle").empty()) full += ",parent:" + text("parent_handle");
    return full;
  }
  if (type == "task-cache") {
    return text("pipeline_name") + "/" + text("job_name") + "/" + text("step_name");
  }
  if (type == "resource") {
    const Json* resource = volume.Find("resource_type");
    if (!resource || !resource->IsObject()) return "n/a";
    return details ? TypeText(*resource) : MapText(*resource, "version");
  }
  if (type == "resource-type") {
    const Json* base = volume.Find("base_resource_type");
    if (!base || !base->IsObject()) return "n/a";
    return details ? OneLine(*base) : std::string(base->StringAt("name"));
  }
  return "n/a";
}

}  // namespace

int Containers(Context& context, const Command& command, const Words& words) {
  bool json = false;
  std::string team;
  Options options;
  AddJson(options, json);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context, team);
  const Json containers = target.api->AskJson({.path = target.TeamPath("/containers")});
  if (json) {
    PrintJson(context, containers, Shape::kContainer);
    return 0;
  }
  Table table{
      {"handle", "worker", "pipeline", "job", "build #", "build id", "type", "name", "attempt"},
      {}};
  for (const Json& container : containers.IsArray() ? containers.AsArray() : JsonArray()) {
    const auto text = [&container](std::string_view member) {
      return std::string(container.StringAt(member));
    };
    const std::int64_t build = container.IntegerAt("build_id");
    table.rows.push_back(
        {text("id"), text("worker_name"),
         OrNone(RefOf(container, "pipeline_name", "pipeline_instance_vars").Text()),
         OrNone(text("job_name")), OrNone(text("build_name")),
         OrNone(build == 0 ? "" : std::to_string(build)), text("type"),
         OrNone(text("step_name") + text("resource_name")), OrNotAvailable(text("attempt"))});
  }
  table.SortByFirstColumn();
  table.Print(context);
  return 0;
}

int Volumes(Context& context, const Command& command, const Words& words) {
  bool details = false, json = false;
  Options options;
  options.Add({.name = "details", .doc = "Say more of each volume", .short_name = 'd'}, details);
  AddJson(options, json);
  ParseWords(context, command, options, words);
  Target target = OpenTarget(context);
  const Json answer = target.api->AskJson({.path = target.TeamPath("/volumes")});
  if (json) {
    PrintJson(context, answer, Shape::kVolume);
    return 0;
  }
  JsonArray volumes = answer.IsArray() ? answer.AsArray() : JsonArray();
  std::ranges::sort(volumes, {}, [](const Json& volume) {
    return std::pair(volume.StringAt("worker_name"), volume.StringAt("id"));
  });
  Table table{{"handle", "worker", "type", "identifier"}, {}};
  for (const Json& volume : volumes) {
    table.rows.push_back({std::string(volume.StringAt("id")),
                          std::string(volume.StringAt("worker_name")),
                          std::string(volume.StringAt("type")), Identifier(volume, details)});
  }
  table.Print(context);
  return 0;
}

}  // namespace pinion::cli
