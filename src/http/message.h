#pragma once

#include <optional>
#include <span>
#include <stop_token>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "async/task.h"
#include "base/error.h"

namespace pinion::http {

/// Header fields in the order they were added; names compare without case.
class Headers {
 public:
  Headers() = default;
  Headers(std::initializer_list<std::pair<std::string, std::string>> fields) : fields_(fields) {}
  /// The first value of that name, empty if absent.
  std::string_view Get(std::string_view name) const;
  bool Has(std::string_view name) const;
  /// Replaces every value of that name.
  void Set(std::string_view name, std::string value);
  void Add(std::string_view name, std::string value);
  void Erase(std::string_view name);
  auto begin() const { return fields_.begin(); }
  auto end() const { return fields_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> fields_;
};

/// A query string or form, decoded, in order; names may repeat.
class Query {
 public:
  /// kInvalid for broken percent escapes.
  static Result<Query> Parse(std::string_view text);
  std::optional<std::string_view> Get(std::string_view name) const;
  std::vector<std::string_view> All(std::string_view name) const;
  auto begin() const { return items_.begin(); }
  auto end() const { return items_.end(); }

 private:
  std::vector<std::pair<std::string, std::string>> items_;
};

/// A request without its body. `target` is the path (still percent-encoded) and query as sent.
struct Request {
  std::string method = "GET";
  std::string target = "/";
  Headers headers;
  std::string body;  ///< of client requests; server handlers read theirs from the exchange

  std::string_view Path() const { return std::string_view(target).substr(0, target.find('?')); }
  std::string_view QueryText() const {
    const std::size_t mark = target.find('?');
    return mark == std::string::npos ? std::string_view()
                                     : std::string_view(target).substr(mark + 1);
  }
};

struct Response {
  int status = 200;
  Headers headers;
  std::string body;
};

/// Bytes that come in, with back-pressure: nothing is read ahead but one buffer.
class BodyReader {
 public:
  virtual ~BodyReader() = default;
  /// At least one byte, or 0 at the end. Failure(kUnavailable) if the peer broke off, Cancelled on
  /// stop.
  virtual Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) = 0;
};

/// Bytes that go out, with back-pressure: a write returns when the bytes are with the kernel.
class BodyWriter {
 public:
  virtual ~BodyWriter() = default;
  virtual Task<void> Write(std::string_view bytes, std::stop_token stop) = 0;
  /// The regular end; without it the peer sees the body broken off.
  virtual Task<void> Finish(std::stop_token stop) = 0;
};

/// A connection taken over after an upgrade or a hijack: raw bytes both ways.
class Stream {
 public:
  virtual ~Stream() = default;
  virtual Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) = 0;
  virtual Task<void> Write(std::string_view bytes, std::stop_token stop) = 0;
  /// No more bytes will be written; reading goes on.
  virtual void CloseWrite() = 0;
  virtual void Close() = 0;
};

/// Reads a hijacked stream line by line; a line over `limit` bytes is kTooLarge.
class LineReader {
 public:
  LineReader(Stream& stream, std::size_t limit) : stream_(stream), limit_(limit) {}
  /// The next line without its line feed; nothing at the end.
  Task<std::optional<std::string>> Next(std::stop_token stop);

 private:
  Stream& stream_;
  std::size_t limit_;
  std::string buffer_;
};

/// One WebSocket connection, either side. Control frames are answered inside.
class WebSocket {
 public:
  struct Message {
    std::string data;
    bool text = true;
  };
  virtual ~WebSocket() = default;
  /// Nothing after the peer's close.
  virtual Task<std::optional<Message>> Read(std::stop_token stop) = 0;
  virtual Task<void> Write(Message message, std::stop_token stop) = 0;
  virtual Task<void> Close(std::uint16_t code, std::string reason) = 0;
};

}  // namespace pinion::http
