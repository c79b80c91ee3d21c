#include <algorithm>
#include <ostream>

#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/prompt.h"
#include "cli/render_events.h"
#include "cli/shapes.h"
#include "cli/table.h"

namespace pinion::cli {
namespace {

/// Path below a resource; "kind" is the plural in the path.
Call PartCall(const Target& target, const PartRef& part, std::string_view kind, std::string method,
              std::string_view pattern, std::vector<std::string> parameters = {}) {
  parameters.insert(parameters.begin(), part.name);
  Call call;
  call.method = std::move(method);
  call.path =
      target.PipelinePath(part.pipeline, "/" + std::string(kind) + "/:name" + std::string(pattern),
                          std::move(parameters));
  call.query = part.pipeline.Query();
  return call;
}

Call ResourceCall(const Target& target, const PartRef& part, std::string method,
                  std::string_view pattern, std::vector<std::string> parameters = {}) {
  return PartCall(target, part, "resources", std::move(method), pattern, std::move(parameters));
}

/// The newest version that has all the pairs.
Json NewestVersion(Target& target, const PartRef& resource, const VersionPairs& version) {
  Call call = ResourceCall(target, resource, "GET", "/versions");
  for (const auto& [name, value] : version)
    call.query.emplace_back("filter", name + ":" + value);
  Json versions;
  try {
    versions = target.api->AskJson(call);
  } catch (const NotFoundAnswer&) {
  }
  if (!versions.IsArray() || versions.AsArray().empty()) {
    throw CommandError("could not find version matching " + ToText(VersionJson(version)));
  }
  return versions.AsArray().front();
}

std::string SortedText(const Json& found) {
  const Json* version = found.Find("version");
  if (!version || !version->IsObject()) return "null";
  JsonObject sorted = version->AsObject();
  sorted.SortByName();
  return ToText(sorted);
}

int Check(Context& context, const Command& command, const Words& words, bool resource_type) {
  std::string part_text, team;
  std::vector<std::string> from;
  bool async = false, shallow = false;
  Options options;
  if (resource_type) {
    options.Add({.name = "resource-type",
                 .doc = "The resource type",
                 .short_name = 'r',
                 .value_name = "PIPELINE/RESOURCE-TYPE",
                 .required = true},
                part_text);
  } else {
    AddResource(options, part_text);
  }
  options.Add(
      {.name = "from", .doc = "Version to look from", .short_name = 'f', .value_name = "KEY:VALUE"},
      from);
  options.Add({.name = "async", .doc = "Do not wait for the check", .short_name = 'a'}, async);
  options.Add({.name = "shallow", .doc = "Do not check the type first"}, shallow);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PartRef part = ParsePartRef(part_text, "resource");
  Target target = OpenTarget(context, team);
  Call call =
      PartCall(target, part, resource_type ? "resource-types" : "resources", "POST", "/check");
  call.body = ToText(JsonObject{{"from", from.empty() ? Json() : VersionJson(ParseVersion(from))},
                                {"shallow", shallow}});
  Json build;
  try {
    build = target.api->AskJson(call);
  } catch (const NotFoundAnswer&) {
    throw CommandError("pipeline '" + part.pipeline.Text() + "' or " +
                       (resource_type ? "resource-type" : "resource") + " '" + part.name +
                       "' not found\n");
  } catch (const UnexpectedAnswer& answer) {
    if (answer.status != 500) throw;
    throw CommandError(answer.body);
  }
  context.out << "checking " << context.Bold(part.Text()) << " in build " << build.IntegerAt("id")
              << '\n';
  return async ? 0 : WatchBuild(context, target, build.IntegerAt("id"));
}

int SetEnabled(Context& context, const Command& command, const Words& words, bool enable) {
  std::string resource_text;
  std::vector<std::string> version_text;
  Options options;
  AddResource(options, resource_text);
  options.Add({.name = "version",
               .doc = "The version, repeated for each key; the newest that matches is taken",
               .short_name = 'v',
               .value_name = "KEY:VALUE",
               .required = true},
              version_text);
  ParseWords(context, command, options, words);
  const PartRef resource = ParsePartRef(resource_text, "resource");
  const VersionPairs version = ParseVersion(version_text);
  Target target = OpenTarget(context);
  const Json found = NewestVersion(target, resource, version);
  const std::string verb = enable ? "enable" : "disable";
  if (found.BoolAt("enabled") != enable) {
    const Call call = ResourceCall(target, resource, "PUT", "/versions/:id/" + verb,
                                   {std::to_string(found.IntegerAt("id"))});
    if (!target.api->Found(call)) {
      throw PlainError("could not " + verb + " '" + resource.Text() +
                       "', make sure the resource version exists\n");
    }
  }
  context.out << verb << "d '" << resource.Text() << "' with version " << SortedText(found) << '\n';
  return 0;
}

void ListShared(Context& context, const Json& shared, std::string_view member) {
  const Json* list = shared.Find(member);
  if (!list || !list->IsArray()) return;
  for (const Json& item : list->AsArray()) {
    context.out << "- " << item.StringAt("team_name") << '/' << item.StringAt("pipeline_name")
                << '/' << item.StringAt("name") << '\n';
  }
}

}  // namespace

int Resources(Context& context, const Command& command, const Words& words) {
  std::string pipeline, team;
  bool json = false;
  Options options;
  AddPipeline(options, pipeline);
  AddJson(options, json);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(pipeline);
  Target target = OpenTarget(context, team);
  const Json resources =
      target.api->AskJson({.path = target.PipelinePath(ref, "/resources"), .query = ref.Query()});
  if (json) {
    PrintJson(context, resources, Shape::kResource);
    return 0;
  }
  Table table{{"name", "type", "pinned", "check status"}, {}};
  for (const Json& resource : resources.IsArray() ? resources.AsArray() : JsonArray()) {
    const Json* pinned = resource.Find("pinned_version");
    const Json* build = resource.Find("build");
    const bool is_pinned = pinned && pinned->IsObject();
    table.rows.push_back(
        {std::string(resource.StringAt("name")), std::string(resource.StringAt("type")),
         is_pinned ? Cell(VersionText(*pinned)) : Cell("n/a"),
         build && build->IsObject() ? StatusCell(std::string(build->StringAt("status")))
                                    : Cell("n/a", style::kFaint)});
  }
  table.Print(context);
  return 0;
}

int ResourceVersions(Context& context, const Command& command, const Words& words) {
  int count = 50;
  std::string resource_text, team;
  bool json = false;
  Options options;
  options.Add({.name = "count", .doc = "How many versions at most", .short_name = 'c'}, count);
  AddResource(options, resource_text);
  AddJson(options, json);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PartRef resource = ParsePartRef(resource_text, "resource");
  Target target = OpenTarget(context, team);
  Call call = ResourceCall(target, resource, "GET", "/versions");
  if (count > 0) call.query.emplace_back("limit", std::to_string(count));
  Json versions;
  try {
    versions = target.api->AskJson(call);
  } catch (const NotFoundAnswer&) {
  }
  if (json) {
    PrintJson(context, versions, Shape::kResourceVersion);
    return 0;
  }
  Table table{{"id", "version", "enabled"}, {}};
  for (const Json& found : versions.IsArray() ? versions.AsArray() : JsonArray()) {
    if (table.rows.size() >= static_cast<std::size_t>(std::max(count, 0))) break;
    const Json* version = found.Find("version");
    table.rows.push_back({std::to_string(found.IntegerAt("id")),
                          version ? VersionText(*version) : "", YesNo(found.BoolAt("enabled"))});
  }
  table.Print(context);
  return 0;
}

int CheckResource(Context& context, const Command& command, const Words& words) {
  return Check(context, command, words, false);
}

int CheckResourceType(Context& context, const Command& command, const Words& words) {
  return Check(context, command, words, true);
}

int EnableResourceVersion(Context& context, const Command& command, const Words& words) {
  return SetEnabled(context, command, words, true);
}

int DisableResourceVersion(Context& context, const Command& command, const Words& words) {
  return SetEnabled(context, command, words, false);
}

int PinResource(Context& context, const Command& command, const Words& words) {
  std::string resource_text, comment;
  std::vector<std::string> version_text;
  Options options;
  AddResource(options, resource_text);
  options.Add({.name = "version",
               .doc = "The version, repeated for each key; the newest that matches is taken",
               .short_name = 'v',
               .value_name = "KEY:VALUE"},
              version_text);
  options.Add({.name = "comment", .doc = "Why it is pinned", .short_name = 'c'}, comment);
  ParseWords(context, command, options, words);
  const PartRef resource = ParsePartRef(resource_text, "resource");
  const VersionPairs version = ParseVersion(version_text);
  Target target = OpenTarget(context);
  if (version.empty() && comment.empty()) {
    throw CommandError("one of --version and --comment is required");
  }
  if (!version.empty()) {
    const Json found = NewestVersion(target, resource, version);
    const Call call = ResourceCall(target, resource, "PUT", "/versions/:id/pin",
                                   {std::to_string(found.IntegerAt("id"))});
    if (!target.api->Found(call)) {
      throw PlainError("could not pin '" + resource.Text() + "', make sure the resource exists\n");
    }
    context.out << "pinned '" << resource.Text() << "' with version " << SortedText(found) << '\n';
  }
  if (!comment.empty()) {
    Call call = ResourceCall(target, resource, "PUT", "/pin_comment");
    call.body = ToText(JsonObject{{"pin_comment", comment}});
    if (!target.api->Found(call)) {
      throw PlainError("could not save comment, make sure '" + resource.Text() + "' is pinned\n");
    }
    context.out << "pin comment '" << comment << "' is saved\n";
  }
  return 0;
}

int UnpinResource(Context& context, const Command& command, const Words& words) {
  std::string resource_text;
  Options options;
  AddResource(options, resource_text);
  ParseWords(context, command, options, words);
  const PartRef resource = ParsePartRef(resource_text, "resource");
  Target target = OpenTarget(context);
  if (!target.api->Found(ResourceCall(target, resource, "PUT", "/unpin"))) {
    throw PlainError("could not find resource '" + resource.Text() + "'\n");
  }
  context.out << "unpinned '" << resource.Text() << "'\n";
  return 0;
}

int ClearResourceCache(Context& context, const Command& command, const Words& words) {
  std::string resource_text, team;
  std::vector<std::string> version_text;
  Options options;
  AddResource(options, resource_text);
  options.Add({.name = "version",
               .doc = "Only the cache of this version",
               .short_name = 'v',
               .value_name = "KEY:VALUE"},
              version_text);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PartRef resource = ParsePartRef(resource_text, "resource");
  const Json version = version_text.empty() ? Json() : VersionJson(ParseVersion(version_text));
  Target target = OpenTarget(context, team);
  context.out << "!!! this will remove the resource cache(s) for `" << resource.Text() << "`";
  if (!version.IsNull()) context.out << " with version: `" << ToText(version) << "`";
  context.out << "\n\n";
  if (!Confirm(context, "are you sure?")) {
    context.out << "bailing out\n";
    return 0;
  }
  Call call = ResourceCall(target, resource, "DELETE", "/cache");
  call.body = ToText(JsonObject{{"version", version}});
  context.out << target.api->AskJson(call).IntegerAt("caches_removed") << " caches removed\n";
  return 0;
}

int ClearVersions(Context& context, const Command& command, const Words& words) {
  std::string resource_text, type_text, team;
  bool non_interactive = false;
  Options options;
  options.Add({.name = "resource", .doc = "The resource", .value_name = "PIPELINE/RESOURCE"},
              resource_text);
  options.Add(
      {.name = "resource-type", .doc = "The resource type", .value_name = "PIPELINE/RESOURCE-TYPE"},
      type_text);
  AddNonInteractive(options, non_interactive);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const bool is_type = !type_text.empty();
  Target target = OpenTarget(context);
  if (resource_text.empty() && !is_type) {
    throw CommandError("please specify one of the required flags --resource or --resource-type");
  }
  if (!resource_text.empty() && is_type) {
    throw CommandError("can specify only one of --resource or --resource-type");
  }
  const PartRef part = ParsePartRef(is_type ? type_text : resource_text, "resource");
  target.UseTeam(team);
  const std::string kind = is_type ? "resource-types" : "resources";
  Json shared;
  try {
    shared = target.api->AskJson(PartCall(target, part, kind, "GET", "/shared"));
  } catch (const NotFoundAnswer&) {
    throw CommandError(std::string(is_type ? "resource type" : "resource") + " '" + part.name +
                       "' is not found");
  }
  if (!non_interactive) {
    context.out << "!!! this will clear the version histories for the following resources:\n";
    ListShared(context, shared, "resources");
    context.out << "\nand the following resource types:\n";
    ListShared(context, shared, "resource_types");
    context.out << '\n';
    if (!Confirm(context, "are you sure?")) {
      context.out << "bailing out\n";
      return 0;
    }
  }
  const Json answer = target.api->AskJson(PartCall(target, part, kind, "DELETE", "/versions"));
  context.out << answer.IntegerAt("versions_removed") << " versions removed\n";
  return 0;
}

}  // namespace pinion::cli
