#include "cli/flyrc.h"

#include <algorithm>

#include "base/files.h"
#include "cli/errors.h"
#include "pipeline/yaml.h"

namespace pinion::cli {
namespace {

SavedTarget FromJson(const Json& json) {
  SavedTarget target;
  if (!json.IsObject()) return target;
  for (const auto& [name, value] : json.AsObject()) {
    const auto text = [&value] { return value.IsString() ? value.AsString() : std::string(); };
    if (name == "api") {
      target.api = text();
    } else if (name == "team") {
      target.team = text();
    } else if (name == "insecure") {
      target.insecure = value.IsBool() && value.AsBool();
    } else if (name == "token") {
      if (!value.IsObject()) continue;
      target.token =
          Token{std::string(value.StringAt("type")), std::string(value.StringAt("value"))};
    } else if (name == "ca_cert") {
      target.ca_cert = text();
    } else if (name == "client_cert_path") {
      target.client_cert_path = text();
    } else if (name == "client_key_path") {
      target.client_key_path = text();
    } else {
      target.others.Set(name, value);
    }
  }
  if (target.team.empty()) target.team = "main";
  return target;
}

Json ToJson(const SavedTarget& target) {
  JsonObject object = target.others;
  object.Set("api", target.api);
  object.Set("team", target.team);
  if (target.insecure) object.Set("insecure", true);
  if (target.token) {
    object.Set("token", JsonObject{{"type", target.token->type}, {"value", target.token->value}});
  }
  if (!target.ca_cert.empty()) object.Set("ca_cert", target.ca_cert);
  if (!target.client_cert_path.empty()) object.Set("client_cert_path", target.client_cert_path);
  if (!target.client_key_path.empty()) object.Set("client_key_path", target.client_key_path);
  return object;
}

}  // namespace

void FlyRc::Load() {
  targets.clear();
  others_ = {};
  std::error_code ignored;
  if (!std::filesystem::exists(path_, ignored)) return;
  const auto text = ReadFile(path_, 16 << 20);
  if (!text) throw CommandError(text.error().message);
  const auto bad = [this](const std::string& why) {
    return CommandError("in the file '" + path_.string() + "': " + why);
  };
  const auto document = pipeline::ParseYaml(*text);
  if (!document) throw bad(document.error().message);
  const auto json = pipeline::NodeToJson(document->root);
  if (!json) throw bad(json.error().message);
  if (json->IsNull()) return;
  if (!json->IsObject()) throw bad("expected a mapping with the key 'targets'");
  others_ = json->AsObject();
  const Json* saved = json->Find("targets");
  if (!saved || saved->IsNull()) return;
  if (!saved->IsObject()) throw bad("'targets' is no mapping");
  for (const auto& [name, target] : saved->AsObject())
    targets[name] = FromJson(target);
}

void FlyRc::Save() const {
  JsonObject all;
  for (const auto& [name, target] : targets)
    all.Set(name, ToJson(target));
  JsonObject root = others_;
  root.Set("targets", std::move(all));
  // A dotfile that is a link to somewhere else stays one.
  std::error_code failed;
  std::filesystem::path real = std::filesystem::weakly_canonical(path_, failed);
  if (failed) real = path_;
  const auto written = WriteFile(real, pipeline::EmitYaml(root), 0600);
  if (!written) throw CommandError("could not save the targets: " + written.error().message);
}

std::filesystem::path FlyRcPath(const std::map<std::string, std::string>& environment) {
  for (const char* name : {"FLY_HOME", "HOME"}) {
    const auto found = environment.find(name);
    if (found != environment.end() && !found->second.empty()) {
      return std::filesystem::path(found->second) / ".flyrc";
    }
  }
  throw CommandError("neither FLY_HOME nor HOME is set: there is no place for the file .flyrc");
}

}  // namespace pinion::cli
