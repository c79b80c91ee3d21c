#include "worker/garden_server.h"

#include <sys/wait.h>

#include <csignal>

#include "http/client.h"
#include "protocol/garden.h"
#include "worker/containers/testing.h"

namespace pinion::worker {
namespace {

using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

/// A worker with its Garden server on a Unix socket.
class GardenWorker {
 public:
  GardenWorker(const std::filesystem::path& folder, Network* network = nullptr,
               std::int64_t unread_bytes_max = 64 << 20)
      : worker_(folder / "work", network, unread_bytes_max),
        garden_(worker_.containers(), worker_.pool(), worker_.timers(), worker_.log()),
        server_(http::Server::Make(
            worker_.loop().executor(), worker_.timers(), worker_.log(), {},
            [this](http::Exchange& exchange) { return garden_.Handle(exchange); })),
        url_("unix:" + (folder / "garden.sock").string()) {
    const auto listening = server_->Listen(url_);
    EXPECT_TRUE(listening) << listening.error().message;
  }
  ~GardenWorker() { worker_.loop().RunUntilDone(server_->Shutdown(std::chrono::seconds(0))); }

  testing::Worker& worker() { return worker_; }
  std::unique_ptr<http::Client> Connect() {
    return http::Client::Make(worker_.loop().executor(), worker_.timers(), {.url = url_});
  }

 private:
  testing::Worker worker_;
  GardenServer garden_;
  std::unique_ptr<http::Server> server_;
  std::string url_;
};

struct LogFrames {
  std::string out;
  std::string err;
  std::string exit;
  std::int64_t first_out = -1;
};

class GardenServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = testing::WhyNoContainers(); !why.empty()) GTEST_SKIP() << why;
    testing::MakeRootfs(folder_.path() / "rootfs");
  }
  void TearDown() override {
    if (garden_) garden_->worker().DestroyAll();
    client_.reset();
  }
  void Serve(std::int64_t unread_bytes_max = 64 << 20) {
    client_.reset();
    garden_.reset();
    garden_ = std::make_unique<GardenWorker>(folder_.path(), nullptr, unread_bytes_max);
    client_ = garden_->Connect();
  }
  Loop& loop() { return garden_->worker().loop(); }

  static Task<http::Response> Ask(http::Client& client, http::Request request) {
    co_return co_await client.Send(std::move(request), {});
  }
  http::Response Ask(std::string method, std::string target, std::string body = "",
                     http::Headers headers = {}) {
    return loop().RunUntilDone(Ask(*client_, {.method = std::move(method),
                                              .target = std::move(target),
                                              .headers = std::move(headers),
                                              .body = std::move(body)}));
  }
  ContainerSpec Spec(const std::string& handle) const {
    ContainerSpec spec;
    spec.handle = handle;
    spec.rootfs = "raw://" + (folder_.path() / "rootfs").string();
    return spec;
  }
  static ProcessSpec Shell(const std::string& script, const std::string& id = "task") {
    ProcessSpec spec;
    spec.id = id;
    spec.path = "sh";
    spec.args = {"-c", script};
    return spec;
  }
  void Create(const ContainerSpec& spec) {
    const auto response = Ask("POST", "/containers", ToText(ToJson(spec)));
    ASSERT_EQ(response.status, 200) << response.body;
  }

  struct Conversation {
    int status = 0;
    std::string out;
    std::string err;
    std::string last;
  };
  static Task<std::string> ReadAll(http::Stream& stream) {
    std::string all;
    std::array<char, 4096> buffer;
    while (const std::size_t got = co_await stream.Read(buffer, {}))
      all.append(buffer.data(), got);
    co_return all;
  }
  /// What upstream's client does: the conversation, then one connection per output stream.
  static Task<Conversation> Converse(http::Client& client, http::Request request,
                                     std::string handle, std::vector<std::string> input) {
    Conversation result;
    http::Response head;
    const auto stream = co_await client.Hijack(std::move(request), head, {});
    result.status = head.status;
    if (!stream) {
      result.last = head.body;
      co_return result;
    }
    http::LineReader lines(*stream, 1 << 20);
    const auto hello = co_await lines.Next({});
    const Json ids = ValueOrThrow(ParseJson(*hello));
    const std::string base = "/containers/" + handle + "/processes/" +
                             std::string(ids.StringAt("process_id")) + "/attaches/" +
                             std::string(ids.StringAt("stream_id"));
    http::Response ignored;
    const auto out = co_await client.Hijack({.target = base + "/stdout"}, ignored, {});
    const auto err = co_await client.Hijack({.target = base + "/stderr"}, ignored, {});
    for (const std::string& line : input)
      co_await stream->Write(line + "\n", {});
    result.out = co_await ReadAll(*out);
    result.err = co_await ReadAll(*err);
    const auto last = co_await lines.Next({});
    result.last = last.value_or("");
    co_return result;
  }
  Conversation Run(const std::string& handle, const ProcessSpec& spec,
                   std::vector<std::string> input = {}) {
    return loop().RunUntilDone(Converse(*client_,
                                        {.method = "POST",
                                         .target = "/containers/" + handle + "/processes",
                                         .headers = {{"Content-Type", "application/json"}},
                                         .body = ToText(ToJson(spec))},
                                        handle, std::move(input)));
  }
  /// Starts it and goes away.
  void RunAlone(const std::string& handle, const ProcessSpec& spec) {
    const auto start = [](http::Client& client, http::Request request) -> Task<int> {
      http::Response head;
      const auto stream = co_await client.Hijack(std::move(request), head, {});
      co_return head.status;
    };
    EXPECT_EQ(loop().RunUntilDone(start(*client_, {.method = "POST",
                                                   .target = "/containers/" + handle + "/processes",
                                                   .body = ToText(ToJson(spec))})),
              201);
  }
  /// Reads frames until the end, or until so much standard output is there.
  static Task<LogFrames> ReadLog(http::Client& client, std::string target, std::size_t enough) {
    LogFrames frames;
    auto response = co_await client.Open({.target = std::move(target)}, nullptr, {});
    std::string bytes;
    std::array<char, 65536> buffer;
    while (const std::size_t got = co_await response.body->Read(buffer, {})) {
      bytes.append(buffer.data(), got);
      while (bytes.size() >= protocol::garden::kLogFrameHeaderBytes) {
        const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(bytes[i]); };
        std::int64_t offset = 0;
        for (std::size_t i = 1; i < 9; ++i)
          offset = offset << 8 | byte(i);
        std::size_t length = 0;
        for (std::size_t i = 9; i < 13; ++i)
          length = length << 8 | byte(i);
        if (bytes.size() < 13 + length) break;
        const std::string content = bytes.substr(13, length);
        if (byte(0) == 1 && frames.first_out < 0) frames.first_out = offset;
        (byte(0) == 1 ? frames.out : byte(0) == 2 ? frames.err : frames.exit) += content;
        bytes.erase(0, 13 + length);
      }
      if (frames.out.size() >= enough) break;
    }
    co_return frames;
  }
  LogFrames ReadLog(const std::string& handle, std::int64_t out, std::int64_t err,
                    std::size_t enough = SIZE_MAX) {
    return loop().RunUntilDone(ReadLog(*client_,
                                       "/containers/" + handle + "/processes/task/log?stdout=" +
                                           std::to_string(out) + "&stderr=" + std::to_string(err),
                                       enough));
  }

  testing::OpenFolder folder_;
  std::unique_ptr<GardenWorker> garden_;
  std::unique_ptr<http::Client> client_;
};

TEST_F(GardenServerTest, PingTellsOfTheLogExtension) {
  Serve();
  const auto response = Ask("GET", "/ping");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "{\"pinion\":{\"log_offsets\":true}}\n");
}

TEST_F(GardenServerTest, ARunGivesItsOutputOnConnectionsOfItsOwn) {
  Serve();
  Create(Spec("run"));
  const Conversation run = Run("run", Shell("read line; echo got $line; echo err >&2; exit 4"),
                               {R"({"process_id":"task","source":0,"data":"hello\n"})",
                                R"({"process_id":"task","source":0})"});
  EXPECT_EQ(run.status, 201) << run.last;
  EXPECT_EQ(run.out, "got hello\n");
  EXPECT_EQ(run.err, "err\n");
  EXPECT_EQ(run.last, R"({"process_id":"task","exit_status":4})");
}

TEST_F(GardenServerTest, InputOfAMegabyteComesThroughAndEnds) {
  Serve();
  Create(Spec("input"));
  std::vector<std::string> lines;
  for (int i = 0; i < 64; ++i) {
    lines.push_back(R"({"process_id":"task","source":0,"data":")" + std::string(16384, 'x') +
                    "\"}");
  }
  lines.push_back(R"({"process_id":"task","source":0})");
  ProcessSpec spec;
  spec.id = "task";
  spec.path = "cat";
  EXPECT_EQ(Run("input", spec, lines).out.size(), std::size_t{1} << 20);
}

TEST_F(GardenServerTest, ATerminalEchoesAndHasItsSize) {
  Serve();
  Create(Spec("terminal"));
  ProcessSpec spec = Shell("stty size; tty; read line; stty size; exit 2", "hijack");
  spec.tty = protocol::garden::Tty{.window_size = protocol::garden::WindowSize{80, 24}};
  const Conversation run =
      Run("terminal", spec,
          {R"({"process_id":"hijack","tty":{"window_size":{"columns":132,"rows":50}}})",
           R"({"process_id":"hijack","source":0,"data":"x\n"})"});
  // The line is echoed whenever it comes.
  EXPECT_NE(run.out.find("x\r\n"), std::string::npos) << run.out;
  EXPECT_NE(run.out.find("/dev/pts/0\r\n"), std::string::npos) << run.out;
  EXPECT_TRUE(run.out.ends_with("50 132\r\n")) << run.out;
  EXPECT_EQ(run.last, R"({"process_id":"hijack","exit_status":2})");
}

TEST_F(GardenServerTest, AVerbatimTerminalIsOneAndAddsNothing) {
  Serve();
  Create(Spec("task"));
  ProcessSpec spec = Shell("stty size; tty >/dev/null && echo a terminal >&2; read line", "task");
  spec.tty = protocol::garden::Tty{.window_size = protocol::garden::WindowSize{500, 400},
                                   .verbatim = true};
  const Conversation run =
      Run("task", spec, {R"({"process_id":"task","source":0,"data":"not echoed\n"})"});
  EXPECT_EQ(run.out, "400 500\na terminal\n");
  EXPECT_EQ(run.last, R"({"process_id":"task","exit_status":0})");
}

TEST_F(GardenServerTest, ErrorsHaveGardensShape) {
  Serve();
  auto response = Ask("GET", "/containers/none/properties");
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find(R"("Type":"ContainerNotFoundError")"), std::string::npos);
  EXPECT_NE(response.body.find(R"("Handle":"none")"), std::string::npos);

  Create(Spec("errors"));
  response = Ask("GET", "/containers/errors/processes/none");
  EXPECT_EQ(response.status, 404);
  EXPECT_NE(response.body.find(R"("Type":"ProcessNotFoundError")"), std::string::npos);

  ProcessSpec missing;
  missing.id = "task";
  missing.path = "/opt/resource/none";
  const Conversation run = Run("errors", missing);
  EXPECT_EQ(run.status, 500);
  EXPECT_NE(run.last.find(R"("Type":"ExecutableNotFoundError")"), std::string::npos) << run.last;

  ContainerSpec bad = Spec("bad");
  bad.rootfs = "docker:///busybox";
  EXPECT_EQ(Ask("POST", "/containers", ToText(ToJson(bad))).status, 500);
  EXPECT_EQ(Ask("POST", "/containers", "{").status, 500);
  bad = Spec("../up");
  EXPECT_EQ(Ask("POST", "/containers", ToText(ToJson(bad))).status, 500);
  EXPECT_EQ(Ask("GET", "/capacity").status, 500);
  EXPECT_EQ(Ask("GET", "/containers").body, "{\"Handles\":[\"errors\"]}\n");
}

TEST_F(GardenServerTest, CreatingTwiceFindsTheFirst) {
  Serve();
  Create(Spec("twice"));
  Create(Spec("twice"));
  ContainerSpec other = Spec("twice");
  other.env = {"A=B"};
  EXPECT_EQ(Ask("POST", "/containers", ToText(ToJson(other))).status, 409);
}

TEST_F(GardenServerTest, PropertiesFilterTheListAndOutliveTheWorker) {
  Serve();
  ContainerSpec spec = Spec("one");
  spec.properties = {{"user", "build"}};
  Create(spec);
  Create(Spec("two"));
  EXPECT_EQ(
      Ask("PUT", "/containers/one/properties/concourse:exit-status", R"({"value":"3"})").status,
      200);
  Serve();
  EXPECT_EQ(Ask("GET", "/containers?user=build").body, "{\"Handles\":[\"one\"]}\n");
  EXPECT_EQ(Ask("GET", "/containers").body, "{\"Handles\":[\"one\",\"two\"]}\n");
  EXPECT_EQ(Ask("GET", "/containers/one/properties").body,
            "{\"concourse:exit-status\":\"3\",\"user\":\"build\"}\n");
  EXPECT_EQ(Ask("GET", "/containers/one/properties/user").body, "{\"value\":\"build\"}\n");
}

TEST_F(GardenServerTest, AnOldEpochIsFencedOff) {
  Serve();
  Create(Spec("fenced"));
  const auto ask = [&](const char* epoch) {
    return Ask("GET", "/containers/fenced/properties", "", {{"X-Pinion-Epoch", epoch}}).status;
  };
  EXPECT_EQ(ask("5"), 200);
  EXPECT_EQ(ask("4"), 409);
  EXPECT_EQ(ask("5"), 200);
  Serve();
  EXPECT_EQ(ask("4"), 409);
  EXPECT_EQ(ask("6"), 200);
}

TEST_F(GardenServerTest, AProcessThatIsToRunOnceIsNotStartedAgain) {
  Serve();
  Create(Spec("once"));
  EXPECT_EQ(Run("once", Shell("echo run >> /tmp/runs")).status, 201);
  const auto again = Ask("POST", "/containers/once/processes",
                         ToText(ToJson(Shell("echo run >> /tmp/runs"))), {{"X-Pinion-Once", "1"}});
  EXPECT_EQ(again.status, 409);
  EXPECT_EQ(Run("once", Shell("cat /tmp/runs", "look")).out, "run\n");
}

TEST_F(GardenServerTest, TheLogIsReadFromOffsets) {
  Serve();
  Create(Spec("log"));
  Run("log", Shell("echo 0123456789; echo abcdef >&2; exit 9"));
  const LogFrames whole = ReadLog("log", 0, 0);
  EXPECT_EQ(whole.out, "0123456789\n");
  EXPECT_EQ(whole.err, "abcdef\n");
  EXPECT_EQ(whole.exit, "{\"exit_status\":9}");
  const LogFrames rest = ReadLog("log", 4, 6);
  EXPECT_EQ(rest.first_out, 4);
  EXPECT_EQ(rest.out, "456789\n");
  EXPECT_EQ(rest.err, "\n");
}

TEST_F(GardenServerTest, AProcessWithoutAReaderBlocksAtTheLimitAndGoesOn) {
  Serve(1 << 20);
  Create(Spec("ahead"));
  RunAlone("ahead", Shell("dd if=/dev/zero bs=65536 count=128 2>/dev/null; echo done >&2"));
  const auto process = (*garden_->worker().containers().Find("ahead"))->FindProcess("task");
  const auto until = [](std::shared_ptr<ContainerProcess> p) -> Task<void> {
    while (p->size[0] < (1 << 20))
      co_await p->changed.Wait({});
  };
  loop().RunUntilDone(until(process));
  EXPECT_FALSE(process->end);
  EXPECT_LT(process->size[0], 2 << 20);
  const LogFrames all = ReadLog("ahead", 0, 0);
  EXPECT_EQ(all.out.size(), std::size_t{8} << 20);
  EXPECT_EQ(all.err, "done\n");
}

TEST_F(GardenServerTest, AcknowledgedOutputIsThrownAway) {
  Serve();
  Create(Spec("punched"));
  RunAlone("punched", Shell("dd if=/dev/zero bs=65536 count=64 2>/dev/null; cat; echo end"));
  const auto process = (*garden_->worker().containers().Find("punched"))->FindProcess("task");
  ReadLog("punched", 0, 0, 4 << 20);
  EXPECT_EQ(Ask("PUT", "/containers/punched/processes/task/log", "",
                {{"X-Pinion-Acknowledged-Stdout", "4194304"}})
                .status,
            200);
  const LogFrames rest = ReadLog("punched", 0, 0);
  EXPECT_LT(rest.out.size(), std::size_t{4} << 20);
  EXPECT_GT(rest.first_out, 0);
}

TEST_F(GardenServerTest, DestroyLeavesNothing) {
  Serve();
  Create(Spec("gone"));
  RunAlone("gone", Shell("sleep 1000"));
  EXPECT_EQ(Ask("DELETE", "/containers/gone").status, 200);
  EXPECT_EQ(Ask("DELETE", "/containers/gone").status, 404);
  EXPECT_FALSE(std::filesystem::exists(folder_.path() / "work/containers/gone"));
  const Launcher& launcher = garden_->worker().containers().launcher();
  EXPECT_FALSE(std::filesystem::exists(launcher.RunFolder("gone")));
  EXPECT_TRUE(launcher.cgroups().Processes(launcher.CgroupOf("gone")).empty());
}

TEST_F(GardenServerTest, AWorkerKilledInTheMiddleLosesNothing) {
  int ready[2];
  ASSERT_EQ(::pipe(ready), 0);
  // The first worker is a process of its own, which is killed without a chance to tidy up.
  const pid_t first = ::fork();
  if (first == 0) {
    Serve();
    Create(Spec("storm"));
    RunAlone("storm", Shell("i=0; while [ $i -lt 200 ]; do echo line $i; i=$((i+1)); sleep 0.005; "
                            "done; exit 6"));
    ReadLog("storm", 0, 0, 100);
    if (::write(ready[1], "x", 1) != 1) ::_exit(1);
    while (true)
      ::pause();
  }
  char byte = 0;
  ASSERT_EQ(::read(ready[0], &byte, 1), 1);
  ::kill(first, SIGKILL);
  ::waitpid(first, nullptr, 0);
  ::close(ready[0]);
  ::close(ready[1]);

  Serve();
  const LogFrames log = ReadLog("storm", 0, 0);
  std::string expected;
  for (int i = 0; i < 200; ++i)
    expected += "line " + std::to_string(i) + "\n";
  EXPECT_EQ(log.out, expected);
  EXPECT_EQ(log.exit, "{\"exit_status\":6}");
}

TEST_F(GardenServerTest, AKilledSupervisorIsNamedAndTheLogStays) {
  Serve();
  Create(Spec("orphan"));
  RunAlone("orphan", Shell("echo said; sleep 1000"));
  ReadLog("orphan", 0, 0, 5);
  const auto init = ReadFile(garden_->worker().containers().launcher().RunFolder("orphan") / "pid");
  ASSERT_TRUE(init);
  const auto status = ReadFile("/proc/" + *init + "/stat");
  ASSERT_TRUE(status);
  const std::string_view after(std::string_view(*status).substr(status->rfind(')') + 4));
  const pid_t supervisor = std::stoi(std::string(after));
  ASSERT_GT(supervisor, 1);
  ::kill(supervisor, SIGKILL);
  const LogFrames log = ReadLog("orphan", 0, 0);
  EXPECT_EQ(log.out, "said\n");
  EXPECT_NE(log.exit.find("supervisor of container orphan was killed"), std::string::npos)
      << log.exit;
  // The container is started again for whoever wants to look at it.
  EXPECT_EQ(Run("orphan", Shell("echo back", "hijack")).out, "back\n");
}

}  // namespace
}  // namespace pinion::worker
