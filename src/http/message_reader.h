#pragma once

#include <memory>
#include <string>

#include "http/message_parser.h"
#include "http/socket.h"

/// Internal to the module: messages from a socket.
namespace pinion::http {

/// The peer sent what is no HTTP, or too much of it.
class ParseFailure : public Failure {
 public:
  explicit ParseFailure(ParseError error)
      : Failure(error.status == 431 ? ErrorKind::kTooLarge : ErrorKind::kInvalid, error.message),
        status_(error.status) {}
  int status() const { return status_; }

 private:
  int status_;
};

/// Reads the messages of a connection one after the other. Never reads further ahead than one
/// buffer.
class MessageReader {
 public:
  MessageReader(Socket& socket, MessageParser::Kind kind, std::size_t header_bytes_max);

  /// Forgets the last message, which must be complete, and keeps what was read of the next.
  void Next();
  /// Waits for the first byte of a message; false at the end of the stream.
  Task<bool> WaitForMessage(std::stop_token stop);
  /// True if what was read so far holds the whole head, as it mostly does.
  bool HeadIsHere();
  /// Reads up to the end of the head. False if the stream ends before it.
  Task<bool> ReadHead(std::stop_token stop);
  /// At least one byte of the body, or 0 when the message is complete.
  Task<std::size_t> ReadBody(std::span<char> buffer, std::stop_token stop);

  MessageParser& parser() { return *parser_; }
  MessageHead& head() { return parser_->head(); }
  bool complete() const { return parser_->complete(); }
  /// True if bytes beyond the message were read.
  bool has_bytes() const { return begin_ < buffer_.size(); }
  /// Reads what there is without waiting, for the next message; false once the peer is gone. Does
  /// nothing when there is a buffer full already.
  bool ReadAhead();
  bool CanReadAhead() const { return buffer_.size() - begin_ < kReadAheadMax; }
  /// Gives the bytes beyond the message back to the socket, for who takes it over.
  void GiveBack();

 private:
  static constexpr std::size_t kReadAheadMax = 64 << 10;

  std::string_view unused() const { return std::string_view(buffer_).substr(begin_); }
  Task<bool> Fill(std::size_t count, std::stop_token stop);
  std::size_t Feed(std::span<char> body);

  Socket& socket_;
  const MessageParser::Kind kind_;
  const std::size_t header_bytes_max_;
  std::unique_ptr<MessageParser> parser_;
  std::string buffer_;
  std::size_t begin_ = 0;  ///< of what is not used yet
};

}  // namespace pinion::http
