#pragma once

#include <cstdint>
#include <expected>
#include <memory>
#include <optional>
#include <span>
#include <string_view>

#include "http/message.h"

/// Internal to the module: HTTP/1 text to messages, without I/O. Beast stays behind it.
namespace pinion::http {

/// What stands above a message's body.
struct MessageHead {
  std::string method;  ///< requests
  std::string target;  ///< requests
  int status = 0;      ///< responses
  int minor_version = 1;
  Headers headers;
  bool keep_alive = true;  ///< by version and Connection header
  bool chunked = false;
  std::optional<std::uint64_t> content_length;
};

/// Why a message is refused, with the status that a server answers.
struct ParseError {
  int status = 400;
  std::string message;
};

/// Reads one message. Bytes are given in as they come; what is not used yet is given again,
/// together with what came after it.
class MessageParser {
 public:
  enum class Kind { kRequest, kResponse };
  static std::unique_ptr<MessageParser> Make(Kind kind, std::size_t header_bytes_max);
  virtual ~MessageParser() = default;

  /// The response is one to HEAD: it has no body whatever its head says. Before the first Put.
  virtual void SkipBody() = 0;

  struct Step {
    std::size_t used = 0;        ///< of the input
    std::size_t body_bytes = 0;  ///< written to `body`
  };
  /// Until the head is complete no body is written; then at most body.size() bytes of it.
  virtual std::expected<Step, ParseError> Put(std::string_view bytes, std::span<char> body) = 0;
  /// The peer ended its stream. An error if the message is not complete then.
  virtual std::expected<void, ParseError> PutEnd() = 0;

  virtual bool head_complete() const = 0;
  virtual bool complete() const = 0;
  /// Valid once the head is complete.
  virtual MessageHead& head() = 0;
};

/// "Not Found" for 404; empty for a status that has no name.
std::string_view ReasonPhrase(int status);

}  // namespace pinion::http
