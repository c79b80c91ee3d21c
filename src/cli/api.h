#pragma once

#include <memory>
#include <string>

#include "async/loop.h"
#include "async/timers.h"
#include "cli/context.h"
#include "cli/flyrc.h"
#include "cli/refs.h"
#include "http/client.h"

namespace pinion::cli {

/// One request. The body is JSON unless `content_type` says otherwise.
struct Call {
  std::string method = "GET";
  std::string path;
  QueryItems query;
  std::optional<std::string> body;
  std::string content_type = "application/json";
  std::optional<std::string> config_version;  ///< X-Concourse-Config-Version
  std::string authorization;                  ///< in place of the token
  std::string cookie;
};

/// How to reach a server.
struct Connection {
  std::string url;  ///< with its path, if the server is not at the host's root
  std::optional<Token> token;
  std::string ca_certificates;  ///< PEM
  std::string client_cert_path;
  std::string client_key_path;
  bool insecure = false;
};

/// The server's API, one call at a time, on the calling thread. Failures to connect throw
/// Unreachable.
class Api {
 public:
  Api(Context& context, Connection connection);
  ~Api();

  /// The server's URL without a slash at its end.
  const std::string& url() const { return url_; }
  const std::optional<Token>& token() const { return connection_.token; }
  const Connection& connection() const { return connection_; }

  /// Any answer.
  http::Response Send(const Call& call);
  /// Answers of success; others throw NotFoundAnswer, NotAuthorized, CommandError (403) or
  /// UnexpectedAnswer.
  http::Response Ask(const Call& call);
  /// The answer's body; null if it is empty.
  Json AskJson(const Call& call);
  /// False when the answer is 404.
  bool Found(const Call& call);

  /// The request as it is sent, with the token.
  http::Request MakeRequest(const Call& call) const;
  /// Throws what Ask() throws for an answer that is no success.
  static void Check(const http::Response& response);

  /// For what streams: runs the task on the calling thread.
  template <class T>
  T Run(Task<T> task) {
    return loop_.RunUntilDone(std::move(task));
  }
  http::Client& client() { return *client_; }
  Loop& loop() { return loop_; }
  Timers& timers() { return *timers_; }

 private:
  Context& context_;
  Connection connection_;
  std::string url_;
  std::string prefix_;  // path of the URL
  Loop loop_{"client"};
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<http::Client> client_;
};

/// The file's text, empty for an empty path. CommandError if it cannot be read.
std::string ReadPemFile(const std::string& path);

/// "404 Not Found".
std::string StatusText(int status);

}  // namespace pinion::cli
