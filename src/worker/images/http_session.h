#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/error.h"

namespace pinion::registry {

struct HttpOptions {
  std::vector<std::string> ca_certificates;  ///< PEM, beside the system's
  bool insecure = false;                     ///< certificates are not checked
  Duration connect_timeout = std::chrono::seconds(15);
  /// A transfer that brings nothing for so long is broken off.
  Duration stall_timeout = std::chrono::seconds(60);
};

struct HttpRequest {
  std::string method = "GET";
  std::string url;
  std::vector<std::string>
      headers;  ///< "Name: value"; Authorization does not follow to other hosts
  std::string body;
  /// Streams the body instead: fills the buffer, returns how much, 0 at the end.
  std::function<std::size_t(char* buffer, std::size_t size)> upload;
  std::int64_t upload_bytes = -1;
  bool follow_redirects = true;
  std::size_t body_bytes_max = 1 << 20;  ///< of an answer that is not streamed
};

struct HttpAnswer {
  int status = 0;                              ///< 0: there was no answer, see `error`
  std::map<std::string, std::string> headers;  ///< lower-case names, of the last answer
  std::string body;                            ///< when it was not streamed
  std::string url;                             ///< after redirects
  std::string error;                           ///< why there is no whole answer; empty if there is
  std::string_view Header(const std::string& name) const;
};

/// Blocking HTTP and HTTPS calls by libcurl, one at a time, over kept connections. Not for several
/// threads at once.
class HttpSession {
 public:
  explicit HttpSession(const HttpOptions& options);
  ~HttpSession();
  HttpSession(const HttpSession&) = delete;

  /// Decides at the head of an answer whether its body goes to `sink` (true) or is collected.
  using OnHead = std::function<bool(const HttpAnswer& head)>;
  using Sink = std::function<void(std::string_view bytes)>;

  /// Failures of the network are in the answer's `error`; exceptions of the callbacks come through.
  /// Cancelled within a second of the stop.
  HttpAnswer Perform(const HttpRequest& request, const std::stop_token& stop, OnHead on_head = {},
                     Sink sink = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pinion::registry
