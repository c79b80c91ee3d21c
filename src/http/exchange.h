#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/compression.h"
#include "http/connection.h"
#include "http/message_reader.h"

/// Internal to the module: one request and its answer.
namespace pinion::http {

class ExchangeImpl final : public Exchange, private BodyReader, private BodyWriter {
 public:
  ExchangeImpl(ServerShared& shared, std::shared_ptr<Socket> socket, MessageReader& reader,
               const std::string& remote_address);
  ExchangeImpl(const ExchangeImpl&) = delete;
  ExchangeImpl& operator=(const ExchangeImpl&) = delete;
  ~ExchangeImpl() override;

  const Request& request() const override { return request_; }
  const std::string& remote_address() const override { return remote_address_; }
  std::stop_token stop() const override { return stop_.get_token(); }
  BodyReader& body() override { return *this; }
  Task<Result<std::string>> ReadBody(std::size_t limit) override;
  Task<void> Respond(Response response) override;
  Task<BodyWriter*> Start(Response head, bool compress) override;
  Task<std::unique_ptr<Stream>> Hijack(Response head) override;
  Task<std::unique_ptr<WebSocket>> AcceptWebSocket(std::size_t message_bytes_max) override;
  bool IsWebSocketUpgrade() const override;

  void RequestStop() { stop_.request_stop(); }
  /// The handler has returned.
  void EndWatch();
  enum class State {
    kOpen,       ///< nothing was sent
    kAnswering,  ///< the answer's end is not sent yet
    kAnswered,
    kTaken,  ///< the connection belongs to somebody else now
  };
  State state() const { return state_; }
  bool keep_alive() const { return keep_alive_; }
  bool request_complete() const { return reader_.complete(); }
  /// The client waits for a "100 Continue" that it will not get: its body does not come.
  bool body_withheld() const { return continue_pending_; }

 private:
  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override;
  Task<void> Write(std::string_view bytes, std::stop_token stop) override;
  Task<void> Finish(std::stop_token stop) override;

  void Begin();
  void WatchPeer();
  bool Compresses(const Response& response) const;
  std::string HeadText(const Response& response, const Headers& framing);
  Task<void> WriteFrame(std::string_view bytes, std::stop_token stop);

  ServerShared& shared_;
  std::shared_ptr<Socket> socket_;
  MessageReader& reader_;
  const std::string& remote_address_;
  Request request_;
  std::stop_source stop_;
  State state_ = State::kOpen;
  bool keep_alive_;
  const bool is_head_;
  const int minor_version_;
  bool continue_pending_ = false;
  // Of Start().
  bool chunked_ = false;
  bool bodiless_ = false;
  bool broken_ = false;                ///< a frame was sent in part
  std::optional<std::uint64_t> left_;  ///< of a Content-Length that the handler promised
  std::unique_ptr<GzipWriter> gzip_;
};

}  // namespace pinion::http
