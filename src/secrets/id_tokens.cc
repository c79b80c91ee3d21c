#include "secrets/id_tokens.h"

#include "base/units.h"
#include "pipeline/instance_vars.h"
#include "secrets/signing_keys.h"
#include "store/database.h"
#include "store/settings.h"

namespace pinion::secrets {
namespace {

constexpr std::string_view kSetting = "id-token-keys";
constexpr Duration kLongest = std::chrono::hours(24);

/// One part of a subject: slashes stand between the parts.
std::string Part(std::string_view text) {
  std::string part;
  for (const char c : text) {
    if (c == '/') {
      part += "%2F";
    } else {
      part += c;
    }
  }
  return part;
}

std::string Subject(const IdTokenConfig& config, const VarOwner& owner, const Json& instance_vars) {
  std::string subject = Part(owner.team);
  if (config.subject_scope == "team") return subject;
  subject += "/" + Part(owner.pipeline);
  if (config.subject_scope == "pipeline") return subject;
  subject += "/" + Part(pipeline::InstanceVarsText(instance_vars));
  if (config.subject_scope == "instance") return subject;
  return subject + "/" + Part(owner.job);
}

Error Bad(std::string message) {
  return {ErrorKind::kInvalid, "idtoken: " + std::move(message)};
}

}  // namespace

Result<IdTokenConfig> IdTokenConfig::Parse(const Json& config) {
  IdTokenConfig parsed;
  if (!config.IsObject()) return parsed;
  for (const auto& [name, value] : config.AsObject()) {
    if (name == "audience") {
      if (!value.IsArray()) return std::unexpected(Bad("audience must be a list of texts"));
      for (const Json& item : value.AsArray()) {
        if (!item.IsString()) return std::unexpected(Bad("audience must be a list of texts"));
        parsed.audience.push_back(item.AsString());
      }
      continue;
    }
    if (!value.IsString()) return std::unexpected(Bad(name + " must be a text"));
    if (name == "subject_scope") {
      if (!value.AsString().empty()) parsed.subject_scope = value.AsString();
    } else if (name == "algorithm") {
      parsed.algorithm = value.AsString();
    } else if (name == "expires_in") {
      const auto duration = ParseDuration(value.AsString());
      if (!duration) return std::unexpected(Bad("expires_in: " + duration.error().message));
      parsed.expires_in = *duration;
    } else {
      return std::unexpected(Bad("unknown setting " + name));
    }
  }
  for (const std::string_view known : {"team", "pipeline", "instance", "job"}) {
    if (parsed.subject_scope != known) continue;
    if (parsed.expires_in > kLongest) {
      return std::unexpected(Bad("expires_in must be at most " + DurationText(kLongest)));
    }
    return parsed;
  }
  return std::unexpected(
      Bad("subject_scope '" + parsed.subject_scope + "' is none of team, pipeline, instance, job"));
}

IdTokens::IdTokens(store::Database& database, const Clock& clock)
    : database_(database), clock_(clock) {}

IdTokens::~IdTokens() = default;

Task<void> IdTokens::LoadKeys() {
  if (keys_) co_return;
  const std::string text =
      co_await database_.Write(store::Pool::kEngine, [](store::Transaction& transaction) {
        return store::SettingOrMade(transaction, kSetting,
                                    [] { return SigningKeys::Make().Text(); });
      });
  keys_ = std::make_shared<const SigningKeys>(ValueOrThrow(SigningKeys::Parse(text)));
}

Task<std::string> IdTokens::Make(IdTokenConfig config, VarOwner owner) {
  co_await LoadKeys();
  const std::int64_t now = clock_.UnixSeconds();
  const Json instance_vars =
      owner.instance_vars.empty() ? Json() : ValueOrThrow(ParseJson(owner.instance_vars));
  JsonArray audience;
  for (const std::string& one : config.audience)
    audience.push_back(one);
  JsonObject claims{
      {"iss", issuer_},
      {"sub", Subject(config, owner, instance_vars)},
      {"aud", std::move(audience)},
      {"iat", now},
      {"exp", now + std::chrono::floor<std::chrono::seconds>(config.expires_in).count()},
      {"team", owner.team},
      {"pipeline", owner.pipeline},
      {"job", owner.job}};
  if (!instance_vars.IsNull()) claims.Set("instance_vars", instance_vars);
  co_return keys_->Sign(config.algorithm, claims);
}

Task<Json> IdTokens::PublicKeys() {
  co_await LoadKeys();
  co_return keys_->PublicKeys();
}

}  // namespace pinion::secrets
