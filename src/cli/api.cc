#include "cli/api.h"

#include <ostream>

#include "base/files.h"
#include "base/text.h"
#include "cli/errors.h"

namespace pinion::cli {
namespace {

void CheckPair(const Connection& connection) {
  if (connection.client_cert_path.empty() && !connection.client_key_path.empty()) {
    throw CommandError("A client key may not be declared without defining a client certificate");
  }
  if (!connection.client_cert_path.empty() && connection.client_key_path.empty()) {
    throw CommandError("A client certificate may not be declared without defining a client key");
  }
}

/// What 404 answers say, when it is JSON with errors.
std::string NotFoundText(const std::string& body) {
  std::string text;
  if (const auto json = ParseJson(body)) {
    const Json* errors = json->Find("errors");
    if (errors && errors->IsArray()) {
      for (const Json& error : errors->AsArray()) {
        if (!text.empty()) text += ' ';
        text += error.StringAt("detail");
      }
    }
  }
  return text.empty() ? "resource not found" : text;
}

void Trace(std::ostream& err, const http::Request& request) {
  err << request.method << ' ' << request.target << " HTTP/1.1\n";
  for (const auto& [name, value] : request.headers) {
    const bool secret = name == "Authorization" || name == "Cookie";
    err << name << ": " << (secret ? "[hidden]" : value) << '\n';
  }
  err << '\n' << request.body << "\n\n";
}

void Trace(std::ostream& err, const http::Response& response) {
  err << "HTTP/1.1 " << StatusText(response.status) << '\n';
  for (const auto& [name, value] : response.headers)
    err << name << ": " << (name == "Set-Cookie" ? "[hidden]" : value) << '\n';
  err << '\n' << response.body << "\n\n";
}

}  // namespace

std::string ReadPemFile(const std::string& path) {
  if (path.empty()) return {};
  auto text = ReadFile(path, 1 << 20);
  if (!text) throw CommandError(text.error().message);
  return *text;
}

std::string StatusText(int status) {
  static const std::map<int, std::string_view> kNames{{200, "OK"},
                                                      {201, "Created"},
                                                      {204, "No Content"},
                                                      {302, "Found"},
                                                      {307, "Temporary Redirect"},
                                                      {400, "Bad Request"},
                                                      {401, "Unauthorized"},
                                                      {403, "Forbidden"},
                                                      {404, "Not Found"},
                                                      {405, "Method Not Allowed"},
                                                      {406, "Not Acceptable"},
                                                      {409, "Conflict"},
                                                      {413, "Request Entity Too Large"},
                                                      {429, "Too Many Requests"},
                                                      {500, "Internal Server Error"},
                                                      {501, "Not Implemented"},
                                                      {502, "Bad Gateway"},
                                                      {503, "Service Unavailable"},
                                                      {504, "Gateway Timeout"}};
  const auto found = kNames.find(status);
  return std::to_string(status) + " " + std::string(found == kNames.end() ? "" : found->second);
}

Api::Api(Context& context, Connection connection)
    : context_(context),
      connection_(std::move(connection)),
      timers_(MakeSystemTimers(loop_.executor(), context.clock)) {
  CheckPair(connection_);
  url_ = connection_.url;
  while (url_.ends_with('/'))
    url_.pop_back();
  const std::size_t host = url_.find("://");
  if (host == std::string::npos) {
    throw CommandError("the server's URL '" + url_ +
                       "' needs a scheme: http://HOST[:PORT] or https://HOST[:PORT]");
  }
  const std::size_t path = url_.find('/', host + 3);
  if (path != std::string::npos) prefix_ = url_.substr(path);
  http::ClientOptions options;
  options.url = url_.substr(0, path);
  options.connect_timeout = std::chrono::seconds(10);
  // Answers may take long, such as a configuration's whose credentials are looked up first.
  options.response_timeout = std::chrono::minutes(10);
  options.body_bytes_max = 512 << 20;
  options.ca_certificates = connection_.ca_certificates;
  options.client_certificate = ReadPemFile(connection_.client_cert_path);
  options.client_key = ReadPemFile(connection_.client_key_path);
  options.insecure = connection_.insecure;
  client_ = http::Client::Make(loop_.executor(), *timers_, std::move(options));
}

Api::~Api() = default;

http::Request Api::MakeRequest(const Call& call) const {
  http::Request request;
  request.method = call.method;
  request.target = prefix_ + call.path + QueryText(call.query);
  request.headers.Set("User-Agent", "pinion");
  if (!call.authorization.empty()) {
    request.headers.Set("Authorization", call.authorization);
  } else if (connection_.token && !connection_.token->empty()) {
    // Type names compare without case, but not everybody's parser does.
    const bool bearer = ToLower(connection_.token->type) == "bearer";
    request.headers.Set("Authorization", (bearer ? "Bearer" : connection_.token->type) + " " +
                                             connection_.token->value);
  }
  if (call.body) {
    request.headers.Set("Content-Type", call.content_type);
    request.body = *call.body;
  }
  if (!call.cookie.empty()) request.headers.Set("Cookie", call.cookie);
  if (call.config_version) {
    request.headers.Set("X-Concourse-Config-Version", *call.config_version);
  }
  return request;
}

http::Response Api::Send(const Call& call) {
  http::Request request = MakeRequest(call);
  if (context_.verbose) Trace(context_.err, request);
  http::Response response;
  try {
    response = loop_.RunUntilDone(client_->Send(std::move(request), {}));
  } catch (const Failure& failure) {
    if (failure.error().kind == ErrorKind::kUnavailable ||
        failure.error().kind == ErrorKind::kTimeout) {
      throw Unreachable(failure.what());
    }
    throw;
  }
  if (context_.verbose) Trace(context_.err, response);
  return response;
}

void Api::Check(const http::Response& response) {
  if (response.status >= 200 && response.status < 300) return;
  if (response.status == 404) throw NotFoundAnswer(NotFoundText(response.body));
  if (response.status == 401) throw NotAuthorized();
  if (response.status == 403) throw Forbidden(response.body);
  throw UnexpectedAnswer(response.status, StatusText(response.status), response.body);
}

http::Response Api::Ask(const Call& call) {
  http::Response response = Send(call);
  Check(response);
  return response;
}

Json Api::AskJson(const Call& call) {
  const http::Response response = Ask(call);
  if (response.status == 204 || response.body.empty()) return {};
  auto json = ParseJson(response.body, {.bytes = 512 << 20});
  if (!json) {
    throw CommandError("the answer of " + call.method + " " + call.path + " is no JSON: " +
                       json.error().message + " (is the target's URL that of a Concourse server?)");
  }
  return std::move(*json);
}

bool Api::Found(const Call& call) {
  try {
    Ask(call);
    return true;
  } catch (const NotFoundAnswer&) {
    return false;
  }
}

}  // namespace pinion::cli
