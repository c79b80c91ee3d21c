#include "api/test_api.h"

#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>

#include "store/teams.h"

namespace pinion::api {

namespace {

using namespace std::chrono_literals;

constexpr const char* kMainAuth = R"({"owner":{"users":["local:test"],"groups":[]},)"
                                  R"("member":{"users":["local:member"],"groups":[]},)"
                                  R"("pipeline-operator":{"users":["local:operator"],"groups":[]},)"
                                  R"("viewer":{"users":["local:viewer"],"groups":[]}})";
constexpr const char* kOtherAuth = R"({"owner":{"users":["local:other"],"groups":[]}})";

Task<http::Response> SendTo(http::Client& client, http::Request request) {
  co_return co_await client.Send(std::move(request), {});
}

}  // namespace

void ApiTest::SetUp() {
  DatabaseTest::SetUp();
  if (IsSkipped() || HasFatalFailure()) return;
  Write([](store::Transaction& t) {
    store::EnsureMainTeam(t, kMainAuth);
    store::CreateTeam(t, "other", kOtherAuth);
  });
  // Hashed once: bcrypt is slow on purpose.
  static const auto kUsers = [] {
    identity::LocalUsers users;
    for (const std::string name : {"test", "member", "operator", "viewer", "other"}) {
      ValueOrThrow(users.Add(name + ":" + name));
    }
    return users;
  }();
  users_ = kUsers;
  timers_ = MakeSystemTimers(loop_.executor(), clock());
  services_ = std::make_unique<Services>(Services{.database = database(),
                                                  .clock = clock(),
                                                  .timers = *timers_,
                                                  .executor = loop_.executor(),
                                                  .local_users = users_});
  services_->settings.system_clients = {{"concourse-worker", "secret"}};
  Adjust(services_->settings);
  Wire(*services_);
  api_ = std::make_unique<Api>(*services_);
  Run(api_->Start());
  server_ = http::Server::Make(loop_.executor(), *timers_, Logger(), {}, api_->handler());
  ValueOrThrow(server_->Listen("127.0.0.1:0"));
  services_->settings.external_url = Url();
  client_ = http::Client::Make(loop_.executor(), *timers_, {.url = Url()});
}

void ApiTest::TearDown() {
  client_.reset();
  if (server_) Run(server_->Shutdown(1s));
  server_.reset();
  api_.reset();
  services_.reset();
  logs_.reset();
  DatabaseTest::TearDown();
}

http::Response ApiTest::Send(const std::string& method, const std::string& target,
                             const std::string& user, const std::string& body,
                             http::Headers headers) {
  http::Request request{.method = method, .target = target, .body = body};
  request.headers = std::move(headers);
  if (!user.empty()) request.headers.Set("Authorization", "Bearer " + TokenOf(user));
  return Run(SendTo(*client_, std::move(request)));
}

Json ApiTest::Ask(int status, const std::string& method, const std::string& target,
                  const std::string& user, const std::string& body) {
  const auto response = Send(method, target, user, body);
  EXPECT_EQ(response.status, status) << method << " " << target << ": " << response.body;
  if (response.body.empty()) return {};
  auto json = ParseJson(response.body);
  if (!json) return Json(response.body);
  return std::move(*json);
}

http::Response ApiTest::SetPipeline(const std::string& name, const std::string& yaml,
                                    const std::string& team, const std::string& user) {
  const std::string path = "/api/v1/teams/" + team + "/pipelines/" + name + "/config";
  const auto current = Send("GET", path, user);
  http::Headers headers{{"Content-Type", "application/x-yaml"}};
  if (current.status == 200) {
    headers.Set("X-Concourse-Config-Version",
                std::string(current.headers.Get("X-Concourse-Config-Version")));
  }
  return Send("PUT", path, user, yaml, std::move(headers));
}

std::string ApiTest::TokenOf(const std::string& user) {
  if (const auto known = tokens_.find(user); known != tokens_.end()) return known->second;
  http::Request request{.method = "POST", .target = "/sky/issuer/token"};
  request.headers.Set("Content-Type", "application/x-www-form-urlencoded");
  if (user == "system") {
    request.headers.Set("Authorization", "Basic Y29uY291cnNlLXdvcmtlcjpzZWNyZXQ=");
    request.body = "grant_type=client_credentials";
  } else {
    request.headers.Set("Authorization", "Basic Zmx5OlpteDU=");
    request.body = "grant_type=password&username=" + user + "&password=" + user +
                   "&scope=openid+profile+email+federated%3Aid+groups";
  }
  const auto response = Run(SendTo(*client_, std::move(request)));
  EXPECT_EQ(response.status, 200) << response.body;
  const auto json = ParseJson(response.body);
  return tokens_[user] = json ? std::string(json->StringAt("access_token")) : std::string();
}

std::string ApiTest::Shell(const std::string& command, int& status) {
  auto work = [command, &status] {
    std::string output;
    FILE* pipe = popen(("{ " + command + "\n} 2>&1").c_str(), "r");
    char buffer[4096];
    while (const std::size_t count = fread(buffer, 1, sizeof buffer, pipe)) {
      output.append(buffer, count);
    }
    const int ended = pclose(pipe);
    status = WIFEXITED(ended) ? WEXITSTATUS(ended) : 128 + WTERMSIG(ended);
    return output;
  };
  return Run(shell_.Run(work));
}

std::string ApiTest::Fly() {
  const char* home = std::getenv("HOME");
  const std::string path = std::string(home ? home : "") + "/.cache/pinion/upstream/bin/fly";
  return std::filesystem::exists(path) ? path : std::string();
}

}  // namespace pinion::api
