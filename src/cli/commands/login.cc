#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ostream>
#include <thread>

#include "async/signal.h"
#include "base/encoding.h"
#include "base/files.h"
#include "base/options.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/prompt.h"
#include "cli/table.h"
#include "cli/target.h"
#include "http/server.h"
#include "linux/fd.h"
#include "linux/process.h"

namespace pinion::cli {
namespace {

struct LoginOptions {
  std::string url, username, password, team, ca_cert, client_cert, client_key;
  bool insecure = false;
  bool open_browser = false;

  void AddTo(Options& options) {
    options.Add({.name = "concourse-url", .doc = "URL of the server", .short_name = 'c'}, url);
    options.Add(
        {.name = "insecure", .doc = "Do not check the server's certificate", .short_name = 'k'},
        insecure);
    options.Add({.name = "username", .doc = "User name, with --password", .short_name = 'u'},
                username);
    options.Add({.name = "password", .doc = "Password", .short_name = 'p', .secret = true},
                password);
    options.Add({.name = "team-name",
                 .doc = "Team that commands act on; the saved one, or main",
                 .short_name = 'n'},
                team);
    options.Add({.name = "ca-cert", .doc = "File with CA certificates in PEM"}, ca_cert);
    options.Add({.name = "client-cert", .doc = "File with a client certificate in PEM"},
                client_cert);
    options.Add({.name = "client-key", .doc = "File with the client certificate's key"},
                client_key);
    options.Add(
        {.name = "open-browser", .doc = "Open the login page in a browser", .short_name = 'b'},
        open_browser);
  }
};

/// What shall be saved, but for the token.
SavedTarget Prepare(Context& context, const LoginOptions& options) {
  if (context.target.empty()) {
    throw CommandError("name for the target must be specified (--target/-t)");
  }
  SavedTarget target;
  if (options.url.empty()) {
    target = RequireTarget(context);
    target.insecure = options.insecure;
    if (options.insecure) target.ca_cert.clear();
  } else {
    target.api = options.url;
    target.team = "main";
    target.insecure = options.insecure;
  }
  target.token.reset();
  if (!options.team.empty()) target.team = options.team;
  if (!options.ca_cert.empty()) {
    const auto text = ReadFile(ExpandPath(options.ca_cert));
    if (!text) throw CommandError(text.error().message);
    target.ca_cert = *text;
  }
  if (!options.client_cert.empty() || !options.client_key.empty()) {
    target.client_cert_path = ExpandPath(options.client_cert);
    target.client_key_path = ExpandPath(options.client_key);
  }
  return target;
}

Token PasswordToken(Api& api, const LoginOptions& options) {
  const auto form = [](std::string_view name, std::string_view value) {
    return std::string(name) + "=" + PercentEncode(value);
  };
  Call call{.method = "POST", .path = "/sky/issuer/token"};
  call.content_type = "application/x-www-form-urlencoded";
  call.body = Join({form("grant_type", "password"), form("username", options.username),
                    form("password", options.password),
                    form("scope", "openid profile email federated:id groups")},
                   "&");
  call.authorization = "Basic " + ToBase64("fly:Zmx5");
  const http::Response answer = api.Send(call);
  const auto json = ParseJson(answer.body);
  if (answer.status != 200) {
    std::string why = StatusText(answer.status);
    if (json && !json->StringAt("error").empty()) {
      why = std::string(json->StringAt("error"));
      const std::string_view description = json->StringAt("error_description");
      if (!description.empty()) why += ": " + std::string(description);
    }
    throw CommandError("login failed: " + why);
  }
  if (!json || json->StringAt("access_token").empty()) {
    throw CommandError("login failed: the server answered without a token");
  }
  return {std::string(json->StringAt("token_type", "bearer")),
          std::string(json->StringAt("access_token"))};
}

std::optional<Token> ParseToken(std::string_view text) {
  text = Trim(text);
  const std::size_t space = text.find(' ');
  if (space == std::string_view::npos || text.find(' ', space + 1) != std::string_view::npos) {
    return std::nullopt;
  }
  return Token{std::string(text.substr(0, space)), std::string(text.substr(space + 1))};
}

/// Waits for a token: from the browser, through a server on this machine alone, or from the
/// standard input. Everything on the loop's thread but the reading of lines.
class TokenWait {
 public:
  TokenWait(Context& context, Api& api) : context_(context), api_(api) {
    server_ = http::Server::Make(api.loop().executor(), api.timers(), Logger(), {},
                                 [this](http::Exchange& exchange) { return Answer(exchange); });
    const auto listening = server_->Listen("127.0.0.1:0");
    if (!listening) throw CommandError(listening.error().message);
  }
  ~TokenWait() {
    const std::uint64_t one = 1;
    [[maybe_unused]] const ssize_t written = ::write(stop_reading_.get(), &one, sizeof one);
    if (reader_.joinable()) reader_.join();
    api_.Run(server_->Shutdown(std::chrono::seconds(1)));
  }
  int port() const { return server_->port(); }

  std::optional<Token> Wait() {
    reader_ = std::thread([this] { ReadLines(); });
    return api_.Run(WaitTask());
  }

 private:
  Task<std::optional<Token>> WaitTask() {
    co_await done_.Wait({});
    co_return token_;
  }

  Task<void> Answer(http::Exchange& exchange) {
    const http::Request& request = exchange.request();
    http::Response response;
    response.headers.Set("Access-Control-Allow-Origin", api_.url());
    if (request.headers.Get("Access-Control-Request-Private-Network") == "true") {
      response.headers.Set("Access-Control-Allow-Private-Network", "true");
      co_await exchange.Respond(std::move(response));
      co_return;
    }
    const auto query = http::Query::Parse(request.QueryText());
    const auto text = query ? query->Get("token") : std::nullopt;
    const auto token = text ? ParseToken(*text) : std::nullopt;
    if (!token) {
      response.status = 400;
      response.body = "no token\n";
    } else if (request.headers.Has("Upgrade-Insecure-Requests")) {
      response.status = 302;
      response.headers.Set("Location", api_.url() + "/fly_success?noop=true");
    }
    co_await exchange.Respond(std::move(response));
    if (token) Finish(token);
  }

  void Finish(std::optional<Token> token) {
    if (done_.IsSet()) return;
    token_ = std::move(token);
    done_.Set();
  }

  /// On its own thread. At the input's end only the browser is left.
  void ReadLines() {
    std::string line;
    for (;;) {
      std::array<pollfd, 2> waiting{{{context_.in, POLLIN, 0}, {stop_reading_.get(), POLLIN, 0}}};
      if (::poll(waiting.data(), waiting.size(), -1) < 0 && errno != EINTR) return;
      if (waiting[1].revents) return;
      if (!waiting[0].revents) continue;
      char c = 0;
      if (::read(context_.in, &c, 1) != 1) return;
      if (c != '\n') {
        if (line.size() < 65536) line += c;
        continue;
      }
      auto token = ParseToken(line);
      line.clear();
      api_.loop().Post([this, token = std::move(token)] {
        if (token) return Finish(token);
        context_.out << "token must be of the format 'TYPE VALUE', e.g. 'Bearer ...'\n"
                     << std::flush;
      });
    }
  }

  Context& context_;
  Api& api_;
  std::unique_ptr<http::Server> server_;
  linux::UniqueFd stop_reading_{::eventfd(0, EFD_CLOEXEC)};
  std::thread reader_;
  Event done_;
  std::optional<Token> token_;
};

void OpenBrowser(const std::string& url) {
  // Best effort: the URL was printed anyway.
  const auto opened = linux::RunCommand({"xdg-open", url}, "", std::chrono::seconds(5));
  static_cast<void>(opened);
}

Token BrowserToken(Context& context, Api& api, const LoginOptions& options) {
  TokenWait wait(context, api);
  const std::string url = api.url() + "/login?fly_port=" + std::to_string(wait.port());
  context.out << "navigate to the following URL in your browser:\n\n  " << url << "\n\n"
              << "or enter token manually (input hidden): " << std::flush;
  if (options.open_browser) OpenBrowser(url);
  std::optional<Token> token;
  {
    const HiddenInput hidden(context);
    token = wait.Wait();
  }
  context.out << '\n';
  if (!token) throw CommandError("invalid token");
  return *token;
}

/// The token must be good for the team.
void CheckTeam(Api& api, const std::string& team) {
  const Json user = api.AskJson({.path = "/api/v1/user"});
  if (!user.BoolAt("is_admin")) {
    const Json* teams = user.Find("teams");
    if (!teams || !teams->IsObject()) throw CommandError("unable to verify role on team");
    if (!teams->Find(team)) {
      throw CommandError("you are not a member of '" + team + "' or the team does not exist");
    }
    return;
  }
  const Json teams = api.AskJson({.path = "/api/v1/teams"});
  if (teams.IsArray()) {
    for (const Json& found : teams.AsArray()) {
      if (found.StringAt("name") == team) return;
    }
  }
  throw CommandError("team '" + team + "' does not exist");
}

}  // namespace

int Login(Context& context, const Command& command, const Words& words) {
  LoginOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  SavedTarget saved = Prepare(context, given);

  Target target;
  target.name = context.target;
  target.team = saved.team;
  target.api = std::make_unique<Api>(context, ConnectionOf(saved));
  saved.api = target.api->url();
  context.out << "logging in to team '" << saved.team << "'\n\n" << std::flush;
  CheckVersion(context, target, true);

  const bool by_password = !given.username.empty() && !given.password.empty();
  saved.token =
      by_password ? PasswordToken(*target.api, given) : BrowserToken(context, *target.api, given);
  context.out << '\n';
  Api with_token(context, ConnectionOf(saved));
  CheckTeam(with_token, saved.team);

  FlyRc file(FlyRcPath(context.environment));
  file.Load();
  saved.others = file.targets[context.target].others;
  file.targets[context.target] = std::move(saved);
  file.Save();
  context.out << "target saved\n";
  return 0;
}

namespace {

void LogOut(Context& context, const std::string& name) {
  FlyRc file(FlyRcPath(context.environment));
  file.Load();
  const auto found = file.targets.find(name);
  if (found == file.targets.end()) {
    throw CommandError("failed to load target \"" + name + "\": unknown target: " + name);
  }
  std::optional<Token>& token = found->second.token;
  if (token && !token->type.empty() && !token->value.empty()) {
    Connection connection = ConnectionOf(found->second);
    connection.token.reset();
    Api api(context, std::move(connection));
    Call call{.path = "/sky/logout"};
    call.cookie = "skymarshal_auth=\"" + token->type + " " + token->value + "\"";
    const http::Response answer = api.Send(call);
    if (answer.status != 200) {
      throw CommandError("failed to logout from API: logout failed with status: " +
                         StatusText(answer.status));
    }
  }
  if (token) token = Token{};
  file.Save();
  context.out << "logged out of target: " << name << '\n';
}

}  // namespace

int Logout(Context& context, const Command& command, const Words& words) {
  bool all = false;
  Options options;
  options.Add({.name = "all", .doc = "Log out of every target", .short_name = 'a'}, all);
  ParseWords(context, command, options, words);
  if (context.target.empty() == !all) {
    throw CommandError("must specify either --target or --all");
  }
  if (!all) {
    LogOut(context, context.target);
    return 0;
  }
  FlyRc file(FlyRcPath(context.environment));
  file.Load();
  std::vector<std::string> errors;
  for (const auto& [name, target] : file.targets) {
    try {
      LogOut(context, name);
    } catch (const std::exception& error) {
      errors.push_back(name + ": " + error.what());
    }
  }
  if (!errors.empty()) throw CommandError(Join(errors, "\n"));
  context.out << "logged out of all targets\n";
  return 0;
}

int Status(Context& context, const Command& command, const Words& words) {
  Options options;
  ParseWords(context, command, options, words);
  Target target = LoadTarget(context);
  if (!target.api->token() || target.api->token()->value.empty()) throw PlainError("logged out");
  try {
    target.api->AskJson({.path = "/api/v1/user"});
  } catch (const CommandError& error) {
    throw PlainError(std::string("please login again.\n\ntoken validation failed with error: ") +
                     error.what());
  }
  context.out << "logged in successfully\n";
  return 0;
}

}  // namespace pinion::cli
