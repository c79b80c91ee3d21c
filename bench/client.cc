// The clients of the server's rows: as cheap as sockets allow, because they share the machine's
// cores with what they measure.
//
//   client watch PORT TOKEN BUILD FAST SLOW BYTES_A_SECOND plain|gzip
//     Reads a build's events on FAST connections as fast as they come and on SLOW ones at that
//     rate, until every fast one has seen the end.
//   client load PORT TOKEN PATH CONNECTIONS SECONDS [HEADER: VALUE]...
//     Asks for PATH again and again, one request at a time on each connection.
//
// One line of JSON each; times are milliseconds of CLOCK_MONOTONIC.
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace {

[[noreturn]] void Fail(const std::string& what) {
  std::fprintf(stderr, "client: %s\n", what.c_str());
  std::exit(1);
}

double Milliseconds() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<double>(now.tv_sec) * 1e3 + static_cast<double>(now.tv_nsec) / 1e6;
}

int Connect(int port, int receive_buffer) {
  const int fd = socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  if (receive_buffer > 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
  }
  if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) != 0) {
    Fail(std::string("connect: ") + std::strerror(errno));
  }
  return fd;
}

void Send(int fd, const std::string& text) {
  if (send(fd, text.data(), text.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(text.size())) {
    Fail(std::string("send: ") + std::strerror(errno));
  }
}

std::vector<char> buffer(1 << 20);

// --- watch
// ----------------------------------------------------------------------------------------

/// One reader of an event stream. It looks for the start of the task and for the end alone.
struct Watcher {
  int fd = -1;
  bool slow = false;
  bool headed = false;
  double started = 0;  ///< the task's start was seen
  double ended = 0;
  std::uint64_t received = 0;  ///< as it came
  std::uint64_t bytes = 0;     ///< of text
  double allowed = 0;          ///< what a slow one may read by now, in bytes
  std::string tail;
  std::unique_ptr<z_stream> inflater;
};

void TakeText(Watcher& watcher, std::string_view text) {
  constexpr std::string_view kEnd = "event: end\n";
  watcher.bytes += text.size();
  if (watcher.started == 0) {
    watcher.tail += text;
    if (watcher.tail.find("\"event\":\"start-task\"") != std::string::npos) {
      watcher.started = Milliseconds();
    } else if (watcher.tail.size() > 64) {
      watcher.tail.erase(0, watcher.tail.size() - 64);
    }
  }
  // The last event is the stream's last words.
  watcher.tail += text.substr(text.size() - std::min<std::size_t>(text.size(), 128));
  if (watcher.tail.find(kEnd) != std::string::npos) watcher.ended = Milliseconds();
  if (watcher.tail.size() > 128) watcher.tail.erase(0, watcher.tail.size() - 128);
}

/// Frames of the transfer are not taken out: they are a few bytes in many thousand. Of a compressed
/// stream they must be.
struct Unframer {
  std::uint64_t left = 0;
  std::string line;
  int skip = 0;
};

void Inflate(Watcher& watcher, std::string_view packed) {
  static std::vector<char> text(1 << 18);
  z_stream& stream = *watcher.inflater;
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  stream.avail_in = static_cast<uInt>(packed.size());
  do {
    stream.next_out = reinterpret_cast<Bytef*>(text.data());
    stream.avail_out = static_cast<uInt>(text.size());
    const int outcome = inflate(&stream, Z_NO_FLUSH);
    if (outcome == Z_STREAM_END) {
      inflateReset(&stream);
    } else if (outcome != Z_OK && outcome != Z_BUF_ERROR) {
      Fail("the stream is no gzip");
    }
    TakeText(watcher, {text.data(), text.size() - stream.avail_out});
    if (outcome == Z_BUF_ERROR) break;
  } while (stream.avail_in > 0 || stream.avail_out == 0);
}

void TakeFramed(Watcher& watcher, Unframer& frames, std::string_view bytes) {
  while (!bytes.empty()) {
    if (frames.left > 0) {
      const auto count =
          static_cast<std::size_t>(std::min<std::uint64_t>(frames.left, bytes.size()));
      Inflate(watcher, bytes.substr(0, count));
      bytes.remove_prefix(count);
      frames.left -= count;
      if (frames.left == 0) frames.skip = 2;
    } else if (frames.skip > 0) {
      bytes.remove_prefix(1);
      --frames.skip;
    } else {
      const char next = bytes.front();
      bytes.remove_prefix(1);
      if (next == '\n') {
        frames.left = std::strtoull(frames.line.c_str(), nullptr, 16);
        frames.line.clear();
      } else {
        frames.line += next;
      }
    }
  }
}

void Read(Watcher& watcher, Unframer& frames, std::size_t most) {
  const ssize_t got = recv(watcher.fd, buffer.data(), std::min(most, buffer.size()), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return;
  if (got <= 0) Fail("an event stream ended before its build");
  std::string_view bytes(buffer.data(), static_cast<std::size_t>(got));
  watcher.received += bytes.size();
  watcher.allowed -= static_cast<double>(bytes.size());
  if (!watcher.headed) {
    watcher.tail += bytes;
    const std::size_t end = watcher.tail.find("\r\n\r\n");
    if (end == std::string::npos) return;
    if (!watcher.tail.starts_with("HTTP/1.1 200")) Fail(watcher.tail.substr(0, 200));
    const std::string rest = std::exchange(watcher.tail, {}).substr(end + 4);
    watcher.headed = true;
    if (watcher.inflater) {
      TakeFramed(watcher, frames, rest);
    } else {
      TakeText(watcher, rest);
    }
  } else if (watcher.inflater) {
    TakeFramed(watcher, frames, bytes);
  } else {
    TakeText(watcher, bytes);
  }
}

int Watch(char** arguments) {
  const int port = std::atoi(arguments[0]);
  const int fast = std::atoi(arguments[3]);
  const int slow = std::atoi(arguments[4]);
  const double rate = std::atof(arguments[5]);
  const bool gzip = std::string_view(arguments[6]) == "gzip";
  const std::string request = std::string("GET /api/v1/builds/") + arguments[2] +
                              "/events HTTP/1.1\r\nHost: bench\r\nAuthorization: " + arguments[1] +
                              "\r\nAccept: text/event-stream\r\n" +
                              (gzip ? "Accept-Encoding: gzip\r\n" : "") + "\r\n";
  std::vector<Watcher> watchers(static_cast<std::size_t>(fast + slow));
  std::vector<Unframer> frames(watchers.size());
  const int poll = epoll_create1(0);
  for (std::size_t i = 0; i < watchers.size(); ++i) {
    Watcher& watcher = watchers[i];
    watcher.slow = i >= static_cast<std::size_t>(fast);
    watcher.fd = Connect(port, watcher.slow ? 16 << 10 : 0);
    if (gzip) {
      watcher.inflater = std::make_unique<z_stream>();
      inflateInit2(watcher.inflater.get(), 15 + 16);
    }
    Send(watcher.fd, request);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    // Those who read slowly are looked after by the clock.
    if (!watcher.slow) epoll_ctl(poll, EPOLL_CTL_ADD, watcher.fd, &event);
  }
  const double began = Milliseconds();
  double last_slow = began;
  int open = fast;
  std::vector<epoll_event> events(256);
  while (open > 0) {
    const int ready = epoll_wait(poll, events.data(), 256, slow > 0 ? 50 : 120'000);
    if (ready == 0 && slow == 0) Fail("nothing came for two minutes");
    for (int i = 0; i < ready; ++i) {
      const std::size_t index = events[static_cast<std::size_t>(i)].data.u64;
      Watcher& watcher = watchers[index];
      Read(watcher, frames[index], buffer.size());
      if (watcher.ended == 0) continue;
      epoll_ctl(poll, EPOLL_CTL_DEL, watcher.fd, nullptr);
      --open;
    }
    const double now = Milliseconds();
    if (slow == 0 || now - last_slow < 50) continue;
    for (std::size_t i = static_cast<std::size_t>(fast); i < watchers.size(); ++i) {
      watchers[i].allowed = std::min(watchers[i].allowed + rate * (now - last_slow) / 1e3, rate);
      if (watchers[i].allowed >= 256)
        Read(watchers[i], frames[i], static_cast<std::size_t>(watchers[i].allowed));
    }
    last_slow = now;
  }
  double started = watchers[0].started;
  std::vector<double> ends;
  std::uint64_t received = 0;
  for (int i = 0; i < fast; ++i) {
    ends.push_back(watchers[static_cast<std::size_t>(i)].ended);
    received += watchers[static_cast<std::size_t>(i)].received;
  }
  std::sort(ends.begin(), ends.end());
  std::printf(
      "{\"began\": %.3f, \"started\": %.3f, \"first_end\": %.3f, \"last_end\": %.3f, \"bytes\": "
      "%llu, "
      "\"received\": %llu}\n",
      began, started, ends.front(), ends.back(), static_cast<unsigned long long>(watchers[0].bytes),
      static_cast<unsigned long long>(received));
  return 0;
}

// --- load
// -----------------------------------------------------------------------------------------

struct Requester {
  int fd = -1;
  double asked = 0;
  std::string head;  ///< until it is whole
  std::uint64_t left = 0;
  bool headed = false;
};

struct Totals {
  std::uint64_t answers = 0;
  std::uint64_t bytes = 0;
  std::map<int, std::uint64_t> by_status;
  std::vector<double> latencies;
};

/// True when the answer is whole.
bool ReadAnswer(Requester& requester, Totals& totals) {
  const ssize_t got = recv(requester.fd, buffer.data(), buffer.size(), MSG_DONTWAIT);
  if (got < 0 && errno == EAGAIN) return false;
  if (got <= 0) Fail("a connection was closed");
  totals.bytes += static_cast<std::uint64_t>(got);
  auto count = static_cast<std::uint64_t>(got);
  if (!requester.headed) {
    requester.head.append(buffer.data(), static_cast<std::size_t>(got));
    const std::size_t end = requester.head.find("\r\n\r\n");
    if (end == std::string::npos) return false;
    requester.headed = true;
    const std::string head = requester.head.substr(0, end + 4);
    const int status = std::atoi(head.c_str() + 9);
    ++totals.by_status[status];
    const std::size_t length = head.find("Content-Length: ");
    if (length == std::string::npos && status != 304) Fail("an answer has no length:\n" + head);
    requester.left = length == std::string::npos || status == 304
                         ? 0
                         : std::strtoull(head.c_str() + length + 16, nullptr, 10);
    count = requester.head.size() - end - 4;
    requester.head.clear();
  }
  if (count > requester.left) Fail("an answer is longer than it says");
  requester.left -= count;
  return requester.left == 0;
}

int Load(int count, char** arguments) {
  const int port = std::atoi(arguments[0]);
  std::string request = std::string("GET ") + arguments[2] +
                        " HTTP/1.1\r\nHost: bench\r\nAuthorization: " + arguments[1] + "\r\n";
  for (int i = 5; i < count; ++i)
    request += std::string(arguments[i]) + "\r\n";
  request += "\r\n";
  std::vector<Requester> requesters(static_cast<std::size_t>(std::atoi(arguments[3])));
  const int poll = epoll_create1(0);
  Totals totals;
  for (std::size_t i = 0; i < requesters.size(); ++i) {
    requesters[i].fd = Connect(port, 0);
    epoll_event event{};
    event.events = EPOLLIN;
    event.data.u64 = i;
    epoll_ctl(poll, EPOLL_CTL_ADD, requesters[i].fd, &event);
    requesters[i].asked = Milliseconds();
    Send(requesters[i].fd, request);
  }
  const double began = Milliseconds();
  const double until = began + std::atof(arguments[4]) * 1e3;
  std::vector<epoll_event> events(64);
  double now = began;
  while (now < until) {
    const int ready = epoll_wait(poll, events.data(), 64, 30'000);
    if (ready <= 0) Fail("no answer for 30 s");
    for (int i = 0; i < ready; ++i) {
      Requester& requester = requesters[events[static_cast<std::size_t>(i)].data.u64];
      if (!ReadAnswer(requester, totals)) continue;
      now = Milliseconds();
      ++totals.answers;
      totals.latencies.push_back(now - requester.asked);
      requester.headed = false;
      requester.asked = now;
      Send(requester.fd, request);
    }
    now = Milliseconds();
  }
  std::sort(totals.latencies.begin(), totals.latencies.end());
  const auto at = [&](double share) {
    return totals.latencies[static_cast<std::size_t>(
        share * static_cast<double>(totals.latencies.size() - 1))];
  };
  std::printf(
      "{\"answers\": %llu, \"seconds\": %.3f, \"p50\": %.3f, \"p99\": %.3f, \"bytes\": %llu, "
      "\"status\": {",
      static_cast<unsigned long long>(totals.answers), (now - began) / 1e3, at(0.5), at(0.99),
      static_cast<unsigned long long>(totals.bytes));
  const char* comma = "";
  for (const auto& [status, times] : totals.by_status) {
    std::printf("%s\"%d\": %llu", comma, status, static_cast<unsigned long long>(times));
    comma = ", ";
  }
  std::printf("}}\n");
  return 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::string_view mode = count > 1 ? arguments[1] : "";
  if (mode == "watch" && count == 9) return Watch(arguments + 2);
  if (mode == "load" && count >= 7) return Load(count - 2, arguments + 2);
  std::fprintf(stderr, "usage: client watch|load ... (see the source)\n");
  return 2;
}
