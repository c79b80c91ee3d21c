#include "http/connection.h"

#include <array>

#include "base/encoding.h"
#include "http/exchange.h"
#include "http/head_text.h"
#include "http/message_reader.h"

namespace pinion::http {

namespace {
/// An unread rest of a body up to this is read, so that the connection can be kept.
constexpr std::size_t kDrainBytesMax = 256 << 10;
constexpr Duration kDrainTime = std::chrono::seconds(5);
/// How long a client that still sends may take to see a last answer before the connection is
/// closed.
constexpr Duration kLingerTime = std::chrono::seconds(1);

/// Brings the target to the form "/path?query" and refuses what cannot be decoded.
Result<void> NormalizeTarget(std::string& target, std::string_view method) {
  if (target == "*" && method == "OPTIONS") return {};
  for (const std::string_view scheme : {"http://", "https://"}) {
    if (!target.starts_with(scheme)) continue;
    const std::size_t path = target.find_first_of("/?", scheme.size());
    target = path == std::string::npos ? "/" : target.substr(path);
    if (target.front() == '?') target.insert(0, "/");
    break;
  }
  if (!target.starts_with('/')) return Fail(ErrorKind::kInvalid, "the target is no path");
  const auto path = PercentDecode(std::string_view(target).substr(0, target.find('?')));
  if (!path) return Fail(ErrorKind::kInvalid, "the path has a broken percent escape");
  if (path->find('\0') != std::string::npos) {
    return Fail(ErrorKind::kInvalid, "the path has a zero byte");
  }
  return {};
}

}  // namespace

const std::string& ServerShared::Date() {
  const std::int64_t second = timers.clock().UnixSeconds();
  if (second != date_second) {
    date = HttpDate(timers.clock().Now());
    date_second = second;
  }
  return date;
}

Connection::Connection(ServerShared& shared, std::unique_ptr<Socket> socket,
                       std::string remote_address)
    : shared_(shared),
      socket_(std::move(socket)),
      remote_address_(std::move(remote_address)),
      reader_(*socket_, MessageParser::Kind::kRequest, shared.options.header_bytes_max) {
  socket_->SetStallTimeouts(shared_.options.stall_timeout, shared_.options.stall_timeout);
}

void Connection::RequestStop() {
  closing_.request_stop();
  if (exchange_) exchange_->RequestStop();
}

void Connection::Abort() {
  socket_->Reset();
}

Task<void> Connection::Serve() {
  int refused = 0;
  std::string reason;
  try {
    bool more = true;
    while (more)
      more = co_await ServeOne();
    co_return;
  } catch (const ParseFailure& failure) {
    refused = failure.status();
    reason = failure.what();
  } catch (const Cancelled&) {
    socket_->Close();  // shut down
  } catch (const Failure& failure) {
    shared_.log.Debug("connection broken off",
                      {{"remote", remote_address_}, {"error", failure.what()}});
    socket_->Reset();
  }
  if (refused == 0) co_return;
  shared_.log.Debug("request refused", {{"remote", remote_address_}, {"error", reason}});
  try {
    co_await Refuse(refused, reason);
  } catch (const std::exception&) {
    socket_->Close();  // it did not wait for the refusal
  }
}

Task<bool> Connection::ReadRequestHead() {
  {
    Deadline idle(shared_.timers,
                  first_ ? shared_.options.header_timeout : shared_.options.idle_timeout,
                  closing_.get_token());
    try {
      const bool any = co_await reader_.WaitForMessage(idle.token());
      if (!any) co_return false;
    } catch (const Cancelled&) {
      co_return false;  // nobody has asked anything: there is nothing to answer
    }
  }
  first_ = false;
  if (reader_.HeadIsHere()) co_return true;
  Deadline slow(shared_.timers, shared_.options.header_timeout, closing_.get_token());
  try {
    const bool complete = co_await reader_.ReadHead(slow.token());
    co_return complete;
  } catch (const Cancelled&) {
    if (!slow.expired()) throw;
    throw ParseFailure({408, "the request's head took too long"});
  }
}

Task<bool> Connection::ServeOne() {
  const bool asked = co_await ReadRequestHead();
  if (!asked) {
    socket_->Close();
    co_return false;
  }
  std::string& target = reader_.head().target;
  if (auto usable = NormalizeTarget(target, reader_.head().method); !usable) {
    throw ParseFailure({400, usable.error().message});
  }
  using State = ExchangeImpl::State;
  ExchangeImpl exchange(shared_, socket_, reader_, remote_address_);
  {
    exchange_ = &exchange;
    struct Forget {
      explicit Forget(ExchangeImpl*& of) : pointer(of) {}
      Forget(const Forget&) = delete;
      Forget& operator=(const Forget&) = delete;
      ~Forget() { pointer = nullptr; }
      ExchangeImpl*& pointer;
    };
    const Forget forget(exchange_);
    co_await RunHandler(exchange);
  }
  exchange.EndWatch();
  if (exchange.state() == State::kTaken) co_return false;
  if (exchange.state() == State::kOpen) {
    const int status = shared_.stopping || exchange.stop().stop_requested() ? 503 : 500;
    co_await exchange.Respond({.status = status});
  }
  if (exchange.state() != State::kAnswered) {
    socket_->Reset();  // so that the client does not take what it got for the whole
    co_return false;
  }
  if (exchange.body_withheld() || !exchange.keep_alive()) {
    co_await Linger();
    co_return false;
  }
  const bool drained = co_await DrainRequest();
  if (!drained || shared_.stopping) {
    co_await Linger();
    co_return false;
  }
  reader_.Next();
  co_return true;
}

Task<void> Connection::RunHandler(ExchangeImpl& exchange) {
  try {
    co_await shared_.handler(exchange);
    if (exchange.state() == ExchangeImpl::State::kOpen) {
      shared_.log.LogError(
          "request not answered by its handler",
          {{"method", exchange.request().method}, {"path", exchange.request().Path()}});
    }
  } catch (const Cancelled&) {
    // The client left or the server stops.
  } catch (const ParseFailure& failure) {
    // The body is garbage: this is the client's fault, and what follows cannot be read.
    if (exchange.state() == ExchangeImpl::State::kOpen) throw;
    shared_.log.Debug("request broken", {{"error", failure.what()}});
  } catch (const BrokenOff& failure) {
    shared_.log.Debug("client left",
                      {{"path", exchange.request().Path()}, {"error", failure.what()}});
  } catch (...) {
    shared_.log.LogError("request failed", {{"method", exchange.request().method},
                                            {"path", exchange.request().Path()},
                                            {"error", CurrentError().message}});
  }
}

Task<bool> Connection::DrainRequest() {
  if (reader_.complete()) co_return true;
  Deadline deadline(shared_.timers, kDrainTime, closing_.get_token());
  std::array<char, 8 << 10> scrap;
  std::size_t drained = 0;
  try {
    while (!reader_.complete() && drained < kDrainBytesMax) {
      drained += co_await reader_.ReadBody(scrap, deadline.token());
    }
  } catch (const std::exception&) {
    co_return false;  // too slow, gone, or garbage: the answer is sent, there is nobody to tell
  }
  co_return reader_.complete();
}

Task<void> Connection::Refuse(int status, std::string message) {
  const std::string head = "HTTP/1.1 " + std::to_string(status) + " " +
                           std::string(ReasonPhrase(status)) + "\r\nDate: " + shared_.Date() +
                           "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: " +
                           std::to_string(message.size()) + "\r\nConnection: close\r\n\r\n";
  co_await socket_->Write({head, message}, closing_.get_token());
  co_await Linger();
}

Task<void> Connection::Linger() {
  socket_->CloseWrite();
  Deadline deadline(shared_.timers, kLingerTime, closing_.get_token());
  std::array<char, 8 << 10> scrap;
  try {
    for (;;) {
      const std::size_t got = co_await socket_->Read(scrap, deadline.token());
      if (got == 0) break;
    }
  } catch (const std::exception&) {
    // It had its time, or is gone.
  }
  socket_->Close();
}

}  // namespace pinion::http
