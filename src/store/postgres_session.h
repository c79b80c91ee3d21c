#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "store/database.h"

struct pg_conn;
struct pg_result;

namespace pinion::store {

struct ClearPostgresResult {
  void operator()(pg_result* result) const;
};
using PostgresResult = std::unique_ptr<pg_result, ClearPostgresResult>;

/// A descriptor that wakes a poll, from any thread.
class WakeDescriptor {
 public:
  WakeDescriptor();
  WakeDescriptor(const WakeDescriptor&) = delete;
  WakeDescriptor& operator=(const WakeDescriptor&) = delete;
  ~WakeDescriptor();
  void Wake() const;
  void Clear() const;
  int fd() const { return fd_; }

 private:
  int fd_;
};

/// A connection to PostgreSQL as such: connecting, sending, waiting with a deadline and a stop. One
/// thread at a time. Functions that end with Send… put a command on the wire; Receive() waits for
/// it.
class PostgresSession {
 public:
  PostgresSession(const DatabaseOptions& options, const Clock& clock, std::string application);
  ~PostgresSession();

  bool connected() const { return connection_ != nullptr; }
  pg_conn* handle() const { return connection_.get(); }
  /// Connects, trying again while the server cannot be reached, for options.connect_timeout at
  /// most. Throws Failure (kUnavailable; kInvalid for a wrong connection string) or Cancelled.
  void Connect(const std::stop_token& stop);
  /// Closes; the next use connects anew.
  void Drop();

  /// Waits for what was sent. The first error result if there was one, else the last result;
  /// nothing if the connection was lost (it is dropped then). On stop the statement is cancelled at
  /// the server, the connection dropped, and Cancelled thrown. Past `limit` and a grace the server
  /// counts as lost.
  PostgresResult Receive(Duration limit, const std::stop_token& stop);
  /// A command without parameters and rows; false if the connection was lost. Throws on an error.
  bool Simple(const std::string& sql, const std::stop_token& stop = {});
  /// What libpq said when the connection was lost.
  const std::string& lost_reason() const { return lost_reason_; }

 private:
  struct CloseConnection {
    void operator()(pg_conn* connection) const;
  };

  bool TryConnect(std::string& error);
  void Configure();
  void Lose();
  void CancelAtServer();

  const DatabaseOptions& options_;
  const Clock& clock_;
  const std::string application_;
  WakeDescriptor wake_;
  std::unique_ptr<pg_conn, CloseConnection> connection_;
  std::string lost_reason_;
};

/// Throws kInvalid unless it is a connection string or URI; the message does not repeat it, as it
/// may hold a password.
void CheckConnectionString(const std::string& url);

}  // namespace pinion::store
