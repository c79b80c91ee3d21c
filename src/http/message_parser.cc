#include "http/message_parser.h"

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/status.hpp>

#include "base/text.h"

namespace pinion::http {

namespace {

namespace beast_http = boost::beast::http;
using boost::beast::string_view;
using boost::system::error_code;

/// Between the pieces of a chunked body stand sizes, extensions and at its end trailers. More of
/// them at once than this is no honest peer.
constexpr std::size_t kChunkHeaderBytesMax = 16 << 10;

ParseError ToParseError(const error_code& error) {
  if (error == beast_http::error::header_limit || error == beast_http::error::buffer_overflow) {
    return {431, "the header fields are too large"};
  }
  if (error == beast_http::error::bad_version) {
    return {505, "this is neither HTTP/1.0 nor HTTP/1.1"};
  }
  return {400, error.message()};
}

std::string ToString(string_view text) {
  return {text.data(), text.size()};
}

template <bool kIsRequest>
class BeastParser final : public MessageParser, private beast_http::basic_parser<kIsRequest> {
  using Base = beast_http::basic_parser<kIsRequest>;

 public:
  explicit BeastParser(std::size_t header_bytes_max) : header_bytes_max_(header_bytes_max) {
    this->header_limit(static_cast<std::uint32_t>(header_bytes_max));
    this->body_limit(boost::none);  // who reads the body decides how much it may be
  }

  void SkipBody() override { this->skip(true); }

  std::expected<Step, ParseError> Put(std::string_view bytes, std::span<char> body) override {
    room_ = body;
    Step step;
    while (!bytes.empty() && !Base::is_done() && !(Base::is_header_done() && room_.empty())) {
      const bool in_head = !Base::is_header_done();
      error_code error;
      const std::size_t used = Base::put({bytes.data(), bytes.size()}, error);
      step.used += used;
      // Beast's limit is on what it holds unparsed, so that many small fields pass it.
      if (in_head && (head_bytes_ += used) > header_bytes_max_) {
        return std::unexpected(ParseError{431, "the header fields are too large"});
      }
      // A header folded over lines reads as two headers to some.
      if (in_head && HasFold(bytes.substr(0, used))) {
        return std::unexpected(ParseError{400, "a header is folded over several lines"});
      }
      bytes.remove_prefix(used);
      if (error == beast_http::error::need_more) {
        if (!in_head && bytes.size() > kChunkHeaderBytesMax) {
          return std::unexpected(ParseError{400, "the head of a chunk is too large"});
        }
        break;
      }
      if (error) return std::unexpected(ToParseError(error));
      if (in_head && Base::is_header_done()) {
        auto checked = FinishHead();
        if (!checked) return std::unexpected(std::move(checked).error());
        break;
      }
    }
    step.body_bytes = body.size() - room_.size();
    return step;
  }

  std::expected<void, ParseError> PutEnd() override {
    if (Base::is_done()) return {};
    if (!Base::got_some()) return std::unexpected(ParseError{400, "the connection was closed"});
    error_code error;
    Base::put_eof(error);
    if (error) return std::unexpected(ParseError{400, "the message was broken off"});
    return {};
  }

  bool head_complete() const override { return Base::is_header_done(); }
  bool complete() const override { return Base::is_done(); }
  MessageHead& head() override { return head_; }

 private:
  /// Forms that intermediaries and servers read differently are refused: they smuggle requests.
  std::expected<void, ParseError> FinishHead() {
    head_.keep_alive = Base::keep_alive();
    head_.chunked = Base::chunked();
    if (const auto length = Base::content_length()) head_.content_length = *length;
    if (!kIsRequest) return {};
    int hosts = 0;
    int encodings = 0;
    for (const auto& [name, value] : head_.headers) {
      if (boost::beast::iequals(name, "host")) ++hosts;
      if (boost::beast::iequals(name, "transfer-encoding")) ++encodings;
    }
    if (hosts > 1) return Refuse(400, "there is more than one Host");
    if (hosts == 0 && head_.minor_version == 1) return Refuse(400, "there is no Host");
    if (encodings == 0) return {};
    if (head_.minor_version == 0) return Refuse(400, "HTTP/1.0 has no Transfer-Encoding");
    if (head_.headers.Has("Content-Length")) {
      return Refuse(400, "there are both Content-Length and Transfer-Encoding");
    }
    if (encodings > 1 || !head_.chunked ||
        !boost::beast::iequals(Trim(head_.headers.Get("Transfer-Encoding")), "chunked")) {
      return Refuse(501, "the only Transfer-Encoding known here is chunked");
    }
    return {};
  }

  bool HasFold(std::string_view text) {
    for (const char c : text) {
      if (at_line_start_ && (c == ' ' || c == '\t')) return true;
      at_line_start_ = c == '\n';
    }
    return false;
  }

  static std::unexpected<ParseError> Refuse(int status, std::string message) {
    return std::unexpected(ParseError{status, std::move(message)});
  }

  std::size_t TakeBody(string_view bytes) {
    const std::size_t count = std::min(bytes.size(), room_.size());
    std::copy_n(bytes.data(), count, room_.data());
    room_ = room_.subspan(count);
    return count;
  }

  void on_request_impl(beast_http::verb, string_view method, string_view target, int version,
                       error_code&) override {
    head_.method = ToString(method);
    head_.target = ToString(target);
    head_.minor_version = version % 10;
  }
  void on_response_impl(int status, string_view, int version, error_code&) override {
    head_.status = status;
    head_.minor_version = version % 10;
  }
  void on_field_impl(beast_http::field, string_view name, string_view value,
                     error_code& error) override {
    if (Base::is_header_done()) return;  // a trailer: it must not pass for a header
    if (value.find('\0') != string_view::npos) {
      error = beast_http::error::bad_value;
      return;
    }
    head_.headers.Add(std::string_view(name.data(), name.size()), ToString(value));
  }
  void on_header_impl(error_code&) override {}
  void on_body_init_impl(const boost::optional<std::uint64_t>&, error_code&) override {}
  std::size_t on_body_impl(string_view bytes, error_code&) override { return TakeBody(bytes); }
  void on_chunk_header_impl(std::uint64_t, string_view, error_code&) override {}
  std::size_t on_chunk_body_impl(std::uint64_t, string_view bytes, error_code&) override {
    return TakeBody(bytes);
  }
  void on_finish_impl(error_code&) override {}

  MessageHead head_;
  std::span<char> room_;
  const std::size_t header_bytes_max_;
  std::size_t head_bytes_ = 0;
  bool at_line_start_ = false;
};

}  // namespace

std::unique_ptr<MessageParser> MessageParser::Make(Kind kind, std::size_t header_bytes_max) {
  if (kind == Kind::kRequest) return std::make_unique<BeastParser<true>>(header_bytes_max);
  return std::make_unique<BeastParser<false>>(header_bytes_max);
}

std::string_view ReasonPhrase(int status) {
  const auto known = beast_http::int_to_status(static_cast<unsigned>(status));
  if (known == beast_http::status::unknown) return {};
  const auto reason = beast_http::obsolete_reason(known);
  return {reason.data(), reason.size()};
}

}  // namespace pinion::http
