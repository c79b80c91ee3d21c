#include <deque>
#include <fstream>

#include "api/test_api.h"
#include "async/task_group.h"
#include "base/encoding.h"
#include "fleet/worker_client.h"
#include "http/event_stream.h"
#include "protocol/events.h"
#include "store/containers.h"
#include "store/versions.h"
#include "store/workers.h"

namespace pinion::api {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

/// Says back what it is told, on standard error; "exit N" ends it, "refused" is input that it
/// does not take, "break" breaks its connection.
class FakeProcess final : public fleet::InteractiveProcess {
 public:
  Task<fleet::ProcessOutput> Next(std::stop_token stop) override {
    while (output_.empty() && !broken_) {
      co_await SuspendUntilStop<bool>(stop, [this](Waker<bool> waker) { waiting_ = waker; });
    }
    if (output_.empty()) throw Failure(ErrorKind::kUnavailable, "the connection broke off");
    fleet::ProcessOutput next = std::move(output_.front());
    output_.pop_front();
    co_return next;
  }
  Task<void> WriteInput(std::string bytes) override {
    if (bytes == "refused") throw Failure(ErrorKind::kUnavailable, "broken pipe");
    if (bytes == "break") {
      broken_ = true;
      if (waiting_) waiting_(true);
    } else if (bytes.starts_with("exit ")) {
      Put({.stream = 0, .exit_status = std::stoi(bytes.substr(5))});
    } else {
      Put({.stream = 2, .bytes = "got " + bytes});
    }
    co_return;
  }
  Task<void> CloseInput() override {
    Put({.stream = 0, .exit_status = 0});
    co_return;
  }
  Task<void> SetWindowSize(int columns, int rows) override {
    Put({.stream = 1, .bytes = std::to_string(columns) + "x" + std::to_string(rows)});
    co_return;
  }

 private:
  void Put(fleet::ProcessOutput output) {
    output_.push_back(std::move(output));
    if (waiting_) waiting_(true);
  }
  std::deque<fleet::ProcessOutput> output_;
  bool broken_ = false;
  Waker<bool> waiting_;
};

class FakeHijack final : public HijackControl {
 public:
  Task<Result<std::unique_ptr<fleet::InteractiveProcess>>> Start(std::string worker,
                                                                 std::string container,
                                                                 protocol::garden::ProcessSpec spec,
                                                                 bool& executable_missing,
                                                                 std::stop_token) override {
    started = worker + "/" + container + ": " + spec.path;
    if (spec.path == "missing") {
      executable_missing = true;
      co_return Fail(ErrorKind::kNotFound, "no executable 'missing'");
    }
    co_return std::make_unique<FakeProcess>();
  }
  std::string started;
};

class FakeChecks final : public CheckControl {
 public:
  explicit FakeChecks(store::Database& database) : database_(database) {}
  Task<Result<BuildId>> CheckNow(CheckRequest request) override {
    last = request;
    auto work = [request](store::Transaction& t) {
      protocol::Plan plan;
      plan.id = "1";
      plan.check.emplace();
      const auto pipeline = store::FindPipelineById(t, request.pipeline);
      return store::CreateCheckBuild(t,
                                     {.team = pipeline->team,
                                      .pipeline = request.pipeline,
                                      .resource = request.resource,
                                      .manual = true,
                                      .created_by = request.created_by},
                                     plan)
          .value();
    };
    co_return co_await database_.Write(store::Pool::kApi, work);
  }
  CheckRequest last;

 private:
  store::Database& database_;
};

/// One "volume": what was uploaded last.
class FakeVolumes final : public VolumeStreams {
 public:
  Task<Result<Place>> Upload(TeamId, std::string platform, std::vector<std::string> tags,
                             http::BodyReader& tar, std::stop_token stop) override {
    asked = platform + (tags.empty() ? "" : " " + tags.front());
    char buffer[1000];
    while (const std::size_t count = co_await tar.Read(buffer, stop))
      content.append(buffer, count);
    co_return Place{"worker", "volume"};
  }
  Task<Result<std::unique_ptr<http::BodyReader>>> Download(Place place, std::stop_token) override {
    if (place.volume != "volume") co_return Fail(ErrorKind::kNotFound, "gone");
    co_return std::make_unique<Reader>(content);
  }
  std::string content;
  std::string asked;

 private:
  class Reader final : public http::BodyReader {
   public:
    explicit Reader(std::string text) : text_(std::move(text)) {}
    Task<std::size_t> Read(std::span<char> buffer, std::stop_token) override {
      const std::size_t count = std::min(buffer.size(), text_.size() - at_);
      std::copy_n(text_.data() + at_, count, buffer.data());
      at_ += count;
      co_return count;
    }

   private:
    std::string text_;
    std::size_t at_ = 0;
  };
};

const std::string kBase = "/api/v1/teams/main/pipelines/p";
constexpr const char* kPipeline = R"(
resources:
- {name: r, type: mock, source: {}, webhook_token: secret}
- {name: silent, type: mock, source: {}}
jobs:
- {name: j, plan: [{get: r}, {get: silent}]}
)";

class StreamsTest : public ApiTest {
 protected:
  void Wire(Services& services) override {
    logs_ = events::MakeFileLogStore(folder_.path() / "logs", loop_.executor(), *timers_, log_pool_,
                                     Logger());
    checks_ = std::make_unique<FakeChecks>(database());
    services.logs = logs_.get();
    services.checks = checks_.get();
    services.hijack = &hijack_;
    services.volumes = &volumes_;
  }
  void TearDown() override {
    if (logs_) Run(logs_->Close());
    ApiTest::TearDown();
  }
  void AddContainer(const std::string& handle, const std::string& team, const std::string& type) {
    Write([&](store::Transaction& t) {
      const TeamId id = store::FindTeam(t, team)->id;
      if (!store::FindWorker(t, "w")) {
        store::RegisterWorker(t, {.name = "w", .platform = "linux", .garden_addr = "x"}, 0);
      }
      store::CreateContainer(t, {.handle = handle,
                                 .worker_name = "w",
                                 .team = id,
                                 .step_name = "go",
                                 .type = type,
                                 .metadata = {.pipeline_id = 7, .pipeline_name = "p"}});
      store::SetContainerCreated(t, handle);
    });
  }
  http::Request WithToken(const std::string& target, const std::string& user = "test") {
    http::Request request{.target = target};
    request.headers.Set("Authorization", "Bearer " + TokenOf(user));
    return request;
  }

  ThreadPool log_pool_{"logs", 1, 64};
  FakeHijack hijack_;
  FakeVolumes volumes_;
  std::unique_ptr<FakeChecks> checks_;
};
PINION_FOR_EACH_DATABASE(StreamsTest);

/// Reads events of the stream until its end, "end", or so many.
Task<std::vector<std::string>> ReadEvents(http::Client& client, http::Request request,
                                          std::size_t limit) {
  auto response = co_await client.Open(std::move(request), nullptr, {});
  std::vector<std::string> events;
  if (response.status != 200) co_return std::vector{std::to_string(response.status)};
  http::EventStreamReader reader(*response.body,
                                 response.headers.Get("Content-Encoding") == "gzip");
  while (events.size() < limit) {
    const auto event = co_await reader.Next({});
    if (!event) break;
    const auto data = ParseJson(event->data);
    events.push_back(event->id + ":" + event->event +
                     (data ? ":" + std::string(data->Find("data")->StringAt("payload")) : ""));
    if (event->event == "end") break;
  }
  co_return events;
}

Task<void> WriteLog(events::LogStore& logs, BuildId build, std::vector<std::string> lines) {
  auto writer = co_await logs.OpenWriter(build);
  for (const std::string& line : lines) {
    writer->Append(protocol::LogEvent({.id = "1", .source = "stdout"}, 1, line));
  }
  co_await writer->Finish();
}

TEST_P(StreamsTest, EventsAreReplayedAndResumed) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const std::int64_t id = Ask(200, "POST", kBase + "/jobs/j/builds", "test").IntegerAt("id");
  Run(WriteLog(*logs_, BuildId{id}, {"a", "b", "c"}));
  Write([&](store::Transaction& t) {
    store::FinishBuild(t, BuildId{id}, store::BuildStatus::kSucceeded);
  });
  const std::string path = "/api/v1/builds/" + std::to_string(id) + "/events";
  EXPECT_THAT(Run(ReadEvents(*client_, WithToken(path), 9)),
              ElementsAre("0:event:a", "1:event:b", "2:event:c", "3:end"));
  auto resumed = WithToken(path);
  resumed.headers.Set("Last-Event-ID", "1");
  resumed.headers.Set("Accept-Encoding", "gzip");
  EXPECT_THAT(Run(ReadEvents(*client_, std::move(resumed), 9)), ElementsAre("2:event:c", "3:end"));
  auto wrong = WithToken(path);
  wrong.headers.Set("Last-Event-ID", "x");
  EXPECT_THAT(Run(ReadEvents(*client_, std::move(wrong), 9)), ElementsAre("400"));
  EXPECT_EQ(Send("GET", path).status, 401);
}

Task<void> WriteSlowly(events::LogStore& logs, Timers& timers, BuildId build) {
  co_await timers.Sleep(20ms, {});
  co_await WriteLog(logs, build, {"late"});
}

TEST_P(StreamsTest, EventsArriveWhileTheBuildRuns) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const std::int64_t id = Ask(200, "POST", kBase + "/jobs/j/builds", "test").IntegerAt("id");
  TaskGroup tasks(loop_.executor(), Logger(), "test");
  tasks.Spawn(WriteSlowly(*logs_, *timers_, BuildId{id}));
  const std::string path = "/api/v1/builds/" + std::to_string(id) + "/events";
  EXPECT_THAT(Run(ReadEvents(*client_, WithToken(path), 9)), ElementsAre("0:event:late", "1:end"));
  Run(tasks.Join());
}

Task<void> AbortSoon(http::Client& client, Timers& timers, http::Request request) {
  co_await timers.Sleep(20ms, {});
  co_await client.Send(std::move(request), {});
}

TEST_P(StreamsTest, EventsEndWhenABuildIsAbortedBeforeItStarts) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const std::int64_t id = Ask(200, "POST", kBase + "/jobs/j/builds", "test").IntegerAt("id");
  const std::string build = "/api/v1/builds/" + std::to_string(id);
  auto abort = WithToken(build + "/abort");
  abort.method = "PUT";
  TaskGroup tasks(loop_.executor(), Logger(), "test");
  tasks.Spawn(AbortSoon(*client_, *timers_, std::move(abort)));
  EXPECT_THAT(Run(ReadEvents(*client_, WithToken(build + "/events"), 9)), ElementsAre("0:end"));
  Run(tasks.Join());
}

/// What a hijack says to these messages, each as its text.
Task<std::vector<std::string>> Hijack(http::Client& client, http::Request request,
                                      std::vector<std::string> messages) {
  http::Response head;
  auto socket = co_await client.OpenWebSocket(std::move(request), head, 1 << 20, {});
  std::vector<std::string> answers;
  if (!socket) co_return std::vector{std::to_string(head.status)};
  for (std::string& message : messages) {
    co_await socket->Write({.data = std::move(message), .text = true}, {});
  }
  while (const auto answer = co_await socket->Read({}))
    answers.push_back(answer->data);
  co_return answers;
}

std::string Input(const std::string& text) {
  return ToText(Json(JsonObject{{"stdin", Json(ToBase64(text))}}));
}

TEST_P(StreamsTest, HijackSpeaksWithAProcess) {
  AddContainer("c1", "main", "task");
  const std::string path = "/api/v1/teams/main/containers/c1/hijack";
  EXPECT_THAT(
      Run(Hijack(
          *client_, WithToken(path),
          {R"({"path":"sh","args":[],"tty":{"window_size":{"columns":80,"rows":24}}})",
           R"({"tty":{"window_size":{"columns":100,"rows":30}}})", Input("hi"), Input("exit 3")})),
      ElementsAre(R"({"stdout":")" + ToBase64("100x30") + "\"}",
                  R"({"stderr":")" + ToBase64("got hi") + "\"}", R"({"exit_status":3})"));
  EXPECT_EQ(hijack_.started, "w/c1: sh");
  const auto row = Read([](store::Transaction& t) { return store::FindContainer(t, "c1"); });
  EXPECT_TRUE(row && row->hijacked_at);
  EXPECT_THAT(
      Run(Hijack(*client_, WithToken(path), {R"({"path":"missing"})"})),
      ElementsAre(R"({"executable_not_found":true})", R"({"error":"no executable 'missing'"})"));
  EXPECT_THAT(Run(Hijack(*client_, WithToken(path), {"nonsense"})), ElementsAre());
  Write([](store::Transaction& t) { store::SetContainerDestroying(t, "c1"); });
  EXPECT_THAT(Run(Hijack(*client_, WithToken(path), {})), ElementsAre("404"));
}

TEST_P(StreamsTest, HijackDeliversWhatAProcessSaysThatTakesNoInputAnyMore) {
  AddContainer("c1", "main", "task");
  const auto request = WithToken("/api/v1/teams/main/containers/c1/hijack");
  EXPECT_THAT(Run(Hijack(*client_, request,
                         {R"({"path":"cat"})", Input("refused"), Input("hi"), Input("exit 0")})),
              ElementsAre(R"({"stderr":")" + ToBase64("got hi") + "\"}", R"({"exit_status":0})"));
}

TEST_P(StreamsTest, HijackTellsThatItBrokeOff) {
  AddContainer("c1", "main", "task");
  const auto request = WithToken("/api/v1/teams/main/containers/c1/hijack");
  EXPECT_THAT(Run(Hijack(*client_, request, {R"({"path":"cat"})", Input("break")})),
              ElementsAre(R"({"error":"the connection broke off"})"));
}

TEST_P(StreamsTest, HijackStaysWithinTheTeam) {
  AddContainer("c1", "main", "task");
  AddContainer("c2", "other", "task");
  AddContainer("c3", "main", "check");
  const std::string base = "/api/v1/teams/main/containers/";
  const auto refused = [&](const std::string& handle, const std::string& user) {
    return Run(Hijack(*client_, WithToken(base + handle + "/hijack", user), {})).front();
  };
  EXPECT_EQ(refused("c2", "test"), "404");
  EXPECT_EQ(refused("c2", "member"), "404");
  EXPECT_EQ(refused("c3", "member"), "403");
  EXPECT_EQ(refused("c1", "operator"), "403");
  EXPECT_EQ(refused("c1", "other"), "403");
  EXPECT_EQ(refused("nothing", "test"), "404");
  EXPECT_EQ(Send("GET", base + "c1/hijack", "member").status, 400) << "no upgrade";
  EXPECT_EQ(Ask(200, "GET", base.substr(0, base.size() - 1), "viewer").AsArray().size(), 2U);
  EXPECT_EQ(
      Ask(200, "GET", base.substr(0, base.size() - 1) + "?type=task", "viewer").AsArray().size(),
      1U);
  Ask(400, "GET", base.substr(0, base.size() - 1) + "?build_id=x", "viewer");
  Ask(404, "GET", base + "c2", "viewer");
  EXPECT_EQ(Ask(200, "GET", base + "c1", "viewer").IntegerAt("pipeline_id"), 7);
}

TEST_P(StreamsTest, ArtifactsGoUpAndDown) {
  const std::string bytes(300'000, 'x');
  const Json made =
      Ask(201, "POST", "/api/v1/teams/main/artifacts?platform=darwin&tags=fast", "member", bytes);
  EXPECT_EQ(volumes_.content, bytes);
  EXPECT_EQ(volumes_.asked, "darwin fast");
  const std::string path = "/api/v1/teams/main/artifacts/" + std::to_string(made.IntegerAt("id"));
  const auto got = Send("GET", path, "member");
  EXPECT_EQ(got.status, 200);
  EXPECT_EQ(got.body, bytes);
  EXPECT_EQ(Send("GET", path, "operator").status, 403);
  EXPECT_EQ(Send("GET", "/api/v1/teams/other/artifacts/1", "other").status, 404);
}

TEST_P(StreamsTest, ChecksAreAskedForByUsersAndWebhooks) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const Json build = Ask(201, "POST", kBase + "/resources/r/check", "operator",
                         R"({"from":{"b":"2","a":"1"},"shallow":true})");
  EXPECT_EQ(build.StringAt("resource_name"), "r");
  EXPECT_EQ(checks_->last.from_version, R"({"a":"1","b":"2"})");
  EXPECT_TRUE(checks_->last.shallow);
  EXPECT_EQ(checks_->last.created_by, "operator");
  Ask(400, "POST", kBase + "/resources/r/check", "operator", "");
  Ask(404, "POST", kBase + "/resources/x/check", "operator", "{}");

  const std::string hook = kBase + "/resources/r/check/webhook";
  Ask(201, "POST", hook + "?webhook_token=secret");
  Ask(401, "POST", hook + "?webhook_token=wrong");
  Ask(400, "POST", hook);
  Ask(401, "POST", kBase + "/resources/silent/check/webhook?webhook_token=x");
}

TEST_P(StreamsTest, VersionsAreListedPinnedAndDisabled) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  Write([&](store::Transaction& t) {
    const auto pipeline = store::FindPipeline(t, "main", "p", "");
    const auto row = t.QueryOne("select id from resources where pipeline_id = $1 and name = 'r'",
                                {pipeline->id});
    const auto scope =
        t.QueryOne("insert into scopes (key, type) values ('k', 'mock') returning id");
    t.Execute("update resources set scope_id = $1 where id = $2",
              {scope->Integer(0), row->Integer(0)});
    store::SaveVersions(t, scope->IdAt<ScopeId>(0), {{{"v", "1"}}, {{"v", "2"}}, {{"v", "3"}}});
  });
  const std::string path = kBase + "/resources/r/versions";
  const auto page = Send("GET", path + "?limit=2", "viewer");
  const Json versions = ParseJson(page.body).value();
  ASSERT_EQ(versions.AsArray().size(), 2U);
  EXPECT_EQ(versions.AsArray()[0].Find("version")->StringAt("v"), "3");
  EXPECT_THAT(std::string(page.headers.Get("Link")), HasSubstr("rel=\"next\""));
  EXPECT_EQ(Ask(200, "GET", path + "?filter=v:2", "viewer").AsArray().size(), 1U);

  const std::string version = path + "/" + std::to_string(versions.AsArray()[1].IntegerAt("id"));
  Ask(200, "PUT", version + "/disable", "operator");
  EXPECT_FALSE(Ask(200, "GET", version, "viewer").BoolAt("enabled"));
  Ask(200, "PUT", version + "/enable", "operator");
  Ask(200, "PUT", version + "/pin", "operator");
  Ask(200, "PUT", kBase + "/resources/r/pin_comment", "operator", R"({"pin_comment":"why"})");
  const Json resource = Ask(200, "GET", kBase + "/resources/r", "viewer");
  EXPECT_EQ(resource.Find("pinned_version")->StringAt("v"), "2");
  EXPECT_EQ(resource.StringAt("pin_comment"), "why");
  Ask(200, "PUT", kBase + "/resources/r/unpin", "operator");
  EXPECT_TRUE(Ask(200, "GET", version + "/input_to", "viewer").AsArray().empty());
  Ask(404, "PUT", path + "/999/pin", "operator");
  Ask(400, "PUT", path + "/x/pin", "operator");
  EXPECT_EQ(Ask(200, "DELETE", path, "test").IntegerAt("versions_removed"), 3);
}

TEST_P(StreamsTest, WorkersAreRegisteredByGateways) {
  const std::string worker =
      R"({"name":"w1","addr":"10.0.0.1:7777","baggageclaim_url":"http://10.0.0.1:7788",)"
      R"("platform":"linux","tags":[" fast "],"version":"2.5","start_time":5,)"
      R"("resource_types":[{"type":"git","image":"/git","version":"1","privileged":false,)"
      R"("unique_version_history":false}],"certs_path":null})";
  Ask(200, "POST", "/api/v1/workers?ttl=30s", "system", worker);
  Ask(400, "POST", "/api/v1/workers?ttl=x", "system", worker);
  Ask(400, "POST", "/api/v1/workers", "system", R"({"name":"w2"})");
  Ask(400, "POST", "/api/v1/workers", "system", R"({"addr":"x","version":"a"})");
  const Json list = Ask(200, "GET", "/api/v1/workers", "viewer");
  ASSERT_EQ(list.AsArray().size(), 1U);
  EXPECT_EQ(list.AsArray()[0].StringAt("state"), "running");
  EXPECT_EQ(ToText(*list.AsArray()[0].Find("tags")), R"(["fast"])");
  const Json beat = Ask(200, "PUT", "/api/v1/workers/w1/heartbeat?ttl=30s", "system",
                        R"({"active_containers":4})");
  EXPECT_EQ(beat.IntegerAt("active_containers"), 4);
  Ask(404, "PUT", "/api/v1/workers/w2/heartbeat?ttl=30s", "system", "{}");
  Ask(400, "PUT", "/api/v1/workers/w1/prune", "test");
  Ask(200, "PUT", "/api/v1/workers/w1/land", "test");
  EXPECT_EQ(Ask(200, "GET", "/api/v1/workers", "viewer").AsArray()[0].StringAt("state"), "landing");
  Ask(204, "PUT", "/api/v1/containers/report?worker_name=w1", "system", R"(["x"])");
  EXPECT_EQ(ToText(Ask(200, "GET", "/api/v1/containers/destroying?worker_name=w1", "system")),
            R"(["x"])");
  Ask(204, "PUT", "/api/v1/volumes/report?worker_name=w1", "system", R"(["y"])");
  Ask(200, "PUT", "/api/v1/workers/w1/prune", "test");
  Ask(404, "PUT", "/api/v1/workers/w1/prune", "test");
}

TEST_P(StreamsTest, BadgesAndBuildMonitorsAreAnswered) {
  ASSERT_EQ(SetPipeline("p", kPipeline).status, 201);
  const auto unknown = Send("GET", kBase + "/jobs/j/badge?title=%3Cx%3E", "viewer");
  EXPECT_EQ(unknown.headers.Get("Content-Type"), "image/svg+xml");
  EXPECT_THAT(unknown.body, HasSubstr("unknown"));
  EXPECT_THAT(unknown.body, HasSubstr("&lt;x&gt;"));
  const std::int64_t id = Ask(200, "POST", kBase + "/jobs/j/builds", "test").IntegerAt("id");
  Write([&](store::Transaction& t) {
    store::FinishBuild(t, BuildId{id}, store::BuildStatus::kFailed);
  });
  EXPECT_THAT(Send("GET", kBase + "/badge", "viewer").body, HasSubstr("failing"));
  const auto redirect = Send("GET", "/api/v1/pipelines/p/jobs/j/badge");
  EXPECT_EQ(redirect.headers.Get("Location"), "/api/v1/teams/main/pipelines/p/jobs/j/badge");
  const auto monitor = Send("GET", "/api/v1/teams/main/cc.xml", "viewer");
  EXPECT_THAT(monitor.body, HasSubstr("lastBuildStatus=\"Failure\""));
  EXPECT_EQ(Send("GET", "/api/v1/teams/main/cc.xml").body.find("lastBuild"), std::string::npos);
}

TEST_P(StreamsTest, AnswersCarryIdsAndSecurityHeaders) {
  const auto info = Send("GET", "/api/v1/info", "", "", {{"X-Request-Id", "abc-1"}});
  EXPECT_EQ(info.headers.Get("X-Concourse-Version"), "8.2.4");
  EXPECT_EQ(info.headers.Get("X-Request-Id"), "abc-1");
  EXPECT_EQ(info.headers.Get("X-Frame-Options"), "deny");
  EXPECT_EQ(info.headers.Get("X-Content-Type-Options"), "nosniff");
  EXPECT_EQ(info.headers.Get("Cache-Control"), "no-store, private");
  const auto odd = Send("GET", "/api/v1/info", "", "", {{"X-Request-Id", "a b<c>"}});
  EXPECT_EQ(odd.headers.Get("X-Request-Id").size(), 36U);
  EXPECT_EQ(Send("POST", "/api/v1/teams/main/builds", "test", std::string(9 << 20, ' ')).status,
            413);
  EXPECT_EQ(Send("GET", "/api/v1/info?a=%zz").status, 400);
  EXPECT_EQ(Send("GET", "/api/v1/health").status, 503) << "no worker runs";
}

TEST_P(StreamsTest, ALogLevelAndAWallAreSet) {
  Ask(200, "PUT", "/api/v1/wall", "test", R"({"message":"hi","TTL":60000000000})");
  EXPECT_GT(Ask(200, "GET", "/api/v1/wall").IntegerAt("TTL"), 0);
  Ask(400, "PUT", "/api/v1/wall", "test", "{}");
  Ask(200, "DELETE", "/api/v1/wall", "test");
  EXPECT_EQ(ToText(Ask(200, "GET", "/api/v1/wall")), "{}");
  Ask(400, "PUT", "/api/v1/log-level", "test", "loud");
  Ask(200, "PUT", "/api/v1/log-level", "test", "debug");
  EXPECT_GE(Ask(200, "GET", "/api/v1/users", "test").AsArray().size(), 1U);
  Ask(400, "GET", "/api/v1/users?since=yesterday", "test");
  Ask(200, "GET", "/api/v1/components", "test");
  Ask(404, "PUT", "/api/v1/components/nothing/pause", "test");
}

}  // namespace
}  // namespace pinion::api
