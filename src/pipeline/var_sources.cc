#include <algorithm>
#include <array>
#include <functional>
#include <set>

#include "base/text.h"
#include "base/units.h"
#include "pipeline/url.h"
#include "pipeline/validate.h"
#include "pipeline/yaml.h"
#include "vars/template.h"

namespace pinion::pipeline {
namespace {

enum class Setting { kText, kBool, kDuration, kTexts, kTextMap };
struct SettingName {
  std::string_view name;
  Setting type;
};

constexpr std::array kVaultSettings = {SettingName{"url", Setting::kText},
                                       SettingName{"path_prefix", Setting::kText},
                                       SettingName{"lookup_templates", Setting::kTexts},
                                       SettingName{"shared_path", Setting::kText},
                                       SettingName{"namespace", Setting::kText},
                                       SettingName{"login_timeout", Setting::kDuration},
                                       SettingName{"query_timeout", Setting::kDuration},
                                       SettingName{"enable_kv_mount_cache", Setting::kBool},
                                       SettingName{"disable_srv_lookup", Setting::kBool},
                                       SettingName{"ca_cert", Setting::kText},
                                       SettingName{"client_cert", Setting::kText},
                                       SettingName{"client_key", Setting::kText},
                                       SettingName{"server_name", Setting::kText},
                                       SettingName{"insecure_skip_verify", Setting::kBool},
                                       SettingName{"client_token", Setting::kText},
                                       SettingName{"client_token_path", Setting::kText},
                                       SettingName{"auth_backend", Setting::kText},
                                       SettingName{"auth_backend_max_ttl", Setting::kDuration},
                                       SettingName{"auth_retry_max", Setting::kDuration},
                                       SettingName{"auth_retry_initial", Setting::kDuration},
                                       SettingName{"auth_params", Setting::kTextMap}};

constexpr std::array kAwsSettings = {SettingName{"access_key", Setting::kText},
                                     SettingName{"secret_key", Setting::kText},
                                     SettingName{"session_token", Setting::kText},
                                     SettingName{"region", Setting::kText},
                                     SettingName{"pipeline_secret_template", Setting::kText},
                                     SettingName{"team_secret_template", Setting::kText}};

bool Fits(const Json& value, Setting type) {
  switch (type) {
    case Setting::kText:
      return value.IsNull() || value.IsString();
    case Setting::kBool:
      return value.IsNull() || value.IsBool();
    case Setting::kDuration:
      return value.IsNull() || value.IsNumber() ||
             (value.IsString() && ParseDuration(value.AsString()));
    case Setting::kTexts:
      return value.IsNull() ||
             (value.IsArray() &&
              std::ranges::all_of(value.AsArray(), [](const Json& v) { return v.IsString(); }));
    case Setting::kTextMap:
      return value.IsNull() ||
             (value.IsObject() && std::ranges::all_of(value.AsObject(), [](const auto& member) {
                return member.second.IsString();
              }));
  }
  return false;
}

/// What keeps the settings from being read; empty if nothing does. `known` asks for a setting's
/// type.
std::string CannotRead(const Json& config,
                       const std::function<const Setting*(const std::string&)>& known) {
  if (config.IsNull()) return {};
  if (!config.IsObject()) return "the config must be a mapping";
  for (const auto& [name, value] : config.AsObject()) {
    const Setting* type = known(ToLower(name));
    if (!type) return "unknown setting: " + name;
    if (!Fits(value, *type))
      return "setting " + name + " cannot be a " + std::string(value.TypeName());
  }
  return {};
}

template <std::size_t kCount>
const Setting* TypeOf(const std::array<SettingName, kCount>& settings, const std::string& name) {
  for (const SettingName& setting : settings) {
    if (setting.name == name) return &setting.type;
  }
  return nullptr;
}

/// A template of paths: texts with {{.Team}}, {{.Pipeline}} and {{.Secret}}.
std::string BadTemplate(std::string_view text) {
  if (text.empty()) return "a secret template should not be empty";
  for (std::size_t open = 0; (open = text.find("{{")) != std::string_view::npos;) {
    const std::size_t close = text.find("}}", open);
    if (close == std::string_view::npos) return "a secret template has an unclosed '{{'";
    const std::string_view field = Trim(text.substr(open + 2, close - open - 2));
    if (field != ".Team" && field != ".Pipeline" && field != ".Secret") {
      return "a secret template knows no '" + std::string(field) + "'";
    }
    text.remove_prefix(close + 2);
  }
  return {};
}

std::string BadVault(const Json& config) {
  const std::string url(config.StringAt("url"));
  const auto scheme = UrlScheme(url);
  if (!scheme) return "invalid URL";
  if (*scheme != "http" && *scheme != "https") {
    return "invalid scheme \"" + *scheme + "\": must be http or https";
  }
  if (UrlHost(url).empty()) return "the URL must have a host";
  const std::string prefix(config.StringAt("path_prefix", "/concourse"));
  if (prefix.empty()) return "the path prefix must not be empty";
  if (const Json* templates = config.Find("lookup_templates"); templates && templates->IsArray()) {
    for (const Json& text : templates->AsArray()) {
      if (std::string bad = BadTemplate(prefix + text.AsString()); !bad.empty()) return bad;
    }
  }
  for (const std::string_view way : {"client_token", "client_token_path", "auth_backend"}) {
    if (!config.StringAt(way).empty()) return {};
  }
  return "a client token or an auth backend is needed";
}

std::string BadAws(const Json& config) {
  for (const std::string_view name :
       {"pipeline_secret_template", "team_secret_template", "shared_secret_template"}) {
    if (std::string bad = BadTemplate(config.StringAt(name, "/")); !bad.empty()) return bad;
  }
  const bool key = !config.StringAt("access_key").empty();
  const bool secret = !config.StringAt("secret_key").empty();
  const bool token = !config.StringAt("session_token").empty();
  if (!key && (secret || token)) return "the AWS access key id is missing";
  if (key && !secret) return "the AWS secret access key is missing";
  return {};
}

std::string UnreadableIdToken(const Json& config) {
  if (!config.IsObject()) return "the config must be a mapping";
  static constexpr std::array kSettings = {
      SettingName{"audience", Setting::kTexts}, SettingName{"subject_scope", Setting::kText},
      SettingName{"expires_in", Setting::kDuration}, SettingName{"algorithm", Setting::kText}};
  for (const auto& [name, value] : config.AsObject()) {
    const Setting* type = TypeOf(kSettings, name);
    if (!type) return "unknown setting: " + name;
    const bool text = *type == Setting::kTexts || value.IsString();
    if (!text || value.IsNull() || !Fits(value, *type)) return "invalid setting: " + name;
  }
  return {};
}

std::string BadIdToken(const Json& config) {
  static const std::set<std::string_view> kScopes = {"", "team", "pipeline", "instance", "job"};
  const std::string scope(config.StringAt("subject_scope", "pipeline"));
  if (!kScopes.contains(scope)) return "invalid subject_scope: " + scope;
  const auto expires = ParseDuration(config.StringAt("expires_in", "1h"));
  if (expires && *expires > std::chrono::hours(24)) return "expires_in must be 24h at most";
  const std::string algorithm(config.StringAt("algorithm", "RS256"));
  if (algorithm != "RS256" && algorithm != "ES256") {
    return "invalid algorithm: " + algorithm + ", use RS256 or ES256";
  }
  return {};
}

struct Findings {
  std::string unreadable;
  std::string bad;
};

Findings Examine(const VarSource& source) {
  const Json& config = source.config;
  Findings findings;
  if (source.type == "dummy") {
    const Json* vars = config.Find("vars");
    if (!vars || !vars->IsObject()) findings.unreadable = "it needs vars, a mapping";
  } else if (source.type == "vault") {
    findings.unreadable = config.IsNull() ? "the config must be a mapping"
                                          : CannotRead(config, [](const std::string& name) {
                                              return TypeOf(kVaultSettings, name);
                                            });
    if (findings.unreadable.empty()) findings.bad = BadVault(config);
  } else if (source.type == "ssm" || source.type == "secretsmanager") {
    static constexpr Setting kText = Setting::kText;
    const std::string extra = source.type == "ssm" ? "shared_path" : "shared_secret_template";
    findings.unreadable = CannotRead(config, [&](const std::string& name) {
      return name == extra ? &kText : TypeOf(kAwsSettings, name);
    });
    if (findings.unreadable.empty()) findings.bad = BadAws(config);
  } else if (source.type == "idtoken") {
    findings.unreadable = UnreadableIdToken(config);
    if (findings.unreadable.empty()) findings.bad = BadIdToken(config);
  }
  return findings;
}

}  // namespace

std::vector<std::string> ValidateVarSource(const VarSource& source) {
  static const std::set<std::string_view> kSupported = {"dummy", "idtoken", "secretsmanager", "ssm",
                                                        "vault"};
  static const std::set<std::string_view> kOthers = {"conjur", "credhub", "kubernetes"};
  std::vector<std::string> problems;
  if (kOthers.contains(source.type)) {
    problems.push_back("credential manager type " + source.type +
                       " is not supported in pipelines yet");
    return problems;
  }
  if (!kSupported.contains(source.type)) {
    problems.push_back("unknown credential manager type: " + source.type);
    return problems;
  }
  const Findings findings = Examine(source);
  if (!findings.unreadable.empty()) {
    problems.push_back("failed to create credential manager " + source.name + ": " +
                       findings.unreadable);
  }
  if (!findings.bad.empty()) {
    problems.push_back("credential manager " + source.name + " is invalid: " + findings.bad);
  }
  return problems;
}

Result<std::vector<VarSource>> OrderVarSources(const std::vector<VarSource>& sources) {
  struct Pending {
    const VarSource* source;
    std::vector<std::string> needs;
  };
  std::vector<Pending> pending;
  for (const VarSource& source : sources) {
    Pending entry{&source, {}};
    for (const std::string& name : vars::NamesIn(ToText(source.config))) {
      const std::size_t colon = name.find(':');
      if (colon != std::string::npos) entry.needs.push_back(name.substr(0, colon));
    }
    pending.push_back(std::move(entry));
  }
  std::vector<VarSource> ordered;
  std::set<std::string> there;
  for (bool progress = true; progress;) {
    progress = false;
    std::vector<Pending> left;
    for (Pending& entry : pending) {
      const bool ready = std::ranges::all_of(
          entry.needs, [&](const std::string& need) { return there.contains(need); });
      if (ready) {
        ordered.push_back(*entry.source);
        there.insert(entry.source->name);
        progress = true;
      } else {
        left.push_back(std::move(entry));
      }
    }
    pending = std::move(left);
  }
  if (!pending.empty()) {
    std::vector<std::string> names;
    for (const Pending& entry : pending)
      names.push_back(entry.source->name);
    return Fail(ErrorKind::kInvalid,
                "failed to order by dependency: these var sources need each other or one that is "
                "not there: " +
                    Join(names, ", "));
  }
  return ordered;
}

}  // namespace pinion::pipeline
