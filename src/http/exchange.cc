#include "http/exchange.h"

#include <charconv>

#include "base/text.h"
#include "http/head_text.h"
#include "http/websocket.h"

namespace pinion::http {

namespace {

constexpr std::size_t kCompressFrom = 1024;
constexpr std::size_t kCompressSlice = 256 << 10;

bool HasBody(int status) {
  return status >= 200 && status != 204 && status != 304;
}

/// What is compressed already gains nothing and costs time.
bool WorthCompressing(std::string_view content_type) {
  for (const std::string_view prefix : {"image/", "video/", "audio/", "font/"}) {
    if (content_type.starts_with(prefix)) return content_type.starts_with("image/svg");
  }
  for (const std::string_view word : {"gzip", "zip", "zstd", "octet-stream"}) {
    if (content_type.find(word) != std::string_view::npos) return false;
  }
  return true;
}

}  // namespace

ExchangeImpl::ExchangeImpl(ServerShared& shared, std::shared_ptr<Socket> socket,
                           MessageReader& reader, const std::string& remote_address)
    : shared_(shared),
      socket_(std::move(socket)),
      reader_(reader),
      remote_address_(remote_address),
      keep_alive_(reader.head().keep_alive),
      is_head_(reader.head().method == "HEAD"),
      minor_version_(reader.head().minor_version) {
  MessageHead& head = reader_.head();
  request_.method = head.method;
  request_.target = std::move(head.target);
  request_.headers = std::move(head.headers);
  continue_pending_ = minor_version_ == 1 && !reader_.complete() &&
                      HasToken(request_.headers.Get("Expect"), "100-continue");
  ++shared_.exchanges;
  if (reader_.complete()) WatchPeer();
}

ExchangeImpl::~ExchangeImpl() {
  EndWatch();
  --shared_.exchanges;
}

void ExchangeImpl::EndWatch() {
  socket_->WatchReadable(nullptr);
}

void ExchangeImpl::WatchPeer() {
  // Past a buffer full of further requests the client's end is not looked for any more.
  if (!reader_.CanReadAhead()) return;
  socket_->WatchReadable([this] {
    if (reader_.ReadAhead()) {
      WatchPeer();
    } else {
      keep_alive_ = false;
      stop_.request_stop();
    }
  });
}

Task<std::size_t> ExchangeImpl::Read(std::span<char> buffer, std::stop_token stop) {
  if (state_ == State::kTaken) throw Failure(ErrorKind::kInternal, "the connection was taken over");
  if (continue_pending_ && state_ == State::kOpen) {
    co_await socket_->Write({"HTTP/1.1 100 Continue\r\n\r\n"}, stop);
    continue_pending_ = false;
  }
  if (reader_.complete()) co_return 0;
  const std::size_t got = co_await reader_.ReadBody(buffer, stop);
  if (reader_.complete()) WatchPeer();
  co_return got;
}

Task<Result<std::string>> ExchangeImpl::ReadBody(std::size_t limit) {
  const std::string too_large = "the body is larger than " + std::to_string(limit) + " bytes";
  if (reader_.head().content_length.value_or(0) > limit) {
    co_return Fail(ErrorKind::kTooLarge, too_large);
  }
  std::string body;
  std::array<char, 16 << 10> chunk;
  for (;;) {
    const std::size_t got = co_await Read(chunk, stop_.get_token());
    if (got == 0) co_return body;
    if (body.size() + got > limit) co_return Fail(ErrorKind::kTooLarge, too_large);
    body.append(chunk.data(), got);
  }
}

void ExchangeImpl::Begin() {
  if (state_ != State::kOpen)
    throw Failure(ErrorKind::kInternal, "the request is answered already");
  // A body that was asked for and not read, or was not even sent, would be taken for the next
  // request.
  if (continue_pending_ || shared_.stopping) keep_alive_ = false;
}

bool ExchangeImpl::Compresses(const Response& response) const {
  return !response.headers.Has("Content-Encoding") && HasBody(response.status) &&
         AcceptsGzip(request_.headers.Get("Accept-Encoding")) &&
         WorthCompressing(response.headers.Get("Content-Type"));
}

std::string ExchangeImpl::HeadText(const Response& response, const Headers& framing) {
  std::string text = "HTTP/1.1 " + std::to_string(response.status) + " ";
  text.append(ReasonPhrase(response.status)).append("\r\nDate: ").append(shared_.Date());
  text += "\r\n";
  AppendFields(text, response.headers);
  AppendFields(text, framing);
  text += "\r\n";
  return text;
}

Task<void> ExchangeImpl::Respond(Response response) {
  Begin();
  if (HasToken(response.headers.Get("Connection"), "close")) keep_alive_ = false;
  for (const auto* name : {"Connection", "Transfer-Encoding", "Content-Length"}) {
    response.headers.Erase(name);
  }
  if (response.body.size() >= kCompressFrom && Compresses(response)) {
    GzipWriter gzip;
    std::string packed;
    for (std::size_t at = 0; at < response.body.size(); at += kCompressSlice) {
      gzip.Append(std::string_view(response.body).substr(at, kCompressSlice), packed);
      if (at > 0) co_await boost::asio::post(shared_.executor, boost::asio::use_awaitable);
    }
    gzip.Finish(packed);
    response.body = std::move(packed);
    response.headers.Set("Content-Encoding", "gzip");
    response.headers.Add("Vary", "Accept-Encoding");
  }
  Headers framing;
  if (HasBody(response.status)) {
    framing.Add("Content-Length", std::to_string(response.body.size()));
  }
  if (!keep_alive_) {
    framing.Add("Connection", "close");
  } else if (minor_version_ == 0) {
    framing.Add("Connection", "keep-alive");
  }
  const std::string head = HeadText(response, framing);
  state_ = State::kAnswering;
  const bool send_body = HasBody(response.status) && !is_head_;
  co_await socket_->Write({head, send_body ? std::string_view(response.body) : std::string_view()},
                          {});
  state_ = State::kAnswered;
}

Task<BodyWriter*> ExchangeImpl::Start(Response head, bool compress) {
  Begin();
  if (HasToken(head.headers.Get("Connection"), "close")) keep_alive_ = false;
  head.headers.Erase("Connection");
  head.headers.Erase("Transfer-Encoding");
  bodiless_ = is_head_ || !HasBody(head.status);
  if (compress && Compresses(head)) {
    head.headers.Erase("Content-Length");
    head.headers.Set("Content-Encoding", "gzip");
    head.headers.Add("Vary", "Accept-Encoding");
    if (!bodiless_) gzip_ = std::make_unique<GzipWriter>();
  }
  Headers framing;
  const std::string length(head.headers.Get("Content-Length"));
  std::uint64_t promised = 0;
  const auto parsed = std::from_chars(length.data(), length.data() + length.size(), promised);
  if (!length.empty()) {
    if (parsed.ec != std::errc() || parsed.ptr != length.data() + length.size()) {
      throw Failure(ErrorKind::kInternal, "\"" + length + "\" is no Content-Length");
    }
    left_ = promised;
  } else if (minor_version_ == 1 && HasBody(head.status)) {
    chunked_ = true;
    framing.Add("Transfer-Encoding", "chunked");
  } else if (HasBody(head.status)) {
    keep_alive_ = false;  // the connection's end is the body's
  }
  if (!keep_alive_) {
    framing.Add("Connection", "close");
  } else if (minor_version_ == 0) {
    framing.Add("Connection", "keep-alive");
  }
  const std::string text = HeadText(head, framing);
  state_ = State::kAnswering;
  co_await socket_->Write({text}, {});
  BodyWriter* const writer = this;
  co_return writer;
}

Task<void> ExchangeImpl::Write(std::string_view bytes, std::stop_token stop) {
  if (bytes.empty()) co_return;
  if (!gzip_) {
    co_await WriteFrame(bytes, std::move(stop));
    co_return;
  }
  ThrowIfStopped(stop);  // what is compressed must be sent: the next piece builds on it
  std::string packed;
  gzip_->Flush(bytes, packed);
  co_await WriteFrame(packed, std::move(stop));
}

Task<void> ExchangeImpl::WriteFrame(std::string_view bytes, std::stop_token stop) {
  if (state_ != State::kAnswering || broken_) {
    throw Failure(ErrorKind::kInternal, "the answer is ended or broken off");
  }
  if (bodiless_) co_return;
  if (left_ && bytes.size() > *left_) {
    throw Failure(ErrorKind::kInternal, "the answer is longer than its Content-Length");
  }
  broken_ = true;
  if (chunked_) {
    const std::string frame_head = ChunkSize(bytes.size());
    co_await socket_->Write({frame_head, bytes, "\r\n"}, std::move(stop));
  } else {
    co_await socket_->Write({bytes}, std::move(stop));
    if (left_) *left_ -= bytes.size();
  }
  broken_ = false;
}

Task<void> ExchangeImpl::Finish(std::stop_token stop) {
  if (state_ == State::kAnswered) co_return;
  if (gzip_) {
    std::string packed;
    gzip_->Finish(packed);
    co_await WriteFrame(packed, stop);
  }
  if (state_ != State::kAnswering || broken_) {
    throw Failure(ErrorKind::kInternal, "the answer is broken off");
  }
  if (left_.value_or(0) > 0 && !bodiless_) {
    throw Failure(ErrorKind::kInternal, "the answer is shorter than its Content-Length");
  }
  broken_ = true;
  if (chunked_ && !bodiless_) co_await socket_->Write({"0\r\n\r\n"}, stop);
  broken_ = false;
  state_ = State::kAnswered;
}

Task<std::unique_ptr<Stream>> ExchangeImpl::Hijack(Response head) {
  Begin();
  if (!reader_.complete()) {
    throw Failure(ErrorKind::kInternal, "the body is read before the connection is taken over");
  }
  EndWatch();
  const std::string text = HeadText(head, {});
  state_ = State::kTaken;
  reader_.GiveBack();
  co_await socket_->Write({text}, {});
  co_return MakeStream(socket_);
}

bool ExchangeImpl::IsWebSocketUpgrade() const {
  return request_.method == "GET" && minor_version_ == 1 &&
         HasToken(request_.headers.Get("Connection"), "upgrade") &&
         HasToken(request_.headers.Get("Upgrade"), "websocket");
}

Task<std::unique_ptr<WebSocket>> ExchangeImpl::AcceptWebSocket(std::size_t message_bytes_max) {
  if (!IsWebSocketUpgrade()) {
    throw Failure(ErrorKind::kInvalid, "the request asks for no WebSocket");
  }
  Response head = WebSocketAnswer(request_.headers);
  if (head.status != 101) {
    const std::string reason = head.body;
    co_await Respond(std::move(head));
    throw Failure(ErrorKind::kInvalid, reason);
  }
  auto stream = co_await Hijack(std::move(head));
  co_return MakeWebSocket(std::move(stream), WebSocketSide::kServer, message_bytes_max,
                          shared_.timers);
}

}  // namespace pinion::http
