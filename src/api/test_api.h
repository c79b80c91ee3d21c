#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <string>

#include "api/server.h"
#include "async/loop.h"
#include "async/thread_pool.h"
#include "base/files.h"
#include "events/log_store.h"
#include "http/client.h"
#include "http/server.h"
#include "store/testing.h"

namespace pinion::api {

/// For tests: the whole API on a port of its own over a real database, with the local users test
/// (owner of main), member, operator, viewer (of main, by those roles) and other (owner of team
/// "other"). Passwords are the names.
class ApiTest : public store::testing::DatabaseTest {
 protected:
  void SetUp() override;
  void TearDown() override;

  /// Runs on the server's loop until done.
  template <class T>
  T Run(Task<T> task) {
    return loop_.RunUntilDone(std::move(task));
  }

  /// One request; `user` "" for nobody.
  http::Response Send(const std::string& method, const std::string& target,
                      const std::string& user = "", const std::string& body = "",
                      http::Headers headers = {});
  /// The answer's body as JSON; fails the test for another status.
  Json Ask(int status, const std::string& method, const std::string& target,
           const std::string& user = "", const std::string& body = "");
  /// Sets a pipeline of main as its owner.
  http::Response SetPipeline(const std::string& name, const std::string& yaml,
                             const std::string& team = "main", const std::string& user = "test");
  std::string TokenOf(const std::string& user);
  std::string Url() const { return "http://127.0.0.1:" + std::to_string(server_->port()); }

  /// Runs a shell command beside the server; its output, and its exit status in `status`.
  std::string Shell(const std::string& command, int& status);
  /// Upstream's fly, "" if it is not on this machine.
  static std::string Fly();

  virtual void Wire(Services&) {}
  virtual void Adjust(ApiSettings&) {}

  Loop loop_{"test"};
  std::unique_ptr<Timers> timers_;
  identity::LocalUsers users_;
  std::unique_ptr<events::LogStore> logs_;
  std::unique_ptr<Services> services_;
  std::unique_ptr<Api> api_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<http::Client> client_;
  std::map<std::string, std::string> tokens_;
  TemporaryFolder folder_;
  ThreadPool shell_{"shell", 1, 4};
};

}  // namespace pinion::api
