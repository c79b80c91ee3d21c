// Requests that no honest client sends.

#include "http/test_server.h"

namespace pinion::http {
namespace {

using namespace std::chrono_literals;

class HostileTest : public ServerTest {
 protected:
  void ServeCounting(ServerOptions options = {}) {
    Serve([this](Exchange& exchange) { return Count(exchange, handled_); }, options);
  }
  static Task<void> Count(Exchange& exchange, int& handled) {
    ++handled;
    const auto body = co_await exchange.ReadBody(1000);
    co_await exchange.Respond({.status = body ? 200 : 413, .body = body.value_or("too large")});
  }
  int handled_ = 0;
};

TEST_F(HostileTest, RefusesWhatSmugglesRequests) {
  ServeCounting();
  const std::string post = "POST / HTTP/1.1\r\nHost: x\r\n";
  const std::string rest = "\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n";
  const std::vector<std::pair<std::string, std::string>> cases = {
      {post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + rest, "400"},
      {post + "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n" + rest, "400"},
      {post + "Content-Length: 5\r\nContent-Length: 6\r\n" + rest, "400"},
      {post + "Content-Length: 5, 6\r\n" + rest, "400"},
      {post + "Content-Length: +5\r\n" + rest, "400"},
      {post + "Content-Length: 0x5\r\n" + rest, "400"},
      {post + "Content-Length: -1\r\n" + rest, "400"},
      {post + "Content-Length: 99999999999999999999999\r\n" + rest, "400"},
      {post + "Content-Length: \r\n" + rest, "400"},
      {post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n" + rest, "400"},
      {post + "Transfer-Encoding: identity\r\nContent-Length: 5\r\n" + rest, "400"},
      {post + "Transfer-Encoding: gzip, chunked\r\n" + rest, "501"},
      {post + "Transfer-Encoding: chunked, identity\r\n" + rest, "501"},
      {post + "Transfer-Encoding: xchunked\r\n" + rest, "501"},
      {post + "Transfer-Encoding: identity\r\n" + rest, "501"},
      {post + "Transfer-Encoding : chunked\r\n" + rest, "400"},
      {post +
           "Transfer-Encoding: \x0b"
           "chunked\r\n" +
           rest,
       "400"},
      {post + " Content-Length: 5\r\n" + rest, "400"},
      {"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n" + rest, "400"},
      {"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: x\nX: y\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n", "400"},
      {"GET / HTTP/1.1\r\nHost: x\r\nX: a" + std::string(1, '\0') + "b\r\n\r\n", "400"},
      {"GET / HTTP/2.0\r\nHost: x\r\n\r\n", "505"},
      {"GET /\r\n\r\n", "400"},
      {"GET  / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n", "505"},
      {"G@T / HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"GET nowhere HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"GET /%2 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"CONNECT x:80 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
      {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n", "400"},
  };
  for (const auto& [request, status] : cases) {
    handled_ = 0;
    const std::string answer = Talk(request);
    EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 " + status) << request << "\n" << answer;
    EXPECT_EQ(answer.find("HTTP/1.1 ", 9), std::string::npos) << "two answers to " << request;
    EXPECT_NE(answer.find("Connection: close"), std::string::npos);
    EXPECT_EQ(handled_, 0) << request;
  }
}

TEST_F(HostileTest, RefusesGarbageInChunks) {
  ServeCounting();
  const std::string post = "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (const std::string& body : std::vector<std::string>{
           "zz\r\n", "-1\r\n", "ffffffffffffffffff\r\nx", "5\r\nhelloXX0\r\n\r\n", "\r\n",
           "5 \n\r\n", "1;" + std::string(20'000, 'e'), "0\r\n" + std::string(20'000, 't')}) {
    const std::string answer = Talk(post + body);
    EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 400") << body.substr(0, 30) << "\n" << answer;
  }
  const std::string answer = Talk(post + "5;x=y\r\nhello\r\n3\r\nyou\r\n0\r\nHost: evil\r\n\r\n" +
                                  "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_NE(answer.find("\r\n\r\nhelloyouHTTP/1.1 200 OK\r\n"), std::string::npos) << answer;
}

TEST_F(HostileTest, RefusesHeadsThatAreTooLarge) {
  ServeCounting({.header_bytes_max = 4096});
  const std::string start = "GET / HTTP/1.1\r\nHost: x\r\n";
  EXPECT_EQ(Talk(start + "X: " + std::string(5000, 'x') + "\r\n\r\n").substr(0, 12),
            "HTTP/1.1 431");
  EXPECT_EQ(Talk("GET /" + std::string(100'000, 'x')).substr(0, 12), "HTTP/1.1 431");
  std::string many = start;
  for (int i = 0; i < 2000; ++i)
    many += "a:\r\n";
  EXPECT_EQ(Talk(many + "\r\n").substr(0, 12), "HTTP/1.1 431");
  EXPECT_EQ(handled_, 0);
  EXPECT_EQ(
      Talk(start + "Connection: close\r\nX: " + std::string(3000, 'x') + "\r\n\r\n").substr(0, 12),
      "HTTP/1.1 200");
}

TEST_F(HostileTest, GivesUpOnSlowHeadsAndIdleConnections) {
  ServeCounting({.header_timeout = 20ms, .idle_timeout = 20ms});
  EXPECT_EQ(Talk("GET / HTTP/1.1\r\nHo").substr(0, 12), "HTTP/1.1 408");
  EXPECT_EQ(Talk(""), "");  // nothing was asked: nothing is answered
  const std::string answer = Talk("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 200")) << answer;
  EXPECT_EQ(handled_, 1);
}

TEST_F(HostileTest, GivesUpOnBodiesThatStall) {
  Serve([](Exchange& exchange) -> Task<void> { (void)co_await exchange.ReadBody(1000); },
        {.stall_timeout = 20ms});
  const std::string answer = Talk("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nab");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500")) << answer;
}

TEST_F(HostileTest, BodiesOverTheLimitGetTheirAnswer) {
  ServeCounting();
  const std::string large(3 << 20, 'x');
  for (const std::string& request :
       {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + std::to_string(large.size()) +
            "\r\n\r\n" + large,
        "POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n300000\r\n" + large}) {
    const std::string answer = Talk(request);
    EXPECT_EQ(answer.substr(0, 12), "HTTP/1.1 413") << answer;
    EXPECT_TRUE(answer.ends_with("too large")) << answer;
  }
}

TEST_F(HostileTest, ConnectionsPastTheLimitAreTurnedAway) {
  ServeCounting({.connections_max = 2});
  const auto talk = [](HostileTest& test) -> Task<std::string> {
    const std::string request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";
    RawClient one = co_await test.Dial();
    RawClient two = co_await test.Dial();
    co_await one.Send(request);
    co_await one.ReadUntil("\r\n\r\n");
    co_await two.Send(request);
    co_await two.ReadUntil("\r\n\r\n");
    RawClient three = co_await test.Dial();
    co_await three.Send(request);
    std::string all = (co_await three.ReadAll()).substr(0, 12);
    one.Close();
    // Its place is free once the server has seen the end.
    while (test.server_->connections() > 1)
      co_await test.timers_->Sleep(1ms, {});
    RawClient four = co_await test.Dial();
    co_await four.Send(request);
    all += (co_await four.ReadUntil("\r\n\r\n")).substr(0, 12);
    co_return all;
  };
  EXPECT_EQ(Run(talk(*this)), "HTTP/1.1 503HTTP/1.1 200");
}

TEST_F(HostileTest, HeadersOfAnswersCannotBeSplit) {
  Serve([](Exchange& exchange) -> Task<void> {
    co_await exchange.Respond(
        {.status = 302, .headers = {{"Location", "/x\r\nSet-Cookie: evil=1"}}});
  });
  const std::string answer = Talk("GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  EXPECT_TRUE(answer.starts_with("HTTP/1.1 500")) << answer;
  EXPECT_EQ(answer.find("evil"), std::string::npos);
}

}  // namespace
}  // namespace pinion::http
