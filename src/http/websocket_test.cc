// Both sides of a WebSocket: against each other, against Beast's, and against hostile frames.

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/websocket.hpp>
#include <thread>

#include "async/signal.h"
#include "http/test_server.h"

namespace pinion::http {
namespace {

using namespace std::chrono_literals;
namespace beast = boost::beast;
using tcp = boost::asio::ip::tcp;

class WebSocketTest : public ServerTest {
 public:
  void ServeEcho() {
    Serve([this](Exchange& exchange) { return Echo(exchange, *this); });
  }
  /// Sends messages back until the peer closes, or closes itself when told so.
  static Task<void> Echo(Exchange& exchange, WebSocketTest& self) {
    if (!exchange.IsWebSocketUpgrade()) {
      co_await exchange.Respond({.status = 404, .body = "no such container"});
      co_return;
    }
    const auto socket = co_await exchange.AcceptWebSocket(1 << 20);
    try {
      for (;;) {
        auto message = co_await socket->Read(exchange.stop());
        if (!message) break;
        if (message->data == "close yourself") {
          co_await socket->Close(4001, "because");
          break;
        }
        co_await socket->Write(std::move(*message), exchange.stop());
      }
      self.ended_ = "closed";
    } catch (const Failure& failure) {
      self.ended_ = failure.what();
    }
  }
  std::string ended_;
};

Task<std::string> EchoOnce(WebSocket& socket, std::string data, bool text) {
  co_await socket.Write({std::move(data), text}, {});
  const auto message = co_await socket.Read({});
  EXPECT_EQ(message->text, text);
  co_return message->data;
}

Task<std::unique_ptr<WebSocket>> OpenSocket(Client& client, Response& head,
                                            std::size_t limit = 1 << 20) {
  co_return co_await client.OpenWebSocket({.target = "/hijack"}, head, limit, {});
}

TEST_F(WebSocketTest, CarriesMessagesOfEverySizeBothWaysAndCloses) {
  ServeEcho();
  const auto client = MakeClient();
  Response head;
  const auto socket = Run(OpenSocket(*client, head));
  ASSERT_TRUE(socket);
  EXPECT_EQ(head.status, 101);
  for (const std::size_t size : {0U, 1U, 125U, 126U, 127U, 65'535U, 65'536U, 1U << 20}) {
    std::string data(size, 'a');
    for (std::size_t i = 0; i < size; ++i)
      data[i] = static_cast<char>(i * 7);
    EXPECT_TRUE(Run(EchoOnce(*socket, data, false)) == data) << size;
  }
  EXPECT_EQ(Run(EchoOnce(*socket, "t\xC3\xA4xt", true)), "t\xC3\xA4xt");
  Run(socket->Close(1000, "done"));
  Run(server_->Shutdown(1s));
  EXPECT_EQ(ended_, "closed");
}

TEST_F(WebSocketTest, RefusalsAreAnswers) {
  Serve([](Exchange& exchange) -> Task<void> {
    co_await exchange.Respond({.status = 404, .body = "no such container"});
  });
  const auto client = MakeClient();
  Response head;
  EXPECT_FALSE(Run(OpenSocket(*client, head)));
  EXPECT_EQ(head.status, 404);
  EXPECT_EQ(head.body, "no such container");
}

Task<std::optional<WebSocket::Message>> ReadOne(WebSocket& socket, std::stop_token stop) {
  co_return co_await socket.Read(stop);
}

TEST_F(WebSocketTest, ReadsStopAtOnceAndLoseNothing) {
  ServeEcho();
  const auto client = MakeClient();
  Response head;
  const auto socket = Run(OpenSocket(*client, head));
  for (int i = 0; i < 3; ++i) {
    std::stop_source stop;
    const auto timer = timers_->After(1ms, [&] { stop.request_stop(); });
    EXPECT_THROW(Run(ReadOne(*socket, stop.get_token())), Cancelled);
  }
  EXPECT_EQ(Run(EchoOnce(*socket, "still here", true)), "still here");
}

TEST_F(WebSocketTest, TheServerClosesToo) {
  ServeEcho();
  const auto client = MakeClient();
  Response head;
  const auto socket = Run(OpenSocket(*client, head));
  const auto ask = [](WebSocket& s) -> Task<bool> {
    co_await s.Write({"close yourself"}, {});
    const auto message = co_await s.Read({});
    co_return !message;
  };
  EXPECT_TRUE(Run(ask(*socket)));
  Run(server_->Shutdown(1s));
  EXPECT_EQ(ended_, "closed");
}

TEST_F(WebSocketTest, TalksWithBeastsClient) {
  ServeEcho();
  const auto port = static_cast<std::uint16_t>(server_->port());
  std::string problems;
  Event done;
  std::thread other([&] {
    try {
      boost::asio::io_context context;
      beast::websocket::stream<tcp::socket> socket(context);
      socket.next_layer().connect({boost::asio::ip::address_v4::loopback(), port});
      socket.handshake("localhost", "/hijack");
      for (const std::size_t size : {0U, 10U, 126U, 70'000U}) {
        std::string data(size, 'b');
        socket.auto_fragment(size > 100);
        socket.write_buffer_bytes(64);
        socket.binary(true);
        socket.write(boost::asio::buffer(data));
        socket.ping("hello");
        beast::flat_buffer buffer;
        socket.read(buffer);
        if (beast::buffers_to_string(buffer.data()) != data) problems += "data differs;";
        if (!socket.got_binary()) problems += "not binary;";
      }
      socket.text(true);
      socket.write(boost::asio::buffer(std::string("close yourself")));
      beast::flat_buffer buffer;
      boost::system::error_code error;
      socket.read(buffer, error);
      if (error != beast::websocket::error::closed) problems += error.message() + ";";
      if (socket.reason().code != 4001) problems += "code;";
      if (socket.reason().reason != "because") problems += "reason;";
    } catch (const std::exception& error) {
      problems += error.what();
    }
    loop_.Post([&] { done.Set(); });
  });
  Run(done.Wait({}));
  other.join();
  EXPECT_EQ(problems, "");
}

TEST_F(WebSocketTest, TalksWithBeastsServer) {
  boost::asio::io_context context;
  tcp::acceptor acceptor(context, {boost::asio::ip::address_v4::loopback(), 0});
  std::string problems;
  std::thread other([&] {
    try {
      beast::websocket::stream<tcp::socket> socket(acceptor.accept());
      socket.accept();
      socket.ping("are you there");
      for (int i = 0; i < 3; ++i) {
        beast::flat_buffer buffer;
        socket.read(buffer);
        socket.text(socket.got_text());
        socket.write(buffer.data());
      }
      beast::flat_buffer buffer;
      boost::system::error_code error;
      socket.read(buffer, error);
      if (error != beast::websocket::error::closed) problems += error.message();
      if (socket.reason().code != 1000) problems += "code";
    } catch (const std::exception& error) {
      problems += error.what();
    }
  });
  const auto client =
      MakeClient({.url = "http://127.0.0.1:" + std::to_string(acceptor.local_endpoint().port())});
  Response head;
  const auto socket = Run(OpenSocket(*client, head));
  ASSERT_TRUE(socket);
  for (const std::size_t size : {5U, 500U, 100'000U}) {
    EXPECT_EQ(Run(EchoOnce(*socket, std::string(size, 'c'), true)).size(), size);
  }
  Run(socket->Close(1000, ""));
  other.join();
  EXPECT_EQ(problems, "");
}

/// A client's frame with a mask of zeros, so that the payload stands as it is.
std::string ClientFrame(unsigned first, std::string payload) {
  std::string frame{static_cast<char>(first), static_cast<char>(0x80 | payload.size())};
  return frame + std::string(4, '\0') + payload;
}

TEST_F(WebSocketTest, RefusesBrokenFramesWithTheirCode) {
  struct Case {
    std::string frames;
    int code;
  };
  const std::string huge("\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0\0\0", 14);
  for (const Case& one : std::vector<Case>{
           {std::string("\x81\x02hi"), 1002},                        // no mask
           {ClientFrame(0xC1, "hi"), 1002},                          // extension bit
           {ClientFrame(0x83, "hi"), 1002},                          // unknown kind
           {ClientFrame(0x80, "hi"), 1002},                          // nothing to continue
           {ClientFrame(0x01, "a") + ClientFrame(0x81, "b"), 1002},  // message in message
           {ClientFrame(0x09, "split ping"), 1002},                  // control in pieces
           {std::string("\x89\xfe\x01\x00\0\0\0\0", 8), 1002},       // long ping
           {ClientFrame(0x81, "\xC3"), 1007},                        // half a character
           {ClientFrame(0x81, "\xED\xA0\x80"), 1007},                // a surrogate
           {ClientFrame(0x81, "\xC0\xAF"), 1007},                    // overlong
           {huge, 1009},
           {ClientFrame(0x01, "a") + std::string("\x80\xff\0\0\0\0\0\x10\0\0\0\0\0\0", 14),
            1009}}) {
    ServeEcho();
    const auto talk = [](WebSocketTest& test, std::string frames) -> Task<std::string> {
      RawClient client = co_await test.Dial();
      co_await client.Send(
          "GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\n"
          "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n" +
          frames);
      const std::string head = co_await client.ReadUntil("\r\n\r\n");
      EXPECT_NE(head.find("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
                std::string::npos);
      co_return co_await client.ReadAll();
    };
    const std::string answer = Run(talk(*this, one.frames));
    ASSERT_GE(answer.size(), 4U) << one.code;
    EXPECT_EQ(static_cast<unsigned char>(answer[0]), 0x88U);
    EXPECT_EQ(static_cast<unsigned char>(answer[2]) * 256 + static_cast<unsigned char>(answer[3]),
              one.code)
        << answer.substr(4);
    Run(server_->Shutdown(1s));
    EXPECT_TRUE(ended_.starts_with("WebSocket: ")) << ended_;
  }
}

TEST_F(WebSocketTest, RefusesBrokenHandshakes) {
  ServeEcho();
  const std::string start =
      "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
  EXPECT_EQ(Talk(start + "Connection: close\r\nSec-WebSocket-Version: 8\r\n\r\n").substr(0, 12),
            "HTTP/1.1 426");
  EXPECT_EQ(
      Talk(start + "Connection: close\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n")
          .substr(0, 12),
      "HTTP/1.1 400");
}

}  // namespace
}  // namespace pinion::http
