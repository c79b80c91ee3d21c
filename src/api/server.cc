#include "api/server.h"
#include "protocol/versions.h"

#include <algorithm>

#include "api/authorize.h"
#include "api/cookies.h"
#include "api/errors.h"
#include "base/encoding.h"

namespace pinion::api {

namespace {

constexpr std::size_t kRequestIdBytesMax = 128;

/// The caller's request id if it is short and harmless, else a new one.
std::string RequestIdOf(const http::Request& request) {
  const std::string_view given = request.headers.Get("X-Request-Id");
  const bool sane = !given.empty() && given.size() <= kRequestIdBytesMax &&
                    std::ranges::all_of(given, [](unsigned char c) {
                      return std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == ':';
                    });
  return sane ? std::string(given) : RandomUuid();
}

bool ChangesNothing(std::string_view method) {
  return method == "GET" || method == "HEAD" || method == "OPTIONS";
}

/// Who sends the request, by header or by cookie.
struct Credentials {
  std::string authorization;
  bool by_cookie = false;
  bool csrf_refused = false;
};

Credentials CredentialsOf(const http::Request& request) {
  Credentials credentials;
  credentials.authorization = request.headers.Get("Authorization");
  const auto cookie = FindCookie(request, kAuthCookie);
  if (!cookie) return credentials;
  // A browser sends cookies by itself, also for other sites' pages; the header it does not.
  if (!ChangesNothing(request.method) && request.Path().starts_with("/api/")) {
    const auto expected = FindCookie(request, kCsrfCookie);
    const std::string_view sent = request.headers.Get("X-Csrf-Token");
    if (!expected || expected->empty() || !EqualInConstantTime(*expected, sent)) {
      credentials.csrf_refused = true;
    }
  }
  if (credentials.authorization.empty()) {
    credentials.authorization = *cookie;
    credentials.by_cookie = true;
  }
  return credentials;
}

http::Response NotFoundAnswer() {
  return TextAnswer(404, "404 page not found\n");
}

}  // namespace

void AddCommonHeaders(const Services& services, std::string_view request_id,
                      http::Response& response) {
  const ApiSettings& settings = services.settings;
  http::Headers& headers = response.headers;
  headers.Set("X-Concourse-Version", std::string(protocol::kConcourseVersion));
  headers.Set("X-Request-Id", std::string(request_id));
  if (!settings.x_frame_options.empty()) headers.Set("X-Frame-Options", settings.x_frame_options);
  if (!settings.content_security_policy.empty() && !headers.Has("Content-Security-Policy")) {
    headers.Set("Content-Security-Policy", settings.content_security_policy);
  }
  if (!settings.strict_transport_security.empty()) {
    headers.Set("Strict-Transport-Security", settings.strict_transport_security);
  }
  headers.Set("X-Content-Type-Options", "nosniff");
  headers.Set("X-Download-Options", "noopen");
  if (!headers.Has("Cache-Control")) headers.Set("Cache-Control", "no-store, private");
}

http::Response StreamHead(const Call& call, int status, std::string_view content_type) {
  http::Response head;
  head.status = status;
  if (!content_type.empty()) head.headers.Set("Content-Type", std::string(content_type));
  AddCommonHeaders(call.services, call.request_id, head);
  return head;
}

Api::Api(Services& services) : services_(services), session_(services) {
  const auto routes = Routes();
  for (std::size_t i = 0; i < routes.size(); ++i) {
    router_.Add(routes[i].method, routes[i].path, i);
  }
}

Task<void> Api::Start() {
  co_await session_.Start();
}

http::Handler Api::handler() {
  return [this](http::Exchange& exchange) { return Handle(exchange); };
}

/// Everything between the route and the answer; what goes wrong leaves as an exception.
Task<Answer> Api::Run(Call& call) {
  auto query = http::Query::Parse(call.exchange.request().QueryText());
  if (!query) throw Failure(std::move(query).error());
  call.query = std::move(*query);

  Credentials credentials = CredentialsOf(call.exchange.request());
  const bool guarded = call.route.permission != Permission::kOpen;
  if (guarded && credentials.csrf_refused) co_return EmptyAnswer(401);
  if (guarded) call.access = co_await session_.AccessOf(std::move(credentials.authorization));

  Answer answer = co_await Admit(call);
  if (!answer) {
    if (!call.route.handler) {
      co_return TextAnswer(501, std::string(call.route.name) +
                                    " is not there yet: " + std::string(call.route.not_yet));
    }
    answer = co_await call.route.handler(call);
  }
  if (answer && answer->status == 401 && credentials.by_cookie) {
    ClearCookie(answer->headers, kAuthCookie, services_.settings.secure_cookies);
    ClearCookie(answer->headers, kCsrfCookie, services_.settings.secure_cookies);
  }
  co_return answer;
}

Task<void> Api::Handle(http::Exchange& exchange) {
  const http::Request& request = exchange.request();
  std::string request_id = RequestIdOf(request);
  Answer answer;
  auto match = router_.Match(request.method, request.Path());
  if (const auto* wrong = std::get_if<http::Router::MethodNotAllowed>(&match)) {
    answer = EmptyAnswer(405);
    answer->headers.Set("Allow", wrong->allow);
  } else if (auto* found = std::get_if<http::Router::Found>(&match)) {
    const Route& route = Routes()[found->route];
    Call call{.services = services_,
              .session = session_,
              .exchange = exchange,
              .route = route,
              .params = std::move(found->params),
              .request_id = request_id,
              .log = services_.log.With({{"request", Json(request_id)}})};
    // An exception in a coroutine is answered outside of its catch block, where awaiting is
    // allowed.
    std::optional<Error> error;
    try {
      answer = co_await Run(call);
    } catch (const Cancelled&) {
      throw;
    } catch (...) {
      error = CurrentError();
    }
    if (error && call.answered) {
      call.log.Warn("answer broken off",
                    {{"route", Json(route.name)}, {"error", Json(error->message)}});
      co_return;
    }
    if (error) {
      answer = ErrorAnswer(*error, request_id);
      if (answer->status >= 500) {
        call.log.LogError("request failed",
                          {{"route", Json(route.name)}, {"error", Json(error->message)}});
      }
    }
  } else {
    answer = NotFoundAnswer();
  }
  if (!answer) co_return;
  AddCommonHeaders(services_, request_id, *answer);
  co_await exchange.Respond(std::move(*answer));
}

}  // namespace pinion::api
