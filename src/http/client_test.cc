#include "http/client.h"

#include <thread>

#include "async/signal.h"
#include "http/test_server.h"

namespace pinion::http {
namespace {

using namespace std::chrono_literals;

/// A peer that answers as the test says: one function per connection that is accepted.
class ClientTest : public ServerTest {
 public:
  using Talker = std::function<Task<void>(RawClient&)>;

  ~ClientTest() override {
    tasks_.RequestStop();
    if (listener_) listener_->Close();
    loop_.RunUntilDone(tasks_.Join());
  }
  std::unique_ptr<Client> Peer(Talker talker, ClientOptions options = {}) {
    const auto opened = OpenListener("127.0.0.1:0");
    listener_ = std::make_unique<Readiness>(loop_.executor(), opened->descriptor);
    options.url = "http://127.0.0.1:" + std::to_string(opened->port);
    talker_ = std::move(talker);
    tasks_.Spawn(Accept(*this));
    return MakeClient(options);
  }
  static Task<void> Accept(ClientTest& self) {
    for (;;) {
      co_await self.listener_->WaitReadable(self.tasks_.stop_token());
      const int descriptor =
          accept4(self.listener_->descriptor(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (descriptor < 0) continue;
      ++self.accepted_;
      self.tasks_.Spawn(TalkWith(self, descriptor));
    }
  }
  static Task<void> TalkWith(ClientTest& self, int descriptor) {
    RawClient raw(MakeSocket(self.loop_.executor(), *self.timers_, descriptor));
    co_await self.talker_(raw);
  }

  int accepted_ = 0;
  Talker talker_;
  std::unique_ptr<Readiness> listener_;
  TaskGroup tasks_{loop_.executor(), Logger(), "peer"};
};

ErrorKind KindOf(const std::function<void()>& action, std::string* message = nullptr) {
  try {
    action();
  } catch (const Failure& failure) {
    if (message) *message = failure.what();
    return failure.error().kind;
  }
  ADD_FAILURE() << "nothing was thrown";
  return ErrorKind::kInternal;
}

constexpr const char* kOk = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// Answers one request, then closes when the next comes.
Task<void> AnswerOnce(RawClient& peer) {
  co_await peer.ReadUntil("\r\n\r\n");
  co_await peer.Send(kOk);
  co_await peer.ReadUntil("\r\n\r\n");
}

TEST_F(ClientTest, SendsAgainWhenAKeptConnectionTurnsOutDead) {
  const auto client = Peer(AnswerOnce);
  for (int i = 1; i <= 3; ++i) {
    EXPECT_EQ(Run(Ask(*client, {})).body, "ok");
    EXPECT_EQ(accepted_, i);
  }
}

Task<void> CloseWithoutAnswer(RawClient& peer) {
  co_await peer.ReadUntil("\r\n\r\n");
}

TEST_F(ClientTest, DoesNotSendAgainOnANewConnection) {
  const auto client = Peer(CloseWithoutAnswer);
  std::string message;
  EXPECT_EQ(KindOf([&] { Run(Ask(*client, {.target = "/x?token=secret"})); }, &message),
            ErrorKind::kUnavailable);
  EXPECT_EQ(accepted_, 1);
  EXPECT_EQ(message.find("secret"), std::string::npos);
  EXPECT_TRUE(message.starts_with("GET http://127.0.0.1:")) << message;
  EXPECT_TRUE(message.ends_with("/x: the connection was closed without an answer")) << message;
}

TEST_F(ClientTest, SurvivesPeersThatSpeakNoHttp) {
  for (const std::string& answer : std::vector<std::string>{
           "SSH-2.0-OpenSSH\r\n\r\n", "HTTP/1.1 2000 OK\r\n\r\n", "HTTP/1.1 200 OK\r\nX",
           "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
           "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
           "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
           "HTTP/1.1 200 OK\r\nX: " + std::string(300'000, 'x') + "\r\n\r\n"}) {
    const auto client = Peer([answer](RawClient& peer) -> Task<void> {
      return [](RawClient& p, std::string a) -> Task<void> {
        co_await p.ReadUntil("\r\n\r\n");
        co_await p.Send(a);
      }(peer, answer);
    });
    EXPECT_EQ(KindOf([&] { Run(Ask(*client, {})); }), ErrorKind::kUnavailable) << answer;
  }
}

TEST_F(ClientTest, ReadsAnswersThatEndWithTheConnectionAndInterimOnes) {
  const auto client = Peer([](RawClient& peer) -> Task<void> {
    co_await peer.ReadUntil("\r\n\r\n");
    co_await peer.Send(
        "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nX: y\r\n\r\nuntil the end");
  });
  const auto response = Run(Ask(*client, {}));
  EXPECT_EQ(response.body, "until the end");
  EXPECT_EQ(response.headers.Get("x"), "y");
  EXPECT_FALSE(response.headers.Has("Link"));
}

Task<void> StaySilent(RawClient& peer) {
  co_await peer.ReadUntil("\r\n\r\n");
  co_await peer.ReadAll();
}

TEST_F(ClientTest, GivesUpOnSilentPeersInTime) {
  const auto client = Peer(StaySilent, {.response_timeout = 20ms});
  EXPECT_EQ(KindOf([&] { Run(Ask(*client, {})); }), ErrorKind::kTimeout);
}

TEST_F(ClientTest, StopsAtOnceWhenAskedFromItsOwnLoop) {
  const auto client = Peer(StaySilent);
  const auto stopped = [](ClientTest& test, Client& c) -> Task<bool> {
    std::stop_source stop;
    const auto timer = test.timers_->After(5ms, [&] { stop.request_stop(); });
    try {
      co_await c.Send({}, stop.get_token());
    } catch (const Cancelled&) {
      co_return true;
    }
    co_return false;
  };
  EXPECT_TRUE(Run(stopped(*this, *client)));
}

TEST_F(ClientTest, StopsWhenAskedFromAnotherThread) {
  const auto client = Peer(StaySilent);
  std::stop_source stop;
  std::thread other;
  const auto stopped = [](Client& c, std::stop_source& source, std::thread& thread) -> Task<bool> {
    thread = std::thread([&source] { source.request_stop(); });
    try {
      co_await c.Send({}, source.get_token());
    } catch (const Cancelled&) {
      co_return true;
    }
    co_return false;
  };
  EXPECT_TRUE(Run(stopped(*client, stop, other)));
  other.join();
}

TEST_F(ClientTest, NamesPeersThatCannotBeReached) {
  std::string message;
  const auto nobody = MakeClient({.url = "unix:/nonexistent/x.sock"});
  EXPECT_EQ(KindOf([&] { Run(Ask(*nobody, {.target = "/ping"})); }, &message),
            ErrorKind::kUnavailable);
  EXPECT_EQ(message, "GET unix:/nonexistent/x.sock /ping: connect: No such file or directory");
  const auto closed = MakeClient({.url = "http://127.0.0.1:1"});
  EXPECT_EQ(KindOf([&] { Run(Ask(*closed, {})); }, &message), ErrorKind::kUnavailable);
  EXPECT_EQ(message, "GET http://127.0.0.1:1/: connect: Connection refused");
  for (const char* url : {"", "ftp://x", "http://", "http://x:99999", "http://user:pw@x"}) {
    const auto wrong = Client::Make(loop_.executor(), *timers_, {.url = url});
    EXPECT_EQ(KindOf([&] { Run(Ask(*wrong, {})); }), ErrorKind::kInvalid) << url;
  }
}

Task<void> AnswerLarge(Exchange& exchange) {
  co_await exchange.Respond({.body = std::string(100'000, 'x')});
}

TEST_F(ClientTest, RefusesAnswersThatAreTooLarge) {
  Serve(AnswerLarge);
  const auto client = MakeClient({.body_bytes_max = 50'000});
  EXPECT_EQ(KindOf([&] { Run(Ask(*client, {})); }), ErrorKind::kTooLarge);
}

/// Gives blocks out, for ever if asked to.
class Source final : public BodyReader {
 public:
  explicit Source(std::size_t blocks) : left_(blocks) {}
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    if (left_ == 0) {
      if (!waits) co_return 0;
      Event never;
      co_await never.Wait(stop);
    }
    --left_;
    std::ranges::fill(buffer, 'x');
    co_return buffer.size();
  }
  bool waits = false;

 private:
  std::size_t left_;
};

Task<void> CountBody(Exchange& exchange) {
  if (exchange.request().Path() == "/no") {
    co_await exchange.Respond({.status = 403});
    co_return;
  }
  std::size_t count = 0;
  std::array<char, 100'000> chunk;
  for (;;) {
    const std::size_t got = co_await exchange.body().Read(chunk, exchange.stop());
    if (got == 0) break;
    count += got;
  }
  co_await exchange.Respond({.body = std::to_string(count)});
}

Task<Response> Upload(Client& client, std::string target, Source& source) {
  auto response = co_await client.Open({.method = "PUT", .target = std::move(target)}, &source, {});
  Response whole{.status = response.status};
  std::array<char, 100> chunk;
  for (;;) {
    const std::size_t got = co_await response.body->Read(chunk, {});
    if (got == 0) co_return whole;
    whole.body.append(chunk.data(), got);
  }
}

TEST_F(ClientTest, StreamsBodiesOut) {
  Serve(CountBody);
  const auto client = MakeClient();
  Source source(100);
  const auto response = Run(Upload(*client, "/", source));
  EXPECT_EQ(response.body, std::to_string(100 * (64 << 10)));
}

TEST_F(ClientTest, StopsSendingWhenThePeerAnswersEarly) {
  Serve(CountBody);
  const auto client = MakeClient();
  Source endless(std::size_t{1} << 40);
  EXPECT_EQ(Run(Upload(*client, "/no", endless)).status, 403);
  Source waiting(1);
  waiting.waits = true;
  EXPECT_EQ(Run(Upload(*client, "/no", waiting)).status, 403);
}

Task<void> Meet(Exchange& exchange, std::size_t& now, std::size_t& most, Timers& timers) {
  most = std::max(most, ++now);
  co_await timers.Sleep(2ms, exchange.stop());
  --now;
  co_await exchange.Respond({});
}

TEST_F(ClientTest, KeepsToItsNumberOfConnections) {
  std::size_t now = 0;
  std::size_t most = 0;
  Serve([&](Exchange& exchange) { return Meet(exchange, now, most, *timers_); });
  const auto client = MakeClient({.connections_max = 3});
  const auto ask = [](Client& c, int& count) -> Task<void> {
    const auto response = co_await c.Send({}, {});
    if (response.status == 200) ++count;
  };
  int answered = 0;
  TaskGroup group(loop_.executor(), Logger(), "askers");
  for (int i = 0; i < 20; ++i)
    group.Spawn(ask(*client, answered));
  Run(group.Join());
  EXPECT_EQ(answered, 20);
  EXPECT_EQ(most, 3U);
}

TEST_F(ClientTest, BodiesThatAreDroppedOrOutliveTheClientDoNoHarm) {
  Serve(AnswerLarge);
  auto client = MakeClient({.connections_max = 1});
  const auto open = [](Client& c) -> Task<StreamedResponse> {
    co_return co_await c.Open({}, nullptr, {});
  };
  Run(open(*client)).body.reset();
  auto kept = Run(open(*client));  // the place of the dropped one is free again
  client.reset();
  const auto drain = [](BodyReader& body) -> Task<std::size_t> {
    std::array<char, 1000> chunk;
    std::size_t all = 0;
    for (;;) {
      const std::size_t got = co_await body.Read(chunk, {});
      if (got == 0) co_return all;
      all += got;
    }
  };
  EXPECT_EQ(Run(drain(*kept.body)), 100'000U);
}

}  // namespace
}  // namespace pinion::http
