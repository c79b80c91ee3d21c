// Frames of WebSockets, either side, and the messages of hijack inside them.
#include "http/websocket.h"

#include "api/hijack_messages.h"
#include "async/loop.h"
#include "base/encoding.h"
#include "fuzz/target.h"
#include "fuzz/wire.h"

using namespace pinion;
using fuzz::Require;

namespace {

constexpr std::size_t kMessageBytesMax = 2048;

struct Outcome {
  std::vector<http::WebSocket::Message> messages;
  std::string error;
  std::string answered;  ///< what went back: pongs and closes
};

Task<void> ReadAll(std::unique_ptr<http::WebSocket> socket, Outcome& outcome) {
  while (auto message = co_await socket->Read({}))
    outcome.messages.push_back(std::move(*message));
}

Loop& TheLoop() {
  static Loop loop("fuzz");
  return loop;
}

Timers& TheTimers() {
  static const SystemClock clock;
  static const auto timers = MakeSystemTimers(TheLoop().executor(), clock);
  return *timers;
}

Outcome Read(std::string_view bytes, http::WebSocketSide side, std::uint32_t seed) {
  Outcome outcome;
  auto wire = std::make_unique<fuzz::Wire>(bytes, seed, outcome.answered);
  try {
    TheLoop().RunUntilDone(ReadAll(
        http::MakeWebSocket(std::move(wire), side, kMessageBytesMax, TheTimers()), outcome));
  } catch (const Failure& failure) {
    outcome.error = failure.what();
  }
  for (const auto& message : outcome.messages)
    Require(message.data.size() <= kMessageBytesMax, "a message is over the limit");
  return outcome;
}

bool Same(const http::WebSocket::Message& a, const http::WebSocket::Message& b) {
  return a.data == b.data && a.text == b.text;
}

/// Puts masks on frames whatever the input says, so that the fuzzer need not find them: server
/// sides refuse frames without.
std::string Masked(std::string_view bytes) {
  std::string out;
  while (bytes.size() >= 2) {
    const auto first = static_cast<unsigned char>(bytes[0]);
    std::size_t length = static_cast<unsigned char>(bytes[1]) & 0x7FU;
    std::size_t header = 2;
    if (length == 126 && bytes.size() >= 4) {
      length = static_cast<std::size_t>(static_cast<unsigned char>(bytes[2])) << 8U |
               static_cast<unsigned char>(bytes[3]);
      header = 4;
    } else if (length == 127) {
      header = std::min<std::size_t>(10, bytes.size());
      length = 0;
    }
    length = std::min(length, bytes.size() - std::min(header, bytes.size()));
    out += static_cast<char>(first);
    out += static_cast<char>(static_cast<unsigned char>(bytes[1]) | 0x80U);
    out += bytes.substr(2, header - 2);
    out += std::string(4, '\0');  // a mask that changes nothing
    out += bytes.substr(std::min(header, bytes.size()), length);
    bytes.remove_prefix(std::min(header + length, bytes.size()));
  }
  return out;
}

void CheckRead(std::string_view bytes, http::WebSocketSide side, std::uint32_t seed) {
  const Outcome whole = Read(bytes, side, 0);
  const Outcome pieces = Read(bytes, side, seed);
  Require(whole.error == pieces.error, "cut into other pieces, it ends differently",
          whole.error + " / " + pieces.error);
  Require(std::ranges::equal(whole.messages, pieces.messages, Same),
          "cut into other pieces, messages differ");
  // Masks of clients are random.
  Require(whole.answered.size() == pieces.answered.size(),
          "cut into other pieces, it is answered differently");
}

Task<void> WriteAll(std::unique_ptr<http::WebSocket> socket,
                    std::vector<http::WebSocket::Message> messages) {
  for (auto& message : messages)
    co_await socket->Write(std::move(message), {});
  co_await socket->Close(1000, "bye");
}

/// What one side writes, the other reads.
void CheckWrite(std::string_view text, bool client, std::uint32_t seed) {
  std::vector<http::WebSocket::Message> messages;
  while (!text.empty()) {
    const std::size_t size = std::min<std::size_t>(text.size(), 1 + (text[0] & 127) * 16);
    messages.push_back({.data = std::string(text.substr(0, size)), .text = false});
    text.remove_prefix(size);
  }
  std::string written;
  try {
    // The peer's answer to the close: masked if it is a client's.
    const std::string_view answer =
        client ? std::string_view("\x88\x00", 2) : std::string_view("\x88\x80\0\0\0\0", 6);
    TheLoop().RunUntilDone(WriteAll(
        http::MakeWebSocket(std::make_unique<fuzz::Wire>(answer, 0, written),
                            client ? http::WebSocketSide::kClient : http::WebSocketSide::kServer,
                            kMessageBytesMax, TheTimers()),
        messages));
  } catch (const Failure& failure) {
    Require(false, "writing failed", failure.what());
  }
  const Outcome read =
      Read(written, client ? http::WebSocketSide::kServer : http::WebSocketSide::kClient, seed);
  Require(read.error.empty() && std::ranges::equal(read.messages, messages, Same),
          "what was written is read differently", read.error);
}

void CheckHandshake(std::string_view text) {
  fuzz::Input input(reinterpret_cast<const std::uint8_t*>(text.data()), text.size());
  http::Headers headers;
  headers.Set("Sec-WebSocket-Version", std::string(input.Until("\n")));
  headers.Set("Sec-WebSocket-Key", std::string(input.Until("\n")));
  const http::Response answer = http::WebSocketAnswer(headers);
  Require(answer.status == 101 || answer.status == 400 || answer.status == 426,
          "a handshake has another answer");
  const std::string key = http::AddWebSocketRequest(headers);
  const http::Response good = http::WebSocketAnswer(headers);
  Require(good.status == 101 && http::IsWebSocketAnswer(good, key), "a good handshake fails");
  Require(!http::IsWebSocketAnswer(answer, key), "another key's answer is taken");
}

template <class T>
void CheckMessage(std::string_view text) {
  const auto message = FromText<T>(text);
  if (!message) return;
  const Json written = ToJson(*message);
  const auto again = FromJson<T>(written);
  Require(again.has_value() && ToJson(*again) == written, "a message is read differently",
          ToText(written));
}

void CheckHijack(std::string_view text) {
  CheckMessage<api::hijack::ProcessMessage>(text);
  CheckMessage<api::hijack::InputMessage>(text);
  if (const auto process = FromText<api::hijack::ProcessMessage>(text)) {
    const auto spec = api::hijack::SpecOf(*process);
    Require(spec.path == process->path && spec.tty.has_value() == process->tty.has_value(),
            "a process became another");
  }
  if (const auto input = FromText<api::hijack::InputMessage>(text)) {
    if (const auto bytes = FromBase64(input->stdin_bytes)) {
      Require(FromBase64(ToBase64(*bytes)) == *bytes, "bytes changed in base64");
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::uint32_t seed = input.Choice(255) + 1;
  const std::string_view bytes = input.Rest();
  CheckRead(bytes, http::WebSocketSide::kClient, seed);
  CheckRead(bytes, http::WebSocketSide::kServer, seed);
  CheckRead(Masked(bytes), http::WebSocketSide::kServer, seed);
  CheckWrite(bytes, (seed & 1U) != 0, seed);
  CheckHandshake(bytes);
  CheckHijack(bytes);
  for (const auto& message : Read(Masked(bytes), http::WebSocketSide::kServer, 0).messages)
    CheckHijack(message.data);
  return 0;
}
