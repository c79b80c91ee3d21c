#pragma once

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "async/loop.h"
#include "async/task_group.h"
#include "http/client.h"
#include "http/server.h"
#include "http/socket.h"

/// For the module's tests: a server on a free port, and clients that speak in bytes.
namespace pinion::http {

/// A connection to the server under test, byte by byte.
class RawClient {
 public:
  explicit RawClient(std::unique_ptr<Socket> socket) : socket_(std::move(socket)) {}

  Task<void> Send(std::string bytes) { co_await socket_->Write({bytes}, {}); }
  /// Everything until the server closes; "RESET" at its end if it resets.
  Task<std::string> ReadAll() {
    std::array<char, 4096> chunk;
    try {
      for (;;) {
        const std::size_t got = co_await socket_->Read(chunk, {});
        if (got == 0) break;
        received_.append(chunk.data(), got);
      }
    } catch (const BrokenOff&) {
      received_ += "RESET";
    }
    co_return std::exchange(received_, {});
  }
  /// Up to and with the text.
  Task<std::string> ReadUntil(std::string text) {
    std::array<char, 4096> chunk;
    std::size_t at = 0;
    while ((at = received_.find(text)) == std::string::npos) {
      const std::size_t got = co_await socket_->Read(chunk, {});
      if (got == 0) throw Failure(ErrorKind::kUnavailable, "closed after: " + received_);
      received_.append(chunk.data(), got);
    }
    std::string result = received_.substr(0, at + text.size());
    received_.erase(0, at + text.size());
    co_return result;
  }
  void CloseWrite() { socket_->CloseWrite(); }
  void Close() { socket_->Close(); }
  void Reset() { socket_->Reset(); }

 private:
  std::unique_ptr<Socket> socket_;
  std::string received_;
};

class ServerTest : public testing::Test {
 public:
  ~ServerTest() override {
    if (server_) loop_.RunUntilDone(server_->Shutdown(std::chrono::seconds(0)));
  }

  void Serve(Handler handler, ServerOptions options = {}) {
    server_ = Server::Make(loop_.executor(), *timers_, Logger(), options, std::move(handler));
    const auto listening = server_->Listen("127.0.0.1:0");
    ASSERT_TRUE(listening) << listening.error().message;
  }
  std::string Address() const { return "127.0.0.1:" + std::to_string(server_->port()); }
  std::unique_ptr<Client> MakeClient(ClientOptions options = {}) {
    if (options.url.empty()) options.url = "http://" + Address();
    return Client::Make(loop_.executor(), *timers_, options);
  }
  Task<RawClient> Dial() {
    auto address = ValueOrThrow(ParseAddress(Address()));
    co_return RawClient(co_await Connect(loop_.executor(), *timers_, address, {}));
  }
  /// Sends the bytes on a new connection and returns everything that comes until it is closed.
  std::string Talk(std::string bytes) {
    const auto talk = [](ServerTest& test, std::string text) -> Task<std::string> {
      RawClient client = co_await test.Dial();
      co_await client.Send(std::move(text));
      co_return co_await client.ReadAll();
    };
    return loop_.RunUntilDone(talk(*this, std::move(bytes)));
  }
  template <class T>
  T Run(Task<T> task) {
    return loop_.RunUntilDone(std::move(task));
  }
  Task<Response> Ask(Client& client, Request request) {
    co_return co_await client.Send(std::move(request), {});
  }

  SystemClock clock_;
  Loop loop_{"test"};
  std::unique_ptr<Timers> timers_ = MakeSystemTimers(loop_.executor(), clock_);
  std::unique_ptr<Server> server_;
};

}  // namespace pinion::http
