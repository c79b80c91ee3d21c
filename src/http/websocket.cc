#include "http/websocket.h"

#include <openssl/sha.h>

#include <array>
#include <cstring>

#include "async/signal.h"
#include "base/encoding.h"
#include "base/text.h"
#include "http/head_text.h"

namespace pinion::http {

namespace {

constexpr std::string_view kMagic = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
/// How long the peer may take to answer a close.
constexpr Duration kCloseTime = std::chrono::seconds(5);
constexpr std::size_t kControlBytesMax = 125;

enum Opcode : unsigned {
  kContinuation = 0x0,
  kText = 0x1,
  kBinary = 0x2,
  kClose = 0x8,
  kPing = 0x9,
  kPong = 0xA,
};

enum CloseCode : std::uint16_t {
  kProtocolError = 1002,
  kNotUtf8 = 1007,
  kTooBig = 1009,
};

std::string AcceptKey(std::string_view key) {
  const std::string text = std::string(key) + std::string(kMagic);
  std::array<unsigned char, SHA_DIGEST_LENGTH> digest;
  SHA1(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  return ToBase64({reinterpret_cast<const char*>(digest.data()), digest.size()});
}

bool IsUtf8(std::string_view text) {
  for (std::size_t i = 0; i < text.size();) {
    const auto lead = static_cast<unsigned char>(text[i]);
    if (lead < 0x80) {
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return false;
    char32_t point = lead & (0xFFU >> (length + 1));
    for (std::size_t j = 1; j < length; ++j) {
      const auto next = static_cast<unsigned char>(text[i + j]);
      if ((next & 0xC0) != 0x80) return false;
      point = point << 6 | (next & 0x3FU);
    }
    constexpr std::array<char32_t, 5> kSmallest{0, 0, 0x80, 0x800, 0x10000};
    if (point < kSmallest[length] || point > 0x10FFFF || (point >= 0xD800 && point <= 0xDFFF)) {
      return false;
    }
    i += length;
  }
  return true;
}

void ApplyMask(std::span<char> bytes, const std::array<char, 4>& mask, std::size_t phase) {
  for (std::size_t i = 0; i < bytes.size(); ++i)
    bytes[i] ^= mask[(phase + i) % 4];
}

/// What is left of the frame that is being read, so that a stop in its middle loses nothing.
struct Frame {
  bool final = false;
  unsigned opcode = 0;
  std::uint64_t left = 0;
  std::array<char, 4> mask{};
  std::size_t phase = 0;  ///< of the mask
};

class WebSocketImpl final : public WebSocket {
 public:
  WebSocketImpl(std::unique_ptr<Stream> stream, WebSocketSide side, std::size_t message_bytes_max,
                Timers& timers)
      : stream_(std::move(stream)),
        side_(side),
        message_bytes_max_(message_bytes_max),
        timers_(timers) {}

  Task<std::optional<Message>> Read(std::stop_token stop) override {
    std::uint16_t code = 0;
    Error error;
    try {
      while (!peer_closed_) {
        auto message = co_await Step(stop);
        if (message) co_return message;
      }
      co_return std::nullopt;
    } catch (const Violation& violation) {
      code = violation.code;
      error = violation.error();
    } catch (const Failure&) {
      closed_.Set();  // Close() need not wait for an answer
      throw;
    }
    co_await SendClose(code, error.message, stop);
    stream_->Close();
    peer_closed_ = true;
    closed_.Set();
    throw Failure(error);
  }

  Task<void> Write(Message message, std::stop_token stop) override {
    if (close_sent_) throw Failure(ErrorKind::kUnavailable, "the WebSocket is closed");
    co_await WriteFrame(message.text ? kText : kBinary, std::move(message.data), std::move(stop));
  }

  Task<void> Close(std::uint16_t code, std::string reason) override {
    Deadline deadline(timers_, kCloseTime, {});
    try {
      co_await SendClose(code, std::move(reason), deadline.token());
      // Who reads at this time gets the peer's answer; else it is waited for here.
      while (!peer_closed_ && !reading_)
        co_await Step(deadline.token());
      if (reading_) co_await closed_.Wait(deadline.token());
    } catch (const std::exception&) {
      // The peer is gone, or does not answer: the connection ends without its consent.
    }
    stream_->Close();
  }

 private:
  struct Violation : Failure {
    Violation(std::uint16_t with, ErrorKind kind, std::string message)
        : Failure(kind, std::move(message)), code(with) {}
    Violation(std::uint16_t with, std::string message)
        : Violation(with, ErrorKind::kUnavailable, std::move(message)) {}
    std::uint16_t code;
  };

  struct Reading {
    explicit Reading(bool& of) : flag(of) { flag = true; }
    Reading(const Reading&) = delete;
    Reading& operator=(const Reading&) = delete;
    ~Reading() { flag = false; }
    bool& flag;
  };

  /// Reads on by one frame or a part of it; a message when one is complete.
  Task<std::optional<Message>> Step(std::stop_token stop) {
    const Reading reading(reading_);
    if (!in_frame_) {
      co_await ReadFrameHead(stop);
      in_frame_ = true;
    }
    std::string& target = frame_.opcode >= kClose ? control_ : message_.data;
    while (frame_.left > 0) {
      if (begin_ == input_.size()) co_await Fill(stop);
      const std::size_t count = std::min<std::uint64_t>(frame_.left, input_.size() - begin_);
      const std::span<char> piece(input_.data() + begin_, count);
      if (side_ == WebSocketSide::kServer) ApplyMask(piece, frame_.mask, frame_.phase);
      target.append(piece.data(), count);
      frame_.phase += count;
      frame_.left -= count;
      begin_ += count;
    }
    in_frame_ = false;
    if (frame_.opcode >= kClose) {
      co_await Control(stop);
      co_return std::nullopt;
    }
    if (!frame_.final) co_return std::nullopt;
    in_message_ = false;
    if (message_.text && !IsUtf8(message_.data)) {
      throw Violation(kNotUtf8, "WebSocket: a text message is not UTF-8");
    }
    co_return std::exchange(message_, {});
  }

  Task<void> ReadFrameHead(std::stop_token stop) {
    const bool masked = side_ == WebSocketSide::kServer;
    co_await Need(2, stop);
    const auto first = Byte(0);
    const auto second = Byte(1);
    if ((first & 0x70) != 0) throw Violation(kProtocolError, "WebSocket: unknown extension bits");
    if (((second & 0x80) != 0) != masked) {
      throw Violation(kProtocolError, "WebSocket: a frame's mask is missing or not expected");
    }
    const unsigned short_length = second & 0x7F;
    const std::size_t length_bytes = short_length == 127 ? 8 : short_length == 126 ? 2 : 0;
    const std::size_t size = 2 + length_bytes + (masked ? 4 : 0);
    co_await Need(size, stop);
    Frame frame{.final = (first & 0x80) != 0, .opcode = first & 0x0FU, .left = short_length};
    if (length_bytes > 0) {
      frame.left = 0;
      for (std::size_t i = 0; i < length_bytes; ++i)
        frame.left = frame.left << 8 | Byte(2 + i);
    }
    if (masked) std::memcpy(frame.mask.data(), input_.data() + begin_ + size - 4, 4);
    begin_ += size;
    frame_ = frame;
    CheckFrame();
  }

  void CheckFrame() {
    switch (frame_.opcode) {
      case kText:
      case kBinary:
        if (in_message_) throw Violation(kProtocolError, "WebSocket: a message within a message");
        in_message_ = true;
        message_ = {.data = {}, .text = frame_.opcode == kText};
        break;
      case kContinuation:
        if (!in_message_) throw Violation(kProtocolError, "WebSocket: nothing to continue");
        break;
      case kClose:
      case kPing:
      case kPong:
        if (!frame_.final || frame_.left > kControlBytesMax) {
          throw Violation(kProtocolError, "WebSocket: a control frame is too long");
        }
        control_.clear();
        return;
      default:
        throw Violation(kProtocolError, "WebSocket: unknown kind of frame");
    }
    if (frame_.left > message_bytes_max_ - message_.data.size()) {
      throw Violation(
          kTooBig, ErrorKind::kTooLarge,
          "WebSocket: a message is larger than " + std::to_string(message_bytes_max_) + " bytes");
    }
  }

  Task<void> Control(std::stop_token stop) {
    if (frame_.opcode == kPing && !close_sent_) {
      co_await WriteFrame(kPong, std::move(control_), stop);
    } else if (frame_.opcode == kClose) {
      peer_closed_ = true;
      closed_.Set();
      // Its code is sent back, its reason is not.
      std::string answer = control_.size() >= 2 ? control_.substr(0, 2) : std::string();
      if (!std::exchange(close_sent_, true)) co_await WriteFrame(kClose, std::move(answer), stop);
      if (side_ == WebSocketSide::kServer) stream_->CloseWrite();
    }
  }

  Task<void> SendClose(std::uint16_t code, std::string reason, std::stop_token stop) {
    if (std::exchange(close_sent_, true)) co_return;
    std::string payload{static_cast<char>(code >> 8), static_cast<char>(code & 0xFF)};
    payload += std::string_view(reason).substr(0, kControlBytesMax - 2);
    co_await WriteFrame(kClose, std::move(payload), std::move(stop));
  }

  Task<void> WriteFrame(unsigned opcode, std::string payload, std::stop_token stop) {
    const auto permit = co_await writing_.Acquire(stop);
    if (broken_) throw Failure(ErrorKind::kUnavailable, "the WebSocket is broken off");
    const bool masked = side_ == WebSocketSide::kClient;
    const unsigned mask_bit = masked ? 0x80 : 0;
    std::string frame{static_cast<char>(0x80 | opcode)};
    const std::size_t size = payload.size();
    if (size < 126) {
      frame += static_cast<char>(mask_bit | size);
    } else {
      const int bytes = size < 65536 ? 2 : 8;
      frame += static_cast<char>(mask_bit | (bytes == 2 ? 126U : 127U));
      for (int shift = (bytes - 1) * 8; shift >= 0; shift -= 8) {
        frame += static_cast<char>(size >> shift & 0xFF);
      }
    }
    if (masked) {
      std::array<char, 4> mask;
      RandomBytes(4).copy(mask.data(), 4);
      frame.append(mask.data(), mask.size());
      ApplyMask(payload, mask, 0);
    }
    frame += payload;
    broken_ = true;  // until the frame is out whole
    co_await stream_->Write(frame, std::move(stop));
    broken_ = false;
  }

  unsigned Byte(std::size_t at) const { return static_cast<unsigned char>(input_[begin_ + at]); }

  Task<void> Need(std::size_t count, std::stop_token stop) {
    while (input_.size() - begin_ < count)
      co_await Fill(stop);
  }

  Task<void> Fill(std::stop_token stop) {
    constexpr std::size_t kChunk = 16 << 10;
    input_.erase(0, begin_);
    begin_ = 0;
    const std::size_t old_size = input_.size();
    input_.resize(old_size + kChunk);
    std::size_t got = 0;
    try {
      got = co_await stream_->Read(std::span(input_).subspan(old_size), std::move(stop));
    } catch (...) {
      input_.resize(old_size);
      throw;
    }
    input_.resize(old_size + got);
    if (got == 0) {
      throw Failure(ErrorKind::kUnavailable, "the peer broke the WebSocket off without closing it");
    }
  }

  std::unique_ptr<Stream> stream_;
  const WebSocketSide side_;
  const std::size_t message_bytes_max_;
  Timers& timers_;
  std::string input_;
  std::size_t begin_ = 0;  ///< of what is not used of it
  Frame frame_;
  bool in_frame_ = false;
  bool in_message_ = false;
  Message message_;
  std::string control_;
  bool reading_ = false;
  bool peer_closed_ = false;
  bool close_sent_ = false;
  bool broken_ = false;
  Event closed_;
  Semaphore writing_{1};
};

}  // namespace

std::unique_ptr<WebSocket> MakeWebSocket(std::unique_ptr<Stream> stream, WebSocketSide side,
                                         std::size_t message_bytes_max, Timers& timers) {
  return std::make_unique<WebSocketImpl>(std::move(stream), side, message_bytes_max, timers);
}

Response WebSocketAnswer(const Headers& request) {
  if (Trim(request.Get("Sec-WebSocket-Version")) != "13") {
    return {.status = 426,
            .headers = {{"Sec-WebSocket-Version", "13"}, {"Content-Type", "text/plain"}},
            .body = "only version 13 of WebSocket is known here"};
  }
  const std::string_view key = Trim(request.Get("Sec-WebSocket-Key"));
  if (FromBase64(key).value_or("").size() != 16) {
    return {.status = 400,
            .headers = {{"Content-Type", "text/plain"}},
            .body = "the Sec-WebSocket-Key is no key"};
  }
  return {.status = 101,
          .headers = {{"Upgrade", "websocket"},
                      {"Connection", "Upgrade"},
                      {"Sec-WebSocket-Accept", AcceptKey(key)}}};
}

std::string AddWebSocketRequest(Headers& headers) {
  std::string key = ToBase64(RandomBytes(16));
  headers.Set("Connection", "Upgrade");
  headers.Set("Upgrade", "websocket");
  headers.Set("Sec-WebSocket-Version", "13");
  headers.Set("Sec-WebSocket-Key", key);
  return key;
}

bool IsWebSocketAnswer(const Response& head, const std::string& key) {
  return HasToken(head.headers.Get("Upgrade"), "websocket") &&
         HasToken(head.headers.Get("Connection"), "upgrade") &&
         Trim(head.headers.Get("Sec-WebSocket-Accept")) == AcceptKey(key);
}

}  // namespace pinion::http
