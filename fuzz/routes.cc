// Requests to every route of the API over a real database: whatever they hold, the answer is no
// fault of the server's (5xx). The input is
//   USER ROUTE PATH-PARAMETERS?QUERY
//   Header: value
//
//   BODY
// where ROUTE is a name of the route table or "METHOD:/path", and parameters that are not given are
// those of what is there.
#include "api/route.h"
#include "api/test_api.h"
#include "base/encoding.h"
#include "base/text.h"
#include "fuzz/target.h"

using namespace pinion;
using fuzz::Require;

namespace {

constexpr std::string_view kPipeline = R"(
resources: [{name: r, type: mock, source: {a: b}, webhook_token: t}]
jobs: [{name: j, public: true, plan: [{get: r}, {task: t, file: r/t.yml}]}]
)";
/// What one input changes the next ones see; so often all begins anew.
constexpr int kRunsOfOneWorld = 100;

struct FakeChecks final : api::CheckControl {
  Task<Result<BuildId>> CheckNow(api::CheckRequest request) override {
    if (!request.resource.value) co_return Fail(ErrorKind::kConflict, "no such check");
    co_return Fail(ErrorKind::kNotFound, "no worker");
  }
};
struct FakeScheduling final : api::ScheduleControl {
  void JobChanged(JobId) override {}
};
struct FakeBuilds final : api::BuildControl {
  void Aborted(BuildId) override {}
  void Created(BuildId) override {}
};

class World : public api::ApiTest {
 public:
  static std::unique_ptr<World> Make() {
    // Parametrised fixtures are made by their factory only.
    static ::testing::internal::ParameterizedTestFactory<World> factory(store::Dialect::kSqlite);
    std::unique_ptr<World> world(static_cast<World*>(factory.CreateTest()));
    world->SetUp();
    world->Fill();
    return world;
  }
  void TestBody() override {}
  void End() { TearDown(); }

  http::Response Ask(const std::string& user, const std::string& method, const std::string& target,
                     const std::string& body, http::Headers headers) {
    return Send(method, target, user, body, std::move(headers));
  }

 private:
  void Wire(api::Services& services) override {
    services.checks = &checks_;
    services.scheduling = &scheduling_;
    services.builds = &builds_;
    services.settings.config_bytes_max = 4096;
    services.settings.body_bytes_max = 4096;
  }
  void Fill() {
    Require(SetPipeline("p", std::string(kPipeline)).status == 201, "no pipeline");
    const std::string path = "/api/v1/teams/main/pipelines/p";
    Require(Send("PUT", path + "/unpause", "test").status == 200, "not unpaused");
    Require(Send("POST", path + "/jobs/j/builds", "test").status == 200, "no build");
  }

  FakeChecks checks_;
  FakeScheduling scheduling_;
  FakeBuilds builds_;
};

/// "/api/v1/teams/:team_name/…" with the parameters in their order, or what there is in the world.
std::string Fill(std::string_view pattern, std::string_view parameters) {
  std::string path;
  fuzz::Input values(reinterpret_cast<const std::uint8_t*>(parameters.data()), parameters.size());
  for (const std::string_view segment : Split(pattern.substr(1), '/')) {
    path += '/';
    if (!segment.starts_with(':')) {
      path += segment;
      continue;
    }
    const std::string_view given = values.Until("/");
    if (!given.empty()) {
      path += PercentEncode(given);
    } else if (segment == ":team_name") {
      path += "main";
    } else if (segment == ":pipeline_name") {
      path += "p";
    } else if (segment == ":job_name") {
      path += "j";
    } else if (segment == ":resource_name") {
      path += "r";
    } else {
      path += "1";
    }
  }
  return path;
}

bool IsUsable(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c > 0x20 && c < 0x7f; });
}

struct Asked {
  std::string user, method, target, body;
  http::Headers headers;
};

std::optional<Asked> Read(std::string_view text) {
  fuzz::Input input(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  const std::string_view line = input.Until("\n");
  const std::vector<std::string_view> words = Split(line, ' ');
  if (words.size() < 2) return std::nullopt;
  Asked asked;
  const bool known = words[0] == "test" || words[0] == "viewer" || words[0] == "other" ||
                     words[0] == "member" || words[0] == "operator" || words[0] == "system";
  if (known) asked.user = words[0];
  const std::string_view rest = words.size() > 2 ? words[2] : std::string_view();
  const std::size_t mark = std::min(rest.find('?'), rest.size());
  const auto routes = api::Routes();
  const auto route = std::ranges::find(routes, words[1], &api::Route::name);
  if (route != routes.end()) {
    asked.method = route->method;
    asked.target = Fill(route->path, rest.substr(0, mark)) + std::string(rest.substr(mark));
  } else {
    const std::size_t colon = std::min(words[1].find(':'), words[1].size());
    asked.method = words[1].substr(0, colon);
    asked.target = words[1].substr(std::min(colon + 1, words[1].size()));
    asked.target += rest.substr(mark);
  }
  const bool method =
      std::ranges::all_of(asked.method, [](char c) { return c >= 'A' && c <= 'Z'; });
  if (!method || asked.method.empty() || asked.method == "HEAD" || asked.method == "CONNECT") {
    return std::nullopt;  // what the client in between would not send
  }
  if (!asked.target.starts_with('/') || !IsUsable(asked.target)) return std::nullopt;
  while (!input.Rest().empty()) {
    const std::string_view field = input.Until("\n");
    if (field.empty()) break;
    const std::size_t colon = std::min(field.find(':'), field.size());
    const std::string_view name = field.substr(0, colon);
    const bool plain = !name.empty() && std::ranges::all_of(name, [](char c) {
      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '-';
    });
    const std::string value(Trim(field.substr(std::min(colon + 1, field.size()))));
    const std::string lower = ToLower(name);
    // The connection is the HTTP target's business.
    if (!plain || lower == "host" || lower == "connection" || lower == "upgrade" ||
        lower == "expect" || lower == "content-length" || lower == "transfer-encoding" ||
        (!value.empty() &&
         !std::ranges::all_of(value, [](char c) { return c >= 0x20 && c < 0x7f; }))) {
      continue;
    }
    asked.headers.Set(name, value);
  }
  asked.body = input.Rest();
  return asked;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Never destroyed: threads of the last world go on until the process ends.
  static std::unique_ptr<World>& world = *new std::unique_ptr<World>();
  static std::vector<std::string> history;
  const auto asked = Read({reinterpret_cast<const char*>(data), size});
  if (!asked) return -1;
  if (!world || history.size() >= kRunsOfOneWorld) {
    if (world) world->End();
    world = World::Make();
    history.clear();
  }
  history.push_back(asked->user + " " + asked->method + " " + asked->target);
  const http::Response answer =
      world->Ask(asked->user, asked->method, asked->target, asked->body, asked->headers);
  // What is not there yet, or not wired here, says so; and there is no worker to be healthy.
  const bool missing =
      answer.status == 501 ||
      // Upstream's answer to a config of an older version than the one that is there.
      answer.body.ends_with("comparison with existing config failed during save") ||
      (answer.status == 503 && (answer.body.starts_with("{\"status\":\"failing\"") ||
                                answer.body.ends_with("signs no identity tokens") ||
                                answer.body.ends_with("is not part of this process")));
  if (answer.status >= 500 && !missing) {
    std::string requests;
    for (const std::string& line : history)
      requests += line + "\n";
    Require(false, "answered " + std::to_string(answer.status) + ": " + answer.body, requests);
  }
  Require(answer.status >= 200, "no status");
  return 0;
}
