#pragma once

#include "api/route.h"
#include "api/session.h"

namespace pinion::api {

/// Answers requests: finds the route, checks who asks, runs the handler, turns errors into answers.
/// On the loop's thread; must outlive the HTTP server that calls it.
class Api {
 public:
  explicit Api(Services& services);

  /// Reads the signing key. Await it before the first request.
  Task<void> Start();
  /// One request; give it to http::Server as its handler.
  Task<void> Handle(http::Exchange& exchange);
  http::Handler handler();
  Session& session() { return session_; }

 private:
  Task<Answer> Run(Call& call);

  Services& services_;
  Session session_;
  http::Router router_;
};

/// The headers that every answer has; handlers that answer through the exchange themselves add them
/// to their head with this.
void AddCommonHeaders(const Services& services, std::string_view request_id,
                      http::Response& response);

/// Starts a streamed answer with the common headers. `content_type` may be empty.
http::Response StreamHead(const Call& call, int status, std::string_view content_type);

}  // namespace pinion::api
