#include "http/server.h"

#include <sys/stat.h>

#include <fstream>

#include "base/files.h"
#include "http/test_server.h"

namespace pinion::http {
namespace {

using namespace std::chrono_literals;

Task<void> Echo(Exchange& exchange) {
  auto body = co_await exchange.ReadBody(1 << 20);
  if (!body) {
    co_await exchange.Respond({.status = 413, .body = body.error().message});
    co_return;
  }
  const Request& request = exchange.request();
  co_await exchange.Respond(
      {.headers = {{"X-Method", request.method}, {"X-Target", request.target}}, .body = *body});
}

TEST_F(ServerTest, AnswersARequestAndKeepsTheConnection) {
  Serve(Echo);
  const auto client = MakeClient();
  for (int i = 0; i < 3; ++i) {
    const auto response =
        Run(Ask(*client, {.method = "POST", .target = "/a?b=c", .body = "hello"}));
    EXPECT_EQ(response.status, 200);
    EXPECT_EQ(response.headers.Get("x-method"), "POST");
    EXPECT_EQ(response.headers.Get("X-Target"), "/a?b=c");
    EXPECT_EQ(response.headers.Get("Content-Length"), "5");
    EXPECT_TRUE(response.headers.Has("Date"));
    EXPECT_EQ(response.body, "hello");
  }
  EXPECT_EQ(server_->connections(), 1U);
  EXPECT_EQ(server_->exchanges(), 0U);
}

TEST_F(ServerTest, ServesUnixSocketsWithPrivateFilesAndReplacesStaleOnes) {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "x.sock";
  Serve(Echo);
  ASSERT_TRUE(server_->Listen("unix:" + path));
  struct stat status{};
  ASSERT_EQ(stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 0777U, 0600U);
  const auto client = MakeClient({.url = "unix:" + path});
  EXPECT_EQ(Run(Ask(*client, {.method = "PUT", .body = "x"})).body, "x");

  auto second = Server::Make(loop_.executor(), *timers_, Logger(), {}, Echo);
  const auto taken = second->Listen("unix:" + path);
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().message,
            "listen on unix:" + path + ": Address already in use: another process listens there");

  // A file that a killed process left: nobody listens.
  const std::string stale = folder.path() / "stale.sock";
  const auto opened = OpenListener("unix:" + stale);
  ASSERT_TRUE(opened);
  close(opened->descriptor);
  EXPECT_TRUE(second->Listen("unix:" + stale));

  const std::string file = folder.path() / "file";
  std::ofstream(file) << "precious";
  EXPECT_FALSE(second->Listen("unix:" + file));
  EXPECT_EQ(*ReadFile(file), "precious");
  Run(second->Shutdown(0s));
  EXPECT_NE(stat(stale.c_str(), &status), 0);
}

TEST_F(ServerTest, NamesTheAddressThatIsTaken) {
  Serve(Echo);
  const auto taken = server_->Listen(Address());
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().message, "listen on " + Address() + ": Address already in use");
  const auto nonsense = server_->Listen("nowhere");
  ASSERT_FALSE(nonsense);
  EXPECT_EQ(nonsense.error().kind, ErrorKind::kInvalid);
  EXPECT_TRUE(nonsense.error().message.starts_with("listen on nowhere: "));
}

Task<void> StreamNumbers(Exchange& exchange) {
  BodyWriter* body = co_await exchange.Start({.headers = {{"Content-Type", "text/plain"}}}, false);
  for (int i = 0; i < 3; ++i)
    co_await body->Write("part" + std::to_string(i) + "\n", {});
  if (exchange.request().Path() == "/broken") co_return;
  co_await body->Finish({});
}

Task<std::string> ReadStream(Client& client, Request request) {
  auto response = co_await client.Open(std::move(request), nullptr, {});
  std::string text;
  std::array<char, 7> chunk;
  for (;;) {
    const std::size_t got = co_await response.body->Read(chunk, {});
    if (got == 0) co_return text;
    text.append(chunk.data(), got);
  }
}

TEST_F(ServerTest, StreamsInChunksAndShowsWhatIsBrokenOff) {
  Serve(StreamNumbers);
  const auto client = MakeClient();
  EXPECT_EQ(Run(ReadStream(*client, {})), "part0\npart1\npart2\n");
  EXPECT_EQ(Run(ReadStream(*client, {})), "part0\npart1\npart2\n");
  EXPECT_EQ(server_->connections(), 1U);
  EXPECT_THROW(Run(ReadStream(*client, {.target = "/broken"})), Failure);
}

TEST_F(ServerTest, StreamsToOldClientsUntilTheConnectionEnds) {
  Serve(StreamNumbers);
  const std::string answer = Talk("GET / HTTP/1.0\r\n\r\n");
  EXPECT_EQ(answer.find("Transfer-Encoding"), std::string::npos);
  EXPECT_NE(answer.find("Connection: close\r\n"), std::string::npos);
  EXPECT_TRUE(answer.ends_with("\r\n\r\npart0\npart1\npart2\n")) << answer;
  EXPECT_TRUE(Talk("GET /broken HTTP/1.0\r\n\r\n").ends_with("RESET"));
}

Task<void> TakeOver(Exchange& exchange) {
  const auto body = co_await exchange.ReadBody(100);
  if (exchange.request().Path() == "/no") {
    co_await exchange.Respond({.status = 404, .body = "no such process"});
    co_return;
  }
  const auto stream =
      co_await exchange.Hijack({.status = 201, .headers = {{"Content-Type", "application/json"}}});
  LineReader lines(*stream, 1000);
  co_await stream->Write("body " + *body + "\n", {});
  for (;;) {
    const auto line = co_await lines.Next({});
    if (!line) break;
    co_await stream->Write("got " + *line + "\n", {});
  }
  co_await stream->Write("end\n", {});
}

Task<std::string> TalkOverHijack(Client& client) {
  Response head;
  const auto stream =
      co_await client.Hijack({.method = "POST", .target = "/run", .body = "spec"}, head, {});
  co_await stream->Write("one\ntwo\n", {});
  stream->CloseWrite();
  LineReader lines(*stream, 1000);
  std::string all = std::to_string(head.status);
  for (;;) {
    const auto line = co_await lines.Next({});
    if (!line) co_return all;
    all += "," + *line;
  }
}

TEST_F(ServerTest, HandsConnectionsOverWithWhatWasReadAlready) {
  Serve(TakeOver);
  const auto client = MakeClient();
  EXPECT_EQ(Run(TalkOverHijack(*client)), "201,body spec,got one,got two,end");
  // The first lines come in the same packet as the request.
  const auto eager = [](ServerTest& test, RawClient raw) -> Task<std::string> {
    (void)test;
    co_await raw.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nabone\ntwo\n");
    raw.CloseWrite();
    co_return co_await raw.ReadAll();
  };
  const std::string answer = Run(eager(*this, Run(Dial())));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 201 Created\r\n")) << answer;
  EXPECT_TRUE(answer.ends_with("\r\n\r\nbody ab\ngot one\ngot two\nend\n")) << answer;
}

TEST_F(ServerTest, ARefusedHijackIsAnAnswer) {
  Serve(TakeOver);
  const auto client = MakeClient();
  const auto refused = [](Client& c) -> Task<Response> {
    Response head;
    const auto stream = co_await c.Hijack({.method = "POST", .target = "/no"}, head, {});
    EXPECT_FALSE(stream);
    co_return head;
  };
  const auto head = Run(refused(*client));
  EXPECT_EQ(head.status, 404);
  EXPECT_EQ(head.body, "no such process");
}

TEST_F(ServerTest, FailingHandlersAnswer500AndTheConnectionGoesOn) {
  Serve([](Exchange& exchange) -> Task<void> {
    if (exchange.request().Path() == "/throw") {
      throw Failure(ErrorKind::kConflict, "secret detail");
    }
    if (exchange.request().Path() == "/forget") co_return;
    co_await exchange.Respond({.status = 204});
  });
  const auto client = MakeClient();
  const auto thrown = Run(Ask(*client, {.target = "/throw"}));
  EXPECT_EQ(thrown.status, 500);
  EXPECT_EQ(thrown.body, "");
  EXPECT_EQ(Run(Ask(*client, {.target = "/forget"})).status, 500);
  const auto none = Run(Ask(*client, {.target = "/"}));
  EXPECT_EQ(none.status, 204);
  EXPECT_FALSE(none.headers.Has("Content-Length"));
  EXPECT_EQ(server_->connections(), 1U);
}

}  // namespace
}  // namespace pinion::http
