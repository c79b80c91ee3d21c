#include "http/message_reader.h"

namespace pinion::http {

namespace {
constexpr std::size_t kHeadChunk = 4 << 10;
constexpr std::size_t kBodyChunk = 32 << 10;
}  // namespace

MessageReader::MessageReader(Socket& socket, MessageParser::Kind kind, std::size_t header_bytes_max)
    : socket_(socket), kind_(kind), header_bytes_max_(header_bytes_max) {
  parser_ = MessageParser::Make(kind_, header_bytes_max_);
}

void MessageReader::Next() {
  parser_ = MessageParser::Make(kind_, header_bytes_max_);
  buffer_.erase(0, begin_);
  begin_ = 0;
  if (buffer_.empty())
    std::string().swap(buffer_);  // idle connections are many: no memory for them
}

Task<bool> MessageReader::Fill(std::size_t count, std::stop_token stop) {
  if (begin_ > 0) {
    buffer_.erase(0, begin_);
    begin_ = 0;
  }
  const std::size_t old_size = buffer_.size();
  buffer_.resize(old_size + count);
  std::size_t got = 0;
  try {
    got = co_await socket_.Read(std::span(buffer_).subspan(old_size), std::move(stop));
  } catch (...) {
    buffer_.resize(old_size);
    throw;
  }
  buffer_.resize(old_size + got);
  co_return got > 0;
}

bool MessageReader::ReadAhead() {
  while (CanReadAhead()) {
    const std::size_t old_size = buffer_.size();
    buffer_.resize(old_size + kHeadChunk);
    const auto got = socket_.ReadNow(std::span(buffer_).subspan(old_size));
    buffer_.resize(old_size + got.value_or(0));
    if (!got) return true;
    if (*got == 0) return false;
  }
  return true;
}

std::size_t MessageReader::Feed(std::span<char> body) {
  auto step = parser_->Put(unused(), body);
  if (!step) throw ParseFailure(std::move(step).error());
  begin_ += step->used;
  return step->body_bytes;
}

Task<bool> MessageReader::WaitForMessage(std::stop_token stop) {
  for (;;) {
    // Some clients send an empty line after a body.
    if (kind_ == MessageParser::Kind::kRequest) {
      while (has_bytes() && (buffer_[begin_] == '\r' || buffer_[begin_] == '\n'))
        ++begin_;
    }
    if (has_bytes()) co_return true;
    const bool more = co_await Fill(kHeadChunk, stop);
    if (!more) co_return false;
  }
}

bool MessageReader::HeadIsHere() {
  if (has_bytes() && !parser_->head_complete()) Feed({});
  return parser_->head_complete();
}

Task<bool> MessageReader::ReadHead(std::stop_token stop) {
  for (;;) {
    if (HeadIsHere()) co_return true;
    const bool more = co_await Fill(kHeadChunk, stop);
    if (!more) co_return false;
  }
}

Task<std::size_t> MessageReader::ReadBody(std::span<char> buffer, std::stop_token stop) {
  for (;;) {
    if (parser_->complete()) co_return 0;
    if (has_bytes()) {
      const std::size_t got = Feed(buffer);
      if (got > 0) co_return got;
      if (parser_->complete()) co_return 0;
    }
    const bool more = co_await Fill(kBodyChunk, stop);
    if (more) continue;
    if (!parser_->PutEnd()) {
      throw Failure(ErrorKind::kUnavailable, "the peer broke off in the middle of a body");
    }
    co_return 0;
  }
}

void MessageReader::GiveBack() {
  socket_.Unread(unused());
  buffer_.clear();
  begin_ = 0;
}

}  // namespace pinion::http
