#include "api/session.h"

#include "base/encoding.h"
#include "base/text.h"
#include "store/database.h"
#include "store/settings.h"
#include "store/teams.h"
#include "store/users.h"

namespace pinion::api {

namespace {

constexpr std::string_view kKeySetting = "token_signing_key";

identity::TeamRecord ToRecord(const store::TeamRow& row) {
  identity::TeamRecord record{.id = row.id, .name = row.name, .admin = row.admin};
  // What cannot be read gives nobody a role.
  if (auto auth = FromText<identity::TeamAuth>(row.auth)) record.auth = std::move(*auth);
  return record;
}

/// The token of "Bearer TOKEN": exactly two fields split by one space.
std::optional<std::string_view> BearerToken(std::string_view authorization) {
  const auto fields = Split(authorization, ' ');
  if (fields.size() != 2 || ToLower(fields[0]) != "bearer" || fields[1].empty()) {
    return std::nullopt;
  }
  return fields[1];
}

}  // namespace

std::string SubjectOf(std::string_view user_id, std::string_view connector) {
  // Two length-prefixed fields, numbered 1 and 2, as protocol buffers write them.
  std::string bytes;
  const auto add = [&](char tag, std::string_view text) {
    bytes += tag;
    std::size_t length = text.size();
    while (length >= 0x80) {
      bytes += static_cast<char>((length & 0x7f) | 0x80);
      length >>= 7;
    }
    bytes += static_cast<char>(length);
    bytes += text;
  };
  add('\x0a', user_id);
  add('\x12', connector);
  return ToBase64Url(bytes);
}

Session::Session(Services& services)
    : services_(services),
      passwords_("passwords", 1, 64),
      attempts_by_place_(services.clock, {.failures_max = 10}),
      attempts_by_name_(services.clock, {.failures_max = 100}),
      stale_(std::make_shared<std::atomic<bool>>(true)),
      job_list_(services.database, services.clock),
      watch_budget_(services.timers) {
  services_.database.OnChange([stale = stale_] { stale->store(true); });
}

Task<void> Session::Start() {
  const std::string key =
      co_await services_.database.Write(store::Pool::kApi, [](store::Transaction& transaction) {
        return store::SettingOrMade(transaction, kKeySetting,
                                    [] { return ToHex(RandomBytes(32)); });
      });
  signer_.emplace(key);
}

std::vector<std::string> Session::Audiences() const {
  return {"fly", services_.settings.client_id, std::string(identity::kSystemAudience)};
}

Task<void> Session::Reload() {
  // Cleared first: a change that comes while reading makes the next request read again.
  stale_->store(false);
  struct Loaded {
    std::vector<identity::TeamRecord> teams;
    std::vector<std::string> revoked;
  };
  auto work = [](store::Transaction& transaction) {
    Loaded loaded;
    for (const auto& row : store::ListTeams(transaction))
      loaded.teams.push_back(ToRecord(row));
    loaded.revoked = store::ListRevokedTokens(transaction);
    return loaded;
  };
  try {
    Loaded loaded = co_await services_.database.Read(store::Pool::kApi, work);
    teams_ = std::move(loaded.teams);
    revoked_ = {loaded.revoked.begin(), loaded.revoked.end()};
  } catch (...) {
    stale_->store(true);
    throw;
  }
}

Task<identity::Access> Session::AccessOf(std::string authorization) {
  if (authorization.empty()) co_return identity::AnonymousAccess();
  identity::Access refused;
  refused.has_token = true;
  const auto token = BearerToken(authorization);
  if (!token) co_return refused;
  auto claims = signer_->Verify(*token, now(), Audiences());
  if (!claims) co_return refused;
  if (stale_->load()) co_await Reload();
  if (revoked_.contains(claims->token_id)) co_return refused;
  co_return identity::AccessOf(std::move(*claims), teams_);
}

Session::Login Session::MakeToken(identity::Claims claims, std::string audience) {
  claims.audience = std::move(audience);
  claims.token_id = RandomUuid();
  claims.issued = now();
  claims.expires =
      claims.issued +
      std::chrono::duration_cast<std::chrono::seconds>(services_.settings.token_lifetime).count();
  return {.token = signer_->Sign(claims), .expires = claims.expires};
}

Task<Result<Session::Login>> Session::LogIn(std::string name, std::string password,
                                            std::string address, std::string audience) {
  const std::string place = name + "\n" + address;
  if (!attempts_by_place_.Allowed(place) || !attempts_by_name_.Allowed(name)) {
    services_.log.Warn("login refused after too many wrong passwords",
                       {{"user", Json(name)}, {"address", Json(address)}});
    co_return Fail(ErrorKind::kTooLarge, "too many attempts; try again in a minute");
  }
  // Counted before the check, so that attempts that run at once do not slip through together.
  attempts_by_place_.Failed(place);
  attempts_by_name_.Failed(name);
  const bool good = co_await passwords_.Run(
      [this, name, password] { return services_.local_users.Check(name, password); });
  if (!good) {
    services_.log.Info("login failed", {{"user", Json(name)}, {"address", Json(address)}});
    co_return Fail(ErrorKind::kUnauthorized, "invalid username or password");
  }
  attempts_by_place_.Succeeded(place);
  attempts_by_name_.Succeeded(name);

  identity::Claims claims;
  claims.sub = SubjectOf(name, "local");
  claims.name = name;
  claims.preferred_username = name;
  claims.user_id = name;
  claims.connector = "local";
  const std::string sub = claims.sub;
  co_await services_.database.Write(store::Pool::kApi, [=](store::Transaction& transaction) {
    store::SaveLogin(transaction, sub, name, "local");
  });
  co_return MakeToken(std::move(claims), std::move(audience));
}

Result<Session::Login> Session::LogInSystem(const std::string& client, const std::string& secret) {
  for (const auto& [id, known] : services_.settings.system_clients) {
    if (id != client || !EqualInConstantTime(known, secret)) continue;
    identity::Claims claims;
    claims.sub = SubjectOf(client, "client");
    claims.name = client;
    claims.user_id = client;
    claims.connector = "client";
    return MakeToken(std::move(claims), std::string(identity::kSystemAudience));
  }
  return Fail(ErrorKind::kUnauthorized, "unknown client or wrong secret");
}

Task<void> Session::LogOut(identity::Claims claims) {
  co_await services_.database.Write(
      store::Pool::kApi,
      [id = claims.token_id, expires = claims.expires](store::Transaction& transaction) {
        store::RevokeToken(transaction, id, expires);
      });
  Refresh();
}

}  // namespace pinion::api
