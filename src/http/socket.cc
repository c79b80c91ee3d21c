#include "http/socket.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <array>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cerrno>

namespace pinion::http {

namespace asio = boost::asio;

struct Readiness::State : std::enable_shared_from_this<Readiness::State> {
  State(const Executor& executor, int descriptor) : handle(executor, descriptor) {}

  void ArmRead() {
    if (read_armed || closed) return;
    read_armed = true;
    handle.async_wait(asio::posix::descriptor_base::wait_read,
                      [self = shared_from_this()](const boost::system::error_code&) {
                        self->read_armed = false;
                        self->Readable();
                      });
  }
  void ArmWrite() {
    if (write_armed || closed) return;
    write_armed = true;
    handle.async_wait(asio::posix::descriptor_base::wait_write,
                      [self = shared_from_this()](const boost::system::error_code&) {
                        self->write_armed = false;
                        if (self->writer) std::exchange(self->writer, {})(true);
                      });
  }
  void Readable() {
    if (reader) {
      std::exchange(reader, {})(true);
    } else if (watch && !closed) {
      std::exchange(watch, nullptr)();
    }
  }

  asio::posix::stream_descriptor handle;
  bool closed = false;
  bool read_armed = false;
  bool write_armed = false;
  Waker<bool> reader;
  Waker<bool> writer;
  std::move_only_function<void()> watch;
};

Readiness::Readiness(const Executor& executor, int descriptor)
    : state_(std::make_shared<State>(executor, descriptor)) {}

Readiness::~Readiness() {
  Watch(nullptr);
  Close();
}

int Readiness::descriptor() const {
  return state_->handle.native_handle();
}
bool Readiness::closed() const {
  return state_->closed;
}

Task<void> Readiness::WaitReadable(std::stop_token stop) {
  const auto state = state_;  // this object may be gone when the wait ends
  if (state->closed) co_return;
  try {
    co_await SuspendUntilStop<bool>(std::move(stop), [&state](Waker<bool> waker) {
      state->reader = std::move(waker);
      state->ArmRead();
    });
  } catch (...) {
    state->reader = {};
    throw;
  }
}

Task<void> Readiness::WaitWritable(std::stop_token stop) {
  const auto state = state_;
  if (state->closed) co_return;
  try {
    co_await SuspendUntilStop<bool>(std::move(stop), [&state](Waker<bool> waker) {
      state->writer = std::move(waker);
      state->ArmWrite();
    });
  } catch (...) {
    state->writer = {};
    throw;
  }
}

void Readiness::Watch(std::move_only_function<void()> action) {
  state_->watch = std::move(action);
  if (state_->watch) state_->ArmRead();
}

void Readiness::Close() {
  if (std::exchange(state_->closed, true)) return;
  boost::system::error_code ignored;
  state_->handle.close(ignored);
  if (state_->reader) std::exchange(state_->reader, {})(true);
  if (state_->writer) std::exchange(state_->writer, {})(true);
}

int Readiness::Release() {
  state_->closed = true;
  return state_->handle.release();
}

void SetTcpOptions(int descriptor) {
  const int on = 1;
  const int idle_seconds = 60;
  const int interval_seconds = 15;
  const int probes = 4;
  setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  setsockopt(descriptor, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPIDLE, &idle_seconds, sizeof idle_seconds);
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPINTVL, &interval_seconds, sizeof interval_seconds);
  setsockopt(descriptor, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
  // Keep-alive rests while something is not acknowledged: without this a peer that vanished in the
  // middle of an answer is believed in for a quarter of an hour. Not less than what a client may
  // stop reading for.
  const unsigned unacknowledged_milliseconds = 5 * 60 * 1000;
  setsockopt(descriptor, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged_milliseconds,
             sizeof unacknowledged_milliseconds);
}

namespace {

/// System calls on a non-blocking descriptor, tried first; only when the kernel has nothing to give
/// is the loop asked to wait. So a stop never loses bytes that were read.
class PlainSocket final : public Socket {
 public:
  PlainSocket(const Executor& executor, Timers& timers, int descriptor)
      : executor_(executor), timers_(timers), readiness_(executor, descriptor) {}

  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    for (;;) {
      ThrowIfStopped(stop);
      if (const auto got = TryRead(buffer)) {
        if (++without_wait_ >= kWithoutWaitMax) co_await Yield();
        co_return *got;
      }
      co_await Wait(Direction::kRead, stop);
    }
  }

  std::optional<std::size_t> ReadNow(std::span<char> buffer) override {
    try {
      return TryRead(buffer);
    } catch (const Failure&) {
      return 0;
    }
  }

  Task<void> Write(Pieces pieces, std::stop_token stop) override {
    for (;;) {
      ThrowIfStopped(stop);
      if (TryWrite(pieces)) {
        if (++without_wait_ >= kWithoutWaitMax) co_await Yield();
        co_return;
      }
      co_await Wait(Direction::kWrite, stop);
    }
  }

  bool WriteNow(std::string_view bytes) override {
    if (readiness_.closed()) return false;
    return send(readiness_.descriptor(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL) ==
           static_cast<ssize_t>(bytes.size());
  }

  void Unread(std::string_view bytes) override { unread_.insert(0, bytes); }

  void CloseWrite() override {
    if (!readiness_.closed()) shutdown(readiness_.descriptor(), SHUT_WR);
  }

  void Close() override { readiness_.Close(); }

  void Reset() override {
    if (readiness_.closed()) return;
    const linger at_once{.l_onoff = 1, .l_linger = 0};
    setsockopt(readiness_.descriptor(), SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    readiness_.Close();
  }

  void WatchReadable(std::move_only_function<void()> action) override {
    readiness_.Watch(std::move(action));
  }

  bool Quiet() override {
    if (!unread_.empty() || readiness_.closed()) return false;
    char byte;
    const ssize_t got = recv(readiness_.descriptor(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
  }

  void SetStallTimeouts(Duration read, Duration write) override {
    read_stall_ = read;
    write_stall_ = write;
  }

 private:
  enum class Direction { kRead, kWrite };

  [[noreturn]] static void Broken(std::string_view what, int error) {
    throw BrokenOff(SystemError(what, error).message);
  }

  std::optional<std::size_t> TryRead(std::span<char> buffer) {
    if (!unread_.empty()) {
      const std::size_t count = unread_.copy(buffer.data(), buffer.size());
      unread_.erase(0, count);
      return count;
    }
    for (;;) {
      if (readiness_.closed()) Broken("read", ECONNABORTED);
      const ssize_t got = recv(readiness_.descriptor(), buffer.data(), buffer.size(), MSG_DONTWAIT);
      if (got >= 0) return static_cast<std::size_t>(got);
      if (errno == EAGAIN || errno == EWOULDBLOCK) return std::nullopt;
      if (errno != EINTR) Broken("read", errno);
    }
  }

  /// True when everything is written; else `pieces` holds what is left.
  bool TryWrite(Pieces& pieces) {
    for (;;) {
      if (readiness_.closed()) Broken("write", ECONNABORTED);
      std::array<iovec, 3> vectors;
      std::size_t left = 0;
      for (std::size_t i = 0; i < pieces.size(); ++i) {
        vectors[i] = {const_cast<char*>(pieces[i].data()), pieces[i].size()};
        left += pieces[i].size();
      }
      if (left == 0) return true;
      msghdr message{};
      message.msg_iov = vectors.data();
      message.msg_iovlen = vectors.size();
      const ssize_t sent = sendmsg(readiness_.descriptor(), &message, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) {
        if (errno == EINTR) continue;
        if (errno == EAGAIN || errno == EWOULDBLOCK) return false;
        Broken("write", errno);
      }
      auto done = static_cast<std::size_t>(sent);
      for (std::string_view& piece : pieces) {
        const std::size_t count = std::min(done, piece.size());
        piece.remove_prefix(count);
        done -= count;
      }
    }
  }

  /// Lets the loop's other work run, for when the peer is so fast that nothing ever has to wait.
  Task<void> Yield() {
    without_wait_ = 0;
    co_await asio::post(executor_, asio::use_awaitable);
  }

  Task<void> Wait(Direction direction, std::stop_token stop) {
    without_wait_ = 0;
    const Duration limit = direction == Direction::kRead ? read_stall_ : write_stall_;
    if (limit == Duration::zero()) {
      co_await WaitReady(direction, stop);
      co_return;
    }
    Deadline deadline(timers_, limit, stop);
    try {
      co_await WaitReady(direction, deadline.token());
    } catch (const Cancelled&) {
      if (!deadline.expired()) throw;
      throw Failure(ErrorKind::kTimeout, direction == Direction::kRead
                                             ? "read: the peer sends nothing any more"
                                             : "write: the peer takes nothing any more");
    }
  }

  Task<void> WaitReady(Direction direction, std::stop_token stop) {
    return direction == Direction::kRead ? readiness_.WaitReadable(std::move(stop))
                                         : readiness_.WaitWritable(std::move(stop));
  }

  static constexpr int kWithoutWaitMax = 16;

  const Executor executor_;
  Timers& timers_;
  Readiness readiness_;
  int without_wait_ = 0;
  std::string unread_;
  Duration read_stall_{0};
  Duration write_stall_{0};
};

/// A connection after its hijack.
class TakenStream final : public Stream {
 public:
  explicit TakenStream(std::shared_ptr<Socket> socket) : socket_(std::move(socket)) {}
  TakenStream(const TakenStream&) = delete;
  TakenStream& operator=(const TakenStream&) = delete;
  ~TakenStream() override { socket_->Close(); }

  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    return socket_->Read(buffer, std::move(stop));
  }
  Task<void> Write(std::string_view bytes, std::stop_token stop) override {
    return socket_->Write({bytes}, std::move(stop));
  }
  void CloseWrite() override { socket_->CloseWrite(); }
  void Close() override { socket_->Close(); }

 private:
  std::shared_ptr<Socket> socket_;
};

}  // namespace

std::unique_ptr<Stream> MakeStream(std::shared_ptr<Socket> socket) {
  socket->SetStallTimeouts({}, {});
  return std::make_unique<TakenStream>(std::move(socket));
}

std::unique_ptr<Socket> MakeSocket(const Executor& executor, Timers& timers, int descriptor) {
  return std::make_unique<PlainSocket>(executor, timers, descriptor);
}

}  // namespace pinion::http
