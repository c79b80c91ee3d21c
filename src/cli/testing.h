#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <mutex>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "async/loop.h"
#include "base/files.h"
#include "cli/command.h"
#include "http/server.h"

/// For the module's tests: a server with canned answers, and the client against it.
namespace pinion::cli {

struct Canned {
  int status = 200;
  std::string body;
  std::string type = "application/json";
  std::map<std::string, std::string> headers;
};

/// Answers "METHOD /path" (with the query, or without it) on a thread of its own; 404 for the rest.
class CannedServer {
 public:
  explicit CannedServer(std::map<std::string, Canned> answers);
  CannedServer(const CannedServer&) = delete;
  CannedServer& operator=(const CannedServer&) = delete;
  ~CannedServer();

  std::string url() const { return "http://127.0.0.1:" + std::to_string(port_); }
  void Set(const std::string& request, Canned answer);
  /// "METHOD /path?query" of everything that came since the last call, then "BODY" if there was
  /// one.
  std::vector<std::string> TakeRequests();
  /// Authorization headers that came, without repetitions.
  std::vector<std::string> Tokens();

 private:
  Task<void> Answer(http::Exchange& exchange);
  Task<void> Talk(http::Exchange& exchange);

  std::mutex mutex_;
  std::map<std::string, Canned> answers_;
  std::vector<std::string> requests_;
  std::vector<std::string> tokens_;
  SystemClock clock_;
  Loop loop_{"canned"};
  std::unique_ptr<Timers> timers_;
  std::unique_ptr<http::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

/// What a command line did.
struct Ran {
  int status = 0;
  std::string out;
  std::string err;
};

/// A home folder with one target, "x", whose server is `url`; runs command lines in this process.
class Client {
 public:
  explicit Client(const std::string& url);
  Ran Run(const std::vector<std::string>& words, const std::string& input = "");
  std::filesystem::path home() const { return home_.path(); }
  std::string FlyRcText() const;
  /// As if the output were a terminal with colours.
  bool terminal = false;
  std::map<std::string, std::string> environment;

 private:
  TemporaryFolder home_{"pinion-client"};
};

/// Answers of a server with one team, a few pipelines, jobs, builds and so on.
std::map<std::string, Canned> SampleAnswers();
/// A build's event stream that prints, fails with exit status 7 and ends.
std::string SampleEvents();

/// Without the escape codes of colours.
std::string WithoutColours(const std::string& text);

}  // namespace pinion::cli
