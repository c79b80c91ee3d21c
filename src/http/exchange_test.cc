// What handlers see and what clients get, beyond the plain request and answer.

#include "async/signal.h"
#include "http/compression.h"
#include "http/test_server.h"

namespace pinion::http {
namespace {

using namespace std::chrono_literals;

class ExchangeTest : public ServerTest {};

const std::string kGet = "GET / HTTP/1.1\r\nHost: x\r\n";

std::string Unpack(std::string_view packed) {
  GzipReader reader;
  std::string text;
  std::array<char, 1000> chunk;
  for (;;) {
    const std::size_t got = ValueOrThrow(reader.Read(packed, chunk));
    if (got == 0) return text;
    text.append(chunk.data(), got);
  }
}

Task<void> AnswerLong(Exchange& exchange) {
  Headers headers{{"Content-Type", std::string(exchange.request().QueryText())}};
  co_await exchange.Respond({.headers = headers, .body = std::string(600'000, 'x')});
}

TEST_F(ExchangeTest, CompressesWhatIsLongForWhoAccepts) {
  Serve(AnswerLong);
  const auto client = MakeClient();
  const auto plain = Run(Ask(*client, {}));
  EXPECT_EQ(plain.body.size(), 600'000U);
  EXPECT_FALSE(plain.headers.Has("Content-Encoding"));
  const Headers accept{{"Accept-Encoding", "br, gzip;q=0.5"}};
  const auto packed = Run(Ask(*client, {.target = "/?application/json", .headers = accept}));
  EXPECT_EQ(packed.headers.Get("Content-Encoding"), "gzip");
  EXPECT_EQ(packed.headers.Get("Vary"), "Accept-Encoding");
  EXPECT_LT(packed.body.size(), 10'000U);
  EXPECT_EQ(Unpack(packed.body), plain.body);
  EXPECT_FALSE(Run(Ask(*client, {.target = "/?image/png", .headers = accept}))
                   .headers.Has("Content-Encoding"));
  EXPECT_FALSE(Run(Ask(*client, {.headers = {{"Accept-Encoding", "gzip;q=0, br"}}}))
                   .headers.Has("Content-Encoding"));
}

/// Writes one piece, then waits for the test before the next.
Task<void> StreamSlowly(Exchange& exchange, Event& more) {
  BodyWriter* body = co_await exchange.Start({}, true);
  co_await body->Write("first", {});
  co_await more.Wait(exchange.stop());
  co_await body->Write("second", {});
  co_await body->Finish({});
}

TEST_F(ExchangeTest, CompressedStreamsArriveAtOnce) {
  Event more;
  Serve([&more](Exchange& exchange) { return StreamSlowly(exchange, more); });
  const auto client = MakeClient();
  const auto read = [](Client& c, Event& go_on) -> Task<std::string> {
    auto response = co_await c.Open({.headers = {{"Accept-Encoding", "gzip"}}}, nullptr, {});
    GzipReader gzip;
    std::string packed;
    std::string text;
    std::array<char, 1000> chunk;
    std::array<char, 1000> unpacked;
    for (;;) {
      const std::size_t got = co_await response.body->Read(chunk, {});
      if (got == 0) co_return text;
      packed.append(chunk.data(), got);
      std::string_view input = packed;
      while (const std::size_t count = ValueOrThrow(gzip.Read(input, unpacked))) {
        text.append(unpacked.data(), count);
      }
      packed.erase(0, packed.size() - input.size());
      if (text == "first") go_on.Set();  // it came before the second was written
    }
  };
  EXPECT_EQ(Run(read(*client, more)), "firstsecond");
}

/// Waits until it is asked to stop, and tells.
Task<void> WaitForStop(Exchange& exchange, Event& begun, Event& stopped) {
  const auto body = co_await exchange.ReadBody(1000);
  if (exchange.request().Path() == "/stream") {
    BodyWriter* writer = co_await exchange.Start({}, false);
    co_await writer->Write("begun", {});
  }
  begun.Set();
  Event never;
  try {
    co_await never.Wait(exchange.stop());
  } catch (const Cancelled&) {
    stopped.Set();
    throw;
  }
}

TEST_F(ExchangeTest, TellsHandlersThatTheClientLeft) {
  struct Case {
    std::string request;
    bool reset;
  };
  const std::string stream = "GET /stream HTTP/1.1\r\nHost: x\r\n\r\n";
  for (const Case& one :
       {Case{kGet + "\r\n", false}, Case{kGet + "\r\n", true}, Case{stream, false},
        Case{stream, true},
        // Further requests behind it do not hide the client's end.
        Case{stream + stream + stream, false}, Case{stream + stream, true},
        Case{"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab", false}}) {
    Event begun;
    Event stopped;
    Serve([&](Exchange& exchange) { return WaitForStop(exchange, begun, stopped); });
    const auto leave = [](ExchangeTest& test, Case with, Event& started,
                          Event& told) -> Task<void> {
      RawClient client = co_await test.Dial();
      co_await client.Send(with.request);
      co_await started.Wait({});
      EXPECT_FALSE(told.IsSet());
      if (with.reset) {
        client.Reset();
      } else {
        client.Close();
      }
      co_await told.Wait({});
    };
    Run(leave(*this, one, begun, stopped));
    Run(server_->Shutdown(1s));
    EXPECT_EQ(server_->connections(), 0U);
  }
}

Task<void> WriteForever(Exchange& exchange, std::size_t& written) {
  BodyWriter* body = co_await exchange.Start({}, false);
  const std::string block(100'000, 'x');
  for (;;) {
    co_await body->Write(block, {});
    written += block.size();
  }
}

TEST_F(ExchangeTest, WritersFeelBackPressureAndEndWithTheirClient) {
  std::size_t written = 0;
  Serve([&](Exchange& exchange) { return WriteForever(exchange, written); });
  const auto leave = [](ExchangeTest& test, std::size_t& count) -> Task<void> {
    RawClient client = co_await test.Dial();
    co_await client.Send(kGet + "\r\n");
    std::size_t before = 1;
    while (before != count) {  // until the kernel's buffers are full
      before = count;
      co_await test.timers_->Sleep(20ms, {});
    }
    EXPECT_LT(count, 50U << 20);
    client.Close();
    while (test.server_->connections() > 0)
      co_await test.timers_->Sleep(1ms, {});
  };
  Run(leave(*this, written));
}

TEST_F(ExchangeTest, CutsOffClientsThatTakeNothing) {
  std::size_t written = 0;
  Serve([&](Exchange& exchange) { return WriteForever(exchange, written); },
        {.stall_timeout = 30ms});
  const auto stall = [](ExchangeTest& test) -> Task<void> {
    RawClient client = co_await test.Dial();
    co_await client.Send(kGet + "\r\n");
    co_await client.ReadUntil("xxx");
    while (test.server_->connections() > 0)
      co_await test.timers_->Sleep(1ms, {});
  };
  Run(stall(*this));
}

Task<void> EchoPath(Exchange& exchange) {
  co_await exchange.Respond({.body = exchange.request().target});
}

TEST_F(ExchangeTest, AnswersPipelinedRequestsInOrder) {
  Serve(EchoPath);
  std::string requests;
  for (int i = 0; i < 50; ++i) {
    requests += "\r\nGET /" + std::to_string(i) + " HTTP/1.1\r\nHost: x\r\n\r\n";
  }
  const std::string answer =
      Talk(requests + "GET /last HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  std::size_t at = 0;
  for (int i = 0; i < 50; ++i) {
    at = answer.find("\r\n\r\n/" + std::to_string(i) + "HTTP", at);
    ASSERT_NE(at, std::string::npos) << i;
  }
  EXPECT_TRUE(answer.ends_with("/last"));
}

TEST_F(ExchangeTest, HeadAnswersHaveNoBodyAndUnknownMethodsReachTheHandler) {
  Serve(EchoPath);
  const auto client = MakeClient();
  const auto head = Run(Ask(*client, {.method = "HEAD", .target = "/abc"}));
  EXPECT_EQ(head.headers.Get("Content-Length"), "4");
  EXPECT_EQ(head.body, "");
  EXPECT_EQ(Run(Ask(*client, {.method = "BREW", .target = "/pot"})).body, "/pot");
  EXPECT_EQ(server_->connections(), 1U);
  const std::string absolute =
      Talk("GET http://other/p?q HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(absolute.ends_with("\r\n\r\n/p?q")) << absolute;
}

TEST_F(ExchangeTest, ClosesOrKeepsTheConnectionAsAsked) {
  Serve(EchoPath);
  const std::string closed = Talk(kGet + "Connection: close\r\n\r\n");
  EXPECT_NE(closed.find("Connection: close\r\n"), std::string::npos);
  const std::string old = Talk("GET /old HTTP/1.0\r\n\r\n");
  EXPECT_NE(old.find("Connection: close\r\n"), std::string::npos);
  const std::string kept =
      Talk("GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /b HTTP/1.0\r\n\r\n");
  EXPECT_NE(kept.find("Connection: keep-alive\r\n"), std::string::npos);
  EXPECT_TRUE(kept.ends_with("/b"));
}

Task<void> ReadIfAsked(Exchange& exchange) {
  std::string body;
  if (exchange.request().Path() == "/read") body = (co_await exchange.ReadBody(1000)).value();
  co_await exchange.Respond({.body = "got " + body});
}

TEST_F(ExchangeTest, AsksForBodiesThatWaitToBeAskedFor) {
  Serve(ReadIfAsked);
  const auto talk = [](ExchangeTest& test) -> Task<void> {
    const std::string rest =
        " HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n";
    RawClient client = co_await test.Dial();
    co_await client.Send("POST /read" + rest);
    const std::string asked = co_await client.ReadUntil("\r\n\r\n");
    EXPECT_EQ(asked, "HTTP/1.1 100 Continue\r\n\r\n");
    co_await client.Send("body");
    const std::string answer = co_await client.ReadUntil("got body");
    EXPECT_TRUE(answer.starts_with("HTTP/1.1 200 OK\r\n"));
    co_await client.Send("POST /ignore" + rest);
    const std::string all = co_await client.ReadAll();
    EXPECT_TRUE(all.starts_with("HTTP/1.1 200 OK\r\n")) << all;
    EXPECT_NE(all.find("Connection: close\r\n"), std::string::npos);
  };
  Run(talk(*this));
}

TEST_F(ExchangeTest, KeepsTheConnectionWhenAShortBodyWasNotRead) {
  Serve(ReadIfAsked);
  const auto client = MakeClient();
  EXPECT_EQ(Run(Ask(*client, {.method = "POST", .body = std::string(100'000, 'x')})).body, "got ");
  EXPECT_EQ(Run(Ask(*client, {.method = "POST", .target = "/read", .body = "y"})).body, "got y");
  EXPECT_EQ(server_->connections(), 1U);
}

TEST_F(ExchangeTest, KeepsPromisesOfLength) {
  Serve([](Exchange& exchange) -> Task<void> {
    BodyWriter* body = co_await exchange.Start({.headers = {{"Content-Length", "6"}}}, false);
    co_await body->Write("abc", {});
    if (exchange.request().Path() == "/long") co_await body->Write("defg", {});
    if (exchange.request().Path() == "/exact") co_await body->Write("def", {});
    co_await body->Finish({});
  });
  const auto client = MakeClient();
  const auto exact = Run(Ask(*client, {.target = "/exact"}));
  EXPECT_EQ(exact.body, "abcdef");
  EXPECT_FALSE(exact.headers.Has("Transfer-Encoding"));
  EXPECT_THROW(Run(Ask(*client, {.target = "/short"})), Failure);
  EXPECT_THROW(Run(Ask(*client, {.target = "/long"})), Failure);
}

TEST_F(ExchangeTest, ShutdownStopsHandlersThenBreaksOff) {
  Event begun;
  Event stopped;
  Serve([&](Exchange& exchange) { return WaitForStop(exchange, begun, stopped); });
  const auto shut_down = [](ExchangeTest& test, Event& started) -> Task<std::string> {
    RawClient idle = co_await test.Dial();
    RawClient busy = co_await test.Dial();
    co_await busy.Send(kGet + "\r\n");
    co_await started.Wait({});
    co_await test.server_->Shutdown(1h);
    EXPECT_EQ(co_await idle.ReadAll(), "");
    co_return co_await busy.ReadAll();
  };
  const std::string answer = Run(shut_down(*this, begun));
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 503")) << answer;
  EXPECT_TRUE(stopped.IsSet());

  // A handler that hears nothing but its connection's end.
  std::size_t written = 0;
  Serve([&](Exchange& exchange) { return WriteForever(exchange, written); });
  const auto deaf = [](ExchangeTest& test) -> Task<void> {
    RawClient client = co_await test.Dial();
    co_await client.Send(kGet + "\r\n");
    co_await client.ReadUntil("xxx");
    co_await test.server_->Shutdown(10ms);
    EXPECT_EQ(test.server_->connections(), 0U);
  };
  Run(deaf(*this));
}

}  // namespace
}  // namespace pinion::http
