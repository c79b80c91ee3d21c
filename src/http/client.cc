#include "http/client.h"

#include <algorithm>
#include <vector>

#include "async/signal.h"
#include "http/head_text.h"
#include "http/message_reader.h"
#include "http/tls.h"
#include "http/websocket.h"

namespace pinion::http {

namespace {

constexpr std::size_t kHeaderBytesMax = 256 << 10;
/// Kept connections that nobody used for so long are closed, before a server would.
constexpr Duration kKeepTime = std::chrono::seconds(60);
constexpr std::size_t kSourceChunk = 64 << 10;

/// The peer of a client, from its URL.
struct Peer {
  Address address;
  bool tls = false;
  std::string host_header;
};

Result<Peer> ParseUrl(std::string_view url) {
  if (url.starts_with("unix:")) {
    return Peer{.address = {.is_unix = true, .path = std::string(url.substr(5))},
                .host_header = "localhost"};
  }
  Peer peer;
  peer.tls = url.starts_with("https://");
  if (!peer.tls && !url.starts_with("http://")) {
    return Fail(ErrorKind::kInvalid, "expected unix:PATH, http://HOST:PORT or https://HOST:PORT");
  }
  std::string_view rest = url.substr(url.find("//") + 2);
  rest = rest.substr(0, rest.find('/'));
  if (rest.empty() || rest.find('@') != std::string_view::npos) {
    return Fail(ErrorKind::kInvalid, "expected a host name after the scheme");
  }
  peer.host_header = std::string(rest);
  const bool has_port = rest.find(':', rest.front() == '[' ? rest.find(']') : 0) != rest.npos;
  auto address =
      ParseAddress(has_port ? std::string(rest) : std::string(rest) + (peer.tls ? ":443" : ":80"));
  if (!address) return std::unexpected(std::move(address).error());
  peer.address = std::move(*address);
  return peer;
}

/// A connection, kept or in use.
struct Link {
  explicit Link(std::unique_ptr<Socket> connected)
      : socket(std::move(connected)),
        reader(*socket, MessageParser::Kind::kResponse, kHeaderBytesMax) {}
  std::shared_ptr<Socket> socket;
  MessageReader reader;
  bool abandoned_body = false;  ///< the answer came before the request was sent whole
};

/// What outlives the client: bodies that are still being read hold it.
struct Pool {
  Pool(Executor on, Timers& with, ClientOptions given)
      : executor(std::move(on)),
        timers(with),
        options(std::move(given)),
        permits(options.connections_max) {}

  struct Kept {
    std::unique_ptr<Link> link;
    SteadyTime until;
  };

  const Executor executor;
  Timers& timers;
  const ClientOptions options;
  Result<Peer> peer = Fail(ErrorKind::kInternal, "not set");
  std::shared_ptr<TlsContext> tls;
  Semaphore permits;
  std::vector<Kept> kept;  ///< the last used is at the end
  Timers::Handle sweep;
  bool closed = false;
};

void ScheduleSweep(const std::shared_ptr<Pool>& pool) {
  if (pool->kept.empty()) return;
  // Oldest first: the front is the next to go.
  pool->sweep = pool->timers.At(pool->kept.front().until, [weak = std::weak_ptr(pool)] {
    const auto alive = weak.lock();
    if (!alive) return;
    const SteadyTime now = alive->timers.clock().Steady();
    std::erase_if(alive->kept, [&](const Pool::Kept& kept) { return kept.until <= now; });
    ScheduleSweep(alive);
  });
}

/// One use of a connection: a place among connections_max, and the connection. What is not given
/// back by Keep() is closed.
class Lease {
 public:
  Lease(std::shared_ptr<Pool> pool, Semaphore::Permit permit)
      : pool_(std::move(pool)), permit_(std::move(permit)) {}
  Lease(const Lease&) = delete;
  Lease& operator=(const Lease&) = delete;
  ~Lease() {
    if (link) link->socket->Close();
  }

  void Keep() {
    if (!link || pool_->closed) return;
    link->reader.Next();
    pool_->kept.push_back({std::move(link), pool_->timers.clock().Steady() + kKeepTime});
    if (pool_->kept.size() == 1) ScheduleSweep(pool_);
  }

  std::unique_ptr<Link> link;

 private:
  std::shared_ptr<Pool> pool_;  // before the permit, which is given back to it
  Semaphore::Permit permit_;
};

/// The body of an answer. The connection is kept when it was read to its end.
class ResponseBody final : public BodyReader {
 public:
  ResponseBody(std::shared_ptr<Lease> lease, bool keep) : lease_(std::move(lease)), keep_(keep) {}

  Task<std::size_t> Read(std::span<char> buffer, std::stop_token stop) override {
    if (!lease_) co_return 0;
    std::size_t got = 0;
    try {
      got = co_await lease_->link->reader.ReadBody(buffer, std::move(stop));
    } catch (const ParseFailure& failure) {
      throw Failure(ErrorKind::kUnavailable,
                    std::string("the answer's body cannot be read: ") + failure.what());
    }
    if (lease_->link->reader.complete()) {
      if (keep_ && !lease_->link->reader.has_bytes()) lease_->Keep();
      lease_.reset();
    }
    co_return got;
  }

 private:
  std::shared_ptr<Lease> lease_;
  bool keep_;
};

class ClientImpl final : public Client {
 public:
  ClientImpl(Executor executor, Timers& timers, ClientOptions options)
      : pool_(std::make_shared<Pool>(std::move(executor), timers, std::move(options))) {
    pool_->peer = ParseUrl(pool_->options.url);
    if (!pool_->peer) {
      pool_->peer.error().Context("URL \"" + pool_->options.url + "\"");
      return;
    }
    if (!pool_->peer->tls) return;
    auto tls = TlsContext::Make({.ca_certificates = pool_->options.ca_certificates,
                                 .client_certificate = pool_->options.client_certificate,
                                 .client_key = pool_->options.client_key,
                                 .insecure = pool_->options.insecure});
    if (tls) {
      pool_->tls = std::move(*tls);
    } else {
      pool_->peer = std::unexpected(std::move(tls).error());
    }
  }
  ClientImpl(const ClientImpl&) = delete;
  ClientImpl& operator=(const ClientImpl&) = delete;
  ~ClientImpl() override {
    pool_->closed = true;
    pool_->kept.clear();
    pool_->sweep.Cancel();
  }

  Task<Response> Send(Request request, std::stop_token stop) override {
    const std::string name = Name(request);
    try {
      auto lease = co_await Exchange(request, nullptr, stop);
      co_return co_await ReadAll(std::move(lease), stop);
    } catch (const Failure& failure) {
      throw Named(failure, name);
    }
  }

  Task<StreamedResponse> Open(Request request, BodyReader* source, std::stop_token stop) override {
    const std::string name = Name(request);
    try {
      auto lease = co_await Exchange(request, source, stop);
      MessageHead& head = lease->link->reader.head();
      StreamedResponse response{.status = head.status, .headers = head.headers, .body = nullptr};
      response.body = Body(std::move(lease));
      co_return response;
    } catch (const Failure& failure) {
      throw Named(failure, name);
    }
  }

  Task<std::unique_ptr<Stream>> Hijack(Request request, Response& head,
                                       std::stop_token stop) override {
    const std::string name = Name(request);
    try {
      auto lease = co_await Exchange(request, nullptr, stop);
      MessageHead& answer = lease->link->reader.head();
      if (answer.status >= 400) {
        head = co_await ReadAll(std::move(lease), stop);
        co_return nullptr;
      }
      co_return Take(*lease, head);
    } catch (const Failure& failure) {
      throw Named(failure, name);
    }
  }

  Task<std::unique_ptr<WebSocket>> OpenWebSocket(Request request, Response& head,
                                                 std::size_t message_bytes_max,
                                                 std::stop_token stop) override {
    const std::string name = Name(request);
    try {
      const std::string key = AddWebSocketRequest(request.headers);
      auto lease = co_await Exchange(request, nullptr, stop);
      MessageHead& answer = lease->link->reader.head();
      if (answer.status != 101) {
        head = co_await ReadAll(std::move(lease), stop);
        co_return nullptr;
      }
      auto stream = Take(*lease, head);
      if (!IsWebSocketAnswer(head, key)) {
        throw Failure(ErrorKind::kUnavailable, "the answer is no WebSocket handshake");
      }
      co_return MakeWebSocket(std::move(stream), WebSocketSide::kClient, message_bytes_max,
                              pool_->timers);
    } catch (const Failure& failure) {
      throw Named(failure, name);
    }
  }

 private:
  std::string Name(const Request& request) const {
    const std::string& url = pool_->options.url;
    std::string name = request.method + " " + url;
    if (url.starts_with("unix:")) name += " ";
    return name + std::string(request.Path());
  }

  static Failure Named(const Failure& failure, const std::string& name) {
    Error error = failure.error();
    error.Context(name);
    return Failure(std::move(error));
  }

  /// Sends the request and reads the answer's head, interim answers apart.
  Task<std::shared_ptr<Lease>> Exchange(const Request& request, BodyReader* source,
                                        std::stop_token stop) {
    if (!pool_->peer) throw Failure(pool_->peer.error());
    auto permit = co_await pool_->permits.Acquire(stop);
    const auto lease = std::make_shared<Lease>(pool_, std::move(permit));
    bool source_used = false;
    for (bool may_retry = true;; may_retry = false) {
      lease->link = may_retry ? TakeKept() : nullptr;
      if (!lease->link) {
        may_retry = false;
        lease->link = std::make_unique<Link>(co_await ConnectToPeer(stop));
      }
      try {
        co_await SendRequest(*lease->link, request, source, source_used, stop);
        co_await ReadHead(*lease->link, request.method == "HEAD", stop);
        co_return lease;
      } catch (const ParseFailure& failure) {
        throw Failure(ErrorKind::kUnavailable,
                      std::string("the answer is no HTTP: ") + failure.what());
      } catch (const Failure& failure) {
        const bool dead = failure.error().kind == ErrorKind::kUnavailable &&
                          !lease->link->reader.parser().head_complete() &&
                          !lease->link->reader.has_bytes();
        if (!may_retry || source_used || !dead) throw;
      }
      lease->link->socket->Close();
    }
  }

  std::unique_ptr<Link> TakeKept() {
    while (!pool_->kept.empty()) {
      auto link = std::move(pool_->kept.back().link);
      pool_->kept.pop_back();
      if (link->socket->Quiet()) return link;
    }
    return nullptr;
  }

  Task<std::unique_ptr<Socket>> ConnectToPeer(std::stop_token stop) {
    Deadline deadline(pool_->timers, pool_->options.connect_timeout, stop);
    try {
      auto socket =
          co_await Connect(pool_->executor, pool_->timers, pool_->peer->address, deadline.token());
      if (pool_->tls) {
        socket = co_await pool_->tls->Wrap(std::move(socket), pool_->peer->address.host,
                                           deadline.token());
      }
      co_return socket;
    } catch (const Cancelled&) {
      if (!deadline.expired()) throw;
      throw Failure(ErrorKind::kTimeout, "connecting took too long");
    } catch (const Failure& failure) {
      throw Failure(ErrorKind::kUnavailable, failure.what());
    }
  }

  std::string HeadText(const Request& request, bool has_source, bool chunked) const {
    Headers headers = request.headers;
    headers.Erase("Transfer-Encoding");
    if (!has_source) headers.Erase("Content-Length");
    if (!headers.Has("Host")) headers.Add("Host", pool_->peer->host_header);
    if (chunked) {
      headers.Add("Transfer-Encoding", "chunked");
    } else if (!has_source && (!request.body.empty() || request.method == "POST" ||
                               request.method == "PUT" || request.method == "PATCH")) {
      headers.Add("Content-Length", std::to_string(request.body.size()));
    }
    for (const std::string_view part :
         {std::string_view(request.method), std::string_view(request.target)}) {
      if (part.empty() || part.find_first_of(" \t\r\n") != std::string_view::npos) {
        throw Failure(ErrorKind::kInternal, "the request's method or target has white space in it");
      }
    }
    std::string text = request.method + " " + request.target + " HTTP/1.1\r\n";
    AppendFields(text, headers);
    return text + "\r\n";
  }

  Task<void> SendRequest(Link& link, const Request& request, BodyReader* source, bool& source_used,
                         std::stop_token stop) {
    const bool chunked = source && !request.headers.Has("Content-Length");
    const std::string head = HeadText(request, source, chunked);
    link.socket->SetStallTimeouts({}, pool_->options.response_timeout);
    try {
      co_await link.socket->Write({head, request.body}, stop);
      if (source) co_await SendBody(link, *source, chunked, source_used, stop);
    } catch (const BrokenOff&) {
      // A peer that does not want the body may answer and close at once: its answer is read if it
      // is there, and else fails in the same way.
      link.abandoned_body = true;
    }
  }

  /// Until the source's end, or until the peer answers: then it does not want the rest.
  static Task<void> SendBody(Link& link, BodyReader& source, bool chunked, bool& source_used,
                             std::stop_token stop) {
    LinkedStop sending(stop);
    struct Watch {
      Watch(Link& of, LinkedStop& stops) : link(of), stop(stops) { Begin(); }
      ~Watch() { link.socket->WatchReadable(nullptr); }
      void Begin() {
        link.socket->WatchReadable([this] {
          if (!link.reader.ReadAhead() || link.reader.has_bytes()) {
            stop.RequestStop();
          } else {
            Begin();  // TLS has news that are none of ours
          }
        });
      }
      Link& link;
      LinkedStop& stop;
    };
    const Watch watch(link, sending);
    try {
      std::vector<char> chunk(kSourceChunk);
      for (;;) {
        source_used = true;
        const std::size_t got = co_await source.Read(chunk, sending.token());
        if (got == 0) break;
        const std::string_view bytes(chunk.data(), got);
        std::string size;
        if (chunked) size = ChunkSize(got);
        co_await link.socket->Write({size, bytes, chunked ? "\r\n" : ""}, sending.token());
      }
      if (chunked) co_await link.socket->Write({"0\r\n\r\n"}, sending.token());
    } catch (const Cancelled&) {
      if (stop.stop_requested() || !sending.stop_requested()) throw;
      link.abandoned_body = true;
    }
  }

  Task<void> ReadHead(Link& link, bool is_head, std::stop_token stop) {
    Deadline deadline(pool_->timers, pool_->options.response_timeout, stop);
    try {
      for (;;) {
        if (is_head) link.reader.parser().SkipBody();
        const bool answered = co_await link.reader.ReadHead(deadline.token());
        if (!answered) {
          throw Failure(ErrorKind::kUnavailable, "the connection was closed without an answer");
        }
        const int status = link.reader.head().status;
        if (status >= 200 || status == 101) co_return;
        link.reader.Next();  // an interim answer
      }
    } catch (const Cancelled&) {
      if (!deadline.expired()) throw;
      throw Failure(ErrorKind::kTimeout, "there was no answer in time");
    }
  }

  std::unique_ptr<ResponseBody> Body(std::shared_ptr<Lease> lease) {
    MessageHead& head = lease->link->reader.head();
    const bool keep = head.keep_alive && !lease->link->abandoned_body;
    lease->link->socket->SetStallTimeouts({}, {});
    return std::make_unique<ResponseBody>(std::move(lease), keep);
  }

  Task<Response> ReadAll(std::shared_ptr<Lease> lease, std::stop_token stop) {
    MessageHead& head = lease->link->reader.head();
    Response response{.status = head.status, .headers = std::move(head.headers)};
    const auto socket = lease->link->socket;
    const auto body = Body(std::move(lease));
    socket->SetStallTimeouts(pool_->options.response_timeout, {});
    std::array<char, 16 << 10> chunk;
    for (;;) {
      const std::size_t got = co_await body->Read(chunk, stop);
      if (got == 0) co_return response;
      if (response.body.size() + got > pool_->options.body_bytes_max) {
        throw Failure(ErrorKind::kTooLarge, "the answer is larger than " +
                                                std::to_string(pool_->options.body_bytes_max) +
                                                " bytes");
      }
      response.body.append(chunk.data(), got);
    }
  }

  /// Takes the connection out of the client's hands, and out of its count.
  static std::unique_ptr<Stream> Take(Lease& lease, Response& head) {
    MessageHead& answer = lease.link->reader.head();
    head = Response{.status = answer.status, .headers = std::move(answer.headers)};
    lease.link->reader.GiveBack();
    auto socket = lease.link->socket;
    lease.link.reset();
    return MakeStream(std::move(socket));
  }

  std::shared_ptr<Pool> pool_;
};

}  // namespace

std::unique_ptr<Client> Client::Make(Executor executor, Timers& timers, ClientOptions options) {
  return std::make_unique<ClientImpl>(std::move(executor), timers, std::move(options));
}

}  // namespace pinion::http
