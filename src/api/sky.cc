#include <algorithm>

#include "api/cookies.h"
#include "api/handlers.h"
#include "api/login_page.h"
#include "api/redirect.h"
#include "api/session.h"
#include "base/encoding.h"
#include "base/text.h"

/// Logging in and out: what upstream's clients know as /sky. Local users only for now; identity
/// providers come in between /sky/issuer/auth and the token.
namespace pinion::api {

namespace {

constexpr std::int64_t kLoginSeconds = 3600;
constexpr std::string_view kStatePurpose = "login state";
constexpr std::string_view kFlyClient = "fly";
constexpr std::string_view kFlySecret = "Zmx5";

http::Response OAuthError(int status, std::string_view error, std::string_view description) {
  return JsonAnswer(status,
                    JsonObject{{"error", Json(error)}, {"error_description", Json(description)}});
}

http::Response TokenAnswer(const Session::Login& login, std::int64_t now) {
  return JsonAnswer(200, JsonObject{{"access_token", Json(login.token)},
                                    {"token_type", Json("bearer")},
                                    {"expires_in", Json(login.expires - now)}});
}

struct Client {
  std::string id;
  std::string secret;
};

/// The client by its Basic header, or by members of the form.
Client ClientOf(const http::Request& request, const http::Query& form) {
  const std::string_view header = request.headers.Get("Authorization");
  if (header.size() > 6 && ToLower(header.substr(0, 6)) == "basic ") {
    const auto decoded = FromBase64(header.substr(6));
    const std::size_t colon = decoded ? decoded->find(':') : std::string::npos;
    if (colon != std::string::npos) {
      // The OAuth2 rules have both parts percent-encoded once more.
      return {PercentDecode(decoded->substr(0, colon), true).value_or(""),
              PercentDecode(decoded->substr(colon + 1), true).value_or("")};
    }
  }
  return {std::string(form.Get("client_id").value_or("")),
          std::string(form.Get("client_secret").value_or(""))};
}

Task<http::Query> ReadForm(Call& call) {
  const std::string body = co_await ReadText(call, 64 << 10);
  co_return ValueOrThrow(http::Query::Parse(body));
}

http::Response TooManyAttempts() {
  auto response = OAuthError(429, "access_denied", "too many attempts; try again in a minute");
  response.headers.Set("Retry-After", "60");
  return response;
}

/// What a login that is under way carries through the browser.
struct LoginState {
  std::string redirect;
  std::string nonce;  ///< equals the browser's login cookie: nobody logs another browser in
  std::int64_t expires = 0;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("redirect", self.redirect);
    visit("nonce", self.nonce);
    visit("expires", self.expires);
  }
};

std::optional<LoginState> OpenState(const Call& call) {
  const auto sealed = call.query.Get("state");
  if (!sealed) return std::nullopt;
  const auto text = call.session.signer().Unseal(kStatePurpose, *sealed);
  if (!text) return std::nullopt;
  auto state = FromText<LoginState>(*text);
  if (!state || state->expires < call.session.now()) return std::nullopt;
  const auto cookie = FindCookie(call.exchange.request(), kLoginCookie);
  if (!cookie || !EqualInConstantTime(*cookie, state->nonce)) return std::nullopt;
  return std::move(*state);
}

http::Response RedirectTo(int status, std::string location) {
  auto response = EmptyAnswer(status);
  response.headers.Set("Location", std::move(location));
  return response;
}

/// To where the browser wanted to go, logged in: both cookies are set and the CSRF token is handed
/// over.
http::Response Enter(Call& call, int status, const Session::Login& login,
                     std::string_view redirect) {
  const auto target = SafeRedirect(redirect);
  if (!target) return TextAnswer(400, "unsupported redirect_uri");
  const std::string csrf = ToHex(RandomBytes(32));
  const std::int64_t age = login.expires - call.session.now();
  const bool secure = call.services.settings.secure_cookies;
  auto response = RedirectTo(status, WithParameter(*target, "csrf_token", csrf));
  SetCookie(response.headers, kAuthCookie, "bearer " + login.token, age, secure);
  SetCookie(response.headers, kCsrfCookie, csrf, age, secure);
  ClearCookie(response.headers, kLoginCookie, secure);
  return response;
}

http::Response Page(int status, std::string html) {
  http::Response response;
  response.status = status;
  response.headers.Set("Content-Type", "text/html; charset=utf-8");
  response.headers.Set("Content-Security-Policy",
                       "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; "
                       "base-uri 'none'");
  response.headers.Set("Referrer-Policy", "no-referrer");
  response.body = std::move(html);
  return response;
}

/// The token of a browser that is logged in.
struct BrowserLogin {
  std::string token;
  identity::Claims claims;
};
Task<std::optional<BrowserLogin>> LoginOf(Call& call) {
  const auto cookie = FindCookie(call.exchange.request(), kAuthCookie);
  if (!cookie) co_return std::nullopt;
  identity::Access access = co_await call.session.AccessOf(*cookie);
  if (!access.authenticated) co_return std::nullopt;
  co_return BrowserLogin{cookie->substr(cookie->find(' ') + 1), std::move(access.claims)};
}

}  // namespace

// --- What fly and other clients use
// ---------------------------------------------------------------

Task<Answer> IssueToken(Call& call) {
  const http::Query form = co_await ReadForm(call);
  const Client client = ClientOf(call.exchange.request(), form);
  const std::string_view grant = form.Get("grant_type").value_or("");
  if (grant == "client_credentials") {
    const auto login = call.session.LogInSystem(client.id, client.secret);
    if (!login) co_return OAuthError(401, "invalid_client", login.error().message);
    co_return TokenAnswer(*login, call.session.now());
  }
  if (grant != "password") {
    co_return OAuthError(400, "unsupported_grant_type", "grant_type must be password");
  }
  if (client.id != kFlyClient || !EqualInConstantTime(client.secret, kFlySecret)) {
    co_return OAuthError(401, "invalid_client", "Invalid client credentials.");
  }
  const auto scopes = Split(form.Get("scope").value_or(""), ' ');
  if (std::ranges::find(scopes, "openid") == scopes.end()) {
    co_return OAuthError(400, "invalid_request", "Missing required scope(s) [\"openid\"].");
  }
  const auto login =
      co_await call.session.LogIn(std::string(form.Get("username").value_or("")),
                                  std::string(form.Get("password").value_or("")),
                                  call.exchange.remote_address(), std::string(kFlyClient));
  if (login) co_return TokenAnswer(*login, call.session.now());
  if (login.error().kind == ErrorKind::kTooLarge) co_return TooManyAttempts();
  co_return OAuthError(401, "access_denied", "Invalid username or password");
}

Task<Answer> UserInfo(Call& call) {
  const auto access = co_await call.session.AccessOf(
      std::string(call.exchange.request().headers.Get("Authorization")));
  if (!access.authenticated) {
    co_return OAuthError(401, "invalid_request", "a valid bearer token is needed");
  }
  co_return JsonOf(200, access.claims);
}

// --- The browser's way
// ------------------------------------------------------------------------------

Task<Answer> SkyLogin(Call& call) {
  const std::string redirect(call.query.Get("redirect_uri").value_or("/"));
  if (!SafeRedirect(redirect)) co_return TextAnswer(400, "unsupported redirect_uri");
  if (const auto login = co_await LoginOf(call)) {
    co_return Enter(call, 307, {login->token, login->claims.expires}, redirect);
  }
  const LoginState state{.redirect = redirect,
                         .nonce = ToHex(RandomBytes(16)),
                         .expires = call.session.now() + kLoginSeconds};
  const std::string sealed = call.session.signer().Seal(kStatePurpose, ToText(ToJson(state)));
  auto response = RedirectTo(307, "/sky/issuer/auth/local/login?state=" + PercentEncode(sealed));
  SetCookie(response.headers, kLoginCookie, state.nonce, kLoginSeconds,
            call.services.settings.secure_cookies);
  co_return response;
}

Task<Answer> LoginForm(Call& call) {
  if (!OpenState(call)) {
    co_return Page(400, MessagePage("This login has expired",
                                    "Go to the page that you wanted and log in again."));
  }
  co_return Page(200, LoginPage({}));
}

Task<Answer> SubmitLogin(Call& call) {
  const auto state = OpenState(call);
  if (!state) {
    co_return Page(400, MessagePage("This login has expired",
                                    "Go to the page that you wanted and log in again."));
  }
  const http::Query form = co_await ReadForm(call);
  const auto login = co_await call.session.LogIn(
      std::string(form.Get("login").value_or("")), std::string(form.Get("password").value_or("")),
      call.exchange.remote_address(), call.services.settings.client_id);
  if (login) co_return Enter(call, 303, *login, state->redirect);
  if (login.error().kind == ErrorKind::kTooLarge) {
    co_return Page(429, LoginPage("Too many attempts. Try again in a minute."));
  }
  co_return Page(401, LoginPage("Invalid username or password."));
}

Task<Answer> SkyLogout(Call& call) {
  const auto login = co_await LoginOf(call);
  if (!login) co_return EmptyAnswer(401);
  co_await call.session.LogOut(login->claims);
  auto response = EmptyAnswer(200);
  ClearCookie(response.headers, kAuthCookie, call.services.settings.secure_cookies);
  ClearCookie(response.headers, kCsrfCookie, call.services.settings.secure_cookies);
  co_return response;
}

Task<Answer> FlySuccess(Call& call) {
  if (call.query.Get("noop")) {
    co_return Page(200, MessagePage("Logged in",
                                    "The token has been handed to fly. You can close "
                                    "this window."));
  }
  const auto login = co_await LoginOf(call);
  const std::string_view port_text = call.query.Get("fly_port").value_or("");
  if (!login) {
    const std::string back = "/fly_success?fly_port=" + PercentEncode(port_text);
    co_return RedirectTo(302, "/sky/login?redirect_uri=" + PercentEncode(back));
  }
  const auto port = ParseNumber(port_text);
  const bool listening = port && *port > 0 && *port < 65536;
  co_return Page(200,
                 TokenPage("bearer " + login->token,
                           listening ? std::optional<int>(static_cast<int>(*port)) : std::nullopt));
}

// --- Old addresses -------------------------------------------------------------------------------

Task<Answer> LegacyLogin(Call& call) {
  const auto port = call.query.Get("fly_port");
  if (port) {
    co_return RedirectTo(302, "/sky/login?redirect_uri=" +
                                  PercentEncode("/fly_success?fly_port=" + std::string(*port)));
  }
  const std::string_view query = call.exchange.request().QueryText();
  co_return RedirectTo(302, "/sky/login" + (query.empty() ? "" : "?" + std::string(query)));
}

Task<Answer> LegacyLogout(Call&) {
  co_return RedirectTo(301, "/sky/logout");
}

Task<Answer> Robots(Call&) {
  co_return TextAnswer(200, "User-agent: *\nDisallow: /\n");
}

}  // namespace pinion::api
