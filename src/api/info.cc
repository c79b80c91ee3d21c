#include "api/present/info.h"
#include "api/handlers.h"
#include "api/server.h"
#include "protocol/versions.h"
#include "secrets/id_tokens.h"

namespace pinion::api {

Task<Answer> GetInfo(Call& call) {
  const ApiSettings& settings = call.services.settings;
  present::Info info;
  info.version = protocol::kConcourseVersion;
  info.worker_version = settings.worker_version;
  info.feature_flags = {{"build_rerun", true},
                        {"cache_streamed_volumes", false},
                        {"global_resources", settings.global_resources},
                        {"resource_causality", settings.resource_causality}};
  info.external_url = settings.external_url;
  info.cluster_name = settings.cluster_name;
  co_return JsonOf(200, info);
}

Task<Answer> GetInfoCreds(Call&) {
  // Only managers that are configured are listed.
  co_return JsonAnswer(200, JsonObject());
}

Task<Answer> GetOpenIDConfiguration(Call& call) {
  const std::string& issuer = call.services.settings.external_url;
  co_return JsonAnswer(
      200, JsonObject{{"issuer", issuer},
                      {"jwks_uri", issuer + "/.well-known/jwks.json"},
                      {"claims_supported", JsonArray{"aud", "iat", "iss", "sub"}},
                      {"response_types_supported", JsonArray{"idtoken"}},
                      {"id_token_signing_alg_values_supported", JsonArray{"RS256", "ES256"}},
                      {"subject_types_supported", JsonArray{"public"}}});
}

Task<Answer> GetSigningKeys(Call& call) {
  if (!call.services.id_tokens) {
    throw Failure(ErrorKind::kUnavailable, "this server signs no identity tokens");
  }
  co_return JsonAnswer(200, co_await call.services.id_tokens->PublicKeys());
}

Task<Answer> GetUser(Call& call) {
  const identity::Access& access = call.access;
  const identity::Claims& claims = access.claims;
  present::UserInfo user;
  user.sub = claims.sub;
  user.name = claims.name;
  user.user_id = claims.user_id;
  user.user_name = claims.preferred_username;
  user.email = claims.email;
  user.is_admin = access.admin;
  user.is_system = access.system;
  user.teams = access.team_roles;
  user.connector = claims.connector;
  user.display_user_id = claims.DisplayUserId();
  co_return JsonOf(200, user);
}

Task<Answer> GetLogLevel(Call& call) {
  const LogLevel level = call.services.log.level();
  // Upstream knows no level between info and error.
  co_return TextAnswer(200, level == LogLevel::kWarn ? "info" : Name(level));
}

Task<Answer> SetLogLevel(Call& call) {
  const std::string text = co_await ReadText(call, 64);
  if (text == "debug") {
    call.services.log.SetLevel(LogLevel::kDebug);
  } else if (text == "info") {
    call.services.log.SetLevel(LogLevel::kInfo);
  } else if (text == "error") {
    call.services.log.SetLevel(LogLevel::kError);
  } else if (text == "fatal") {
    call.services.log.SetLevel(LogLevel::kOff);
  } else {
    co_return EmptyAnswer(400);
  }
  co_return EmptyAnswer(200);
}

}  // namespace pinion::api
