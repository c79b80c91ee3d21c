#include "cli/shapes.h"

#include <map>
#include <ostream>

#include "base/text.h"

namespace pinion::cli {
namespace {

/// Members in order, "NAME:TYPE" with '?' after the name for those left out when they are empty.
/// Types: i number, s text, b boolean, a any value (r: its members as they came), m object with
/// free names, or another shape's name for an object, with '*' before it when it may be null, '['
/// for a list of them.
const std::map<std::string_view, std::string_view>& Definitions() {
  static const std::map<std::string_view, std::string_view> kDefinitions{
      {"Build",
       "id:i team_name:s name:s status:s api_url:s comment?:s job_name?:s resource_name?:s "
       "pipeline_id?:i pipeline_name?:s pipeline_instance_vars?:m start_time?:i end_time?:i "
       "reap_time?:i rerun_number?:i rerun_of?:*Rerun created_by?:a"},
      {"Rerun", "id?:i name?:s"},
      {"BuildSummary",
       "id:i name:s status:s start_time?:i end_time?:i team_name:s pipeline_id:i pipeline_name:s "
       "pipeline_instance_vars?:m job_name?:s plan?:r"},
      {"Component", "name:s interval:i last_ran:s paused:b"},
      {"Container",
       "id:s worker_name:s state?:s type?:s step_name?:s attempt?:s pipeline_id?:i job_id?:i "
       "build_id?:i resource_id?:i resource_type_id?:i pipeline_name?:s pipeline_instance_vars?:m "
       "job_name?:s build_name?:s resource_name?:s resource_type_name?:s user?:s "
       "working_directory?:s expires_in?:s"},
      {"Health",
       "status:s timestamp:s database:Database workers:Workers components:[ComponentHealth"},
      {"Database", "status:s error?:s"},
      {"Workers", "status:s total:i running:i unhealthy_workers?:a"},
      {"ComponentHealth", "name:s status:s paused:b last_ran:s"},
      {"Job",
       "id:i name:s team_name:s pipeline_id:i pipeline_name:s pipeline_instance_vars?:m paused?:b "
       "paused_by?:s paused_at?:i has_new_inputs?:b groups?:a first_logged_build_id?:i "
       "disable_manual_trigger?:b disable_reruns?:b next_build:*Build finished_build:*Build "
       "transition_build?:*Build inputs?:[JobInput outputs?:[JobOutput"},
      {"JobInput", "name:s resource:s trigger:b passed?:a version?:a"},
      {"JobOutput", "name:s resource:s"},
      {"Pipeline",
       "id:i name:s instance_vars?:m paused:b paused_by?:s paused_at?:i public:b archived:b "
       "groups?:[Group team_name:s display?:*Display user_data?:a parent_build_id?:i "
       "parent_job_id?:i last_updated?:i"},
      {"Group", "name:s jobs?:a resources?:a"},
      {"Display", "background_image?:s background_filter?:s"},
      {"Resource",
       "name:s pipeline_id:i pipeline_name:s pipeline_instance_vars?:m team_name:s type:s "
       "last_checked?:i icon?:s pinned_version?:m pinned_in_config?:b pin_comment?:s "
       "build?:*BuildSummary"},
      {"ResourceVersion", "id:i metadata?:[Metadata version:m enabled:b"},
      {"Metadata", "name:s value:s"},
      {"Team", "id?:i name?:s auth?:m"},
      {"User", "id?:i username?:s connector?:s last_login?:i sub?:s"},
      {"UserInfo",
       "sub:s name:s user_id:s user_name:s email:s is_admin:b is_system:b teams:m connector:s "
       "display_user_id:s"},
      {"Volume",
       "id:s worker_name:s type:s container_handle:s path:s parent_handle:s "
       "resource_type:*VolumeType base_resource_type:*BaseType pipeline_id:i pipeline_name:s "
       "pipeline_instance_vars:m job_name:s step_name:s"},
      {"VolumeType", "resource_type:*VolumeType base_resource_type:*BaseType version:m"},
      {"BaseType", "name:s version:s"},
      {"Worker",
       "addr:s baggageclaim_url:s certs_path?:a http_proxy_url?:s https_proxy_url?:s no_proxy?:s "
       "active_containers:i active_volumes:i active_tasks:i max_active_tasks:i "
       "resource_types:[WorkerType platform:s tags:a team:s name:s version:s start_time:i "
       "ephemeral:b state:s"},
      {"WorkerType", "type:s image:s version:s privileged:b unique_version_history:b"},
  };
  return kDefinitions;
}

std::string_view NameOf(Shape shape) {
  switch (shape) {
    case Shape::kBuild:
      return "Build";
    case Shape::kComponent:
      return "Component";
    case Shape::kContainer:
      return "Container";
    case Shape::kHealth:
      return "Health";
    case Shape::kJob:
      return "Job";
    case Shape::kPipeline:
      return "Pipeline";
    case Shape::kResource:
      return "Resource";
    case Shape::kResourceVersion:
      return "ResourceVersion";
    case Shape::kTeam:
      return "Team";
    case Shape::kUser:
      return "User";
    case Shape::kUserInfo:
      return "UserInfo";
    case Shape::kVolume:
      return "Volume";
    case Shape::kWorker:
      return "Worker";
  }
  return "";
}

Json Sorted(const Json& value) {
  if (value.IsArray()) {
    JsonArray items;
    for (const Json& item : value.AsArray())
      items.push_back(Sorted(item));
    return items;
  }
  if (!value.IsObject()) return value;
  JsonObject object;
  for (const auto& [name, member] : value.AsObject())
    object.Set(name, Sorted(member));
  object.SortByName();
  return object;
}

bool IsZero(const Json& value) {
  if (value.IsNull()) return true;
  if (value.IsBool()) return !value.AsBool();
  if (value.IsNumber()) return value.AsDouble() == 0;
  if (value.IsString()) return value.AsString().empty();
  if (value.IsArray()) return value.AsArray().empty();
  return false;
}

Json ShapedObject(const Json& value, std::string_view shape);

Json ShapedMember(const Json* value, std::string_view type) {
  static const Json kAbsent;
  const Json& given = value ? *value : kAbsent;
  if (type == "i") return given.IsNumber() ? given : Json(0);
  if (type == "s") return given.IsString() ? given : Json("");
  if (type == "b") return given.IsBool() ? given : Json(false);
  if (type == "a") return Sorted(given);
  if (type == "r") return given;
  if (type == "m") return given.IsObject() ? Sorted(given) : Json();
  if (type.starts_with('*')) {
    return given.IsObject() ? ShapedObject(given, type.substr(1)) : Json();
  }
  if (type.starts_with('[')) {
    if (!given.IsArray()) return {};
    JsonArray items;
    for (const Json& item : given.AsArray())
      items.push_back(ShapedObject(item, type.substr(1)));
    return items;
  }
  return ShapedObject(given, type);
}

Json ShapedObject(const Json& value, std::string_view shape) {
  JsonObject object;
  for (const std::string_view word : Split(Definitions().at(shape), ' ')) {
    const std::size_t colon = word.find(':');
    std::string_view name = word.substr(0, colon);
    const std::string_view type = word.substr(colon + 1);
    const bool omit_empty = name.ends_with('?');
    if (omit_empty) name.remove_suffix(1);
    Json member = ShapedMember(value.Find(name), type);
    const bool empty_map = type == "m" && member.IsObject() && member.AsObject().empty();
    const bool nothing =
        empty_map ||
        (type == "a" ? member.IsNull() || (member.IsArray() && member.AsArray().empty())
                     : IsZero(member));
    if (omit_empty && nothing) continue;
    object.Set(name, std::move(member));
  }
  return object;
}

}  // namespace

Json Shaped(const Json& answer, Shape shape) {
  if (answer.IsNull()) return answer;
  if (!answer.IsArray()) return ShapedObject(answer, NameOf(shape));
  JsonArray items;
  for (const Json& item : answer.AsArray())
    items.push_back(ShapedObject(item, NameOf(shape)));
  return items;
}

void PrintJson(Context& context, const Json& answer, Shape shape) {
  context.out << ToPrettyText(Shaped(answer, shape)) << '\n';
}

}  // namespace pinion::cli
