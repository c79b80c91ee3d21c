#include "store/postgres_session.h"

#include <libpq-fe.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace pinion::store {

namespace {

using std::chrono::milliseconds;

// What the server may take longer than its own time-outs say, before it counts as lost.
constexpr Duration kGrace = std::chrono::seconds(10);
constexpr Duration kReconnectPause = milliseconds(200);

struct Parameters {
  std::vector<const char*> names;
  std::vector<const char*> values;
  void Add(const char* name, const char* value) {
    names.push_back(name);
    values.push_back(value);
  }
};

int Milliseconds(Duration duration) {
  const auto count = std::chrono::ceil<milliseconds>(duration).count();
  return static_cast<int>(std::clamp<std::int64_t>(count, 0, 60'000));
}

}  // namespace

void ClearPostgresResult::operator()(pg_result* result) const {
  PQclear(result);
}

WakeDescriptor::WakeDescriptor() : fd_(::eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
  if (fd_ < 0) throw Failure(SystemError("eventfd", errno));
}
WakeDescriptor::~WakeDescriptor() {
  ::close(fd_);
}
void WakeDescriptor::Wake() const {
  const std::uint64_t one = 1;
  [[maybe_unused]] const ssize_t written = ::write(fd_, &one, sizeof one);
}
void WakeDescriptor::Clear() const {
  std::uint64_t count = 0;
  [[maybe_unused]] const ssize_t got = ::read(fd_, &count, sizeof count);
}

void CheckConnectionString(const std::string& url) {
  char* message = nullptr;
  PQconninfoOption* parsed = PQconninfoParse(url.c_str(), &message);
  if (message) PQfreemem(message);
  if (!parsed) {
    throw Failure(ErrorKind::kInvalid,
                  "the database's address is neither sqlite:/path/to/file nor a PostgreSQL "
                  "connection string (postgres://user:password@host:port/database; special "
                  "characters of the password percent-encoded)");
  }
  PQconninfoFree(parsed);
}

void PostgresSession::CloseConnection::operator()(pg_conn* connection) const {
  PQfinish(connection);
}

PostgresSession::PostgresSession(const DatabaseOptions& options, const Clock& clock,
                                 std::string application)
    : options_(options), clock_(clock), application_(std::move(application)) {}

PostgresSession::~PostgresSession() = default;

void PostgresSession::Drop() {
  connection_.reset();
}

void PostgresSession::Lose() {
  lost_reason_ = connection_ ? std::string(Trim(PQerrorMessage(connection_.get()))) : "";
  if (lost_reason_.empty()) lost_reason_ = "the server does not answer";
  Drop();
}

bool PostgresSession::TryConnect(std::string& error) {
  const auto seconds = std::chrono::ceil<std::chrono::seconds>(options_.connect_timeout).count();
  const std::string timeout = std::to_string(std::max<std::int64_t>(seconds, 2));
  // What the connection string says comes later and wins.
  Parameters parameters;
  parameters.Add("connect_timeout", timeout.c_str());
  parameters.Add("keepalives_idle", "10");
  parameters.Add("keepalives_interval", "5");
  parameters.Add("keepalives_count", "3");
  parameters.Add("tcp_user_timeout", "20000");
  parameters.Add("fallback_application_name", application_.c_str());
  parameters.Add("dbname", options_.url.c_str());
  parameters.Add("client_encoding", "UTF8");
  parameters.Add(nullptr, nullptr);
  connection_.reset(PQconnectdbParams(parameters.names.data(), parameters.values.data(), 1));
  if (!connection_) throw std::bad_alloc();
  if (PQstatus(connection_.get()) == CONNECTION_OK) return true;
  error = std::string(Trim(PQerrorMessage(connection_.get())));
  Drop();
  // The server answers but does not take us: waiting does not help.
  const PGPing ping = PQpingParams(parameters.names.data(), parameters.values.data(), 1);
  if (ping == PQPING_OK || ping == PQPING_NO_ATTEMPT) {
    throw Failure(ErrorKind::kUnavailable, "connect to PostgreSQL: " + error);
  }
  return false;
}

void PostgresSession::Configure() {
  PQsetNoticeProcessor(connection_.get(), [](void*, const char*) {}, nullptr);
  const auto setting = [](const char* name, Duration value) {
    const auto count = std::chrono::ceil<milliseconds>(value).count();
    return "set " + std::string(name) + " = " + std::to_string(count) + "; ";
  };
  const std::string sql = setting("statement_timeout", options_.statement_timeout) +
                          setting("lock_timeout", options_.lock_timeout) +
                          setting("idle_in_transaction_session_timeout",
                                  options_.statement_timeout + options_.lock_timeout) +
                          "set standard_conforming_strings = on; set bytea_output = 'hex'";
  if (!Simple(sql)) {
    throw Failure(ErrorKind::kUnavailable, "connect to PostgreSQL: " + lost_reason_);
  }
}

void PostgresSession::Connect(const std::stop_token& stop) {
  const SteadyTime deadline = clock_.Steady() + options_.connect_timeout;
  const std::stop_callback on_stop(stop, [this] { wake_.Wake(); });
  for (;;) {
    ThrowIfStopped(stop);
    std::string error;
    if (TryConnect(error)) break;
    if (clock_.Steady() + kReconnectPause >= deadline) {
      throw Failure(ErrorKind::kUnavailable, "connect to PostgreSQL: " + error);
    }
    pollfd waits{wake_.fd(), POLLIN, 0};
    ::poll(&waits, 1, Milliseconds(kReconnectPause));
    wake_.Clear();
  }
  Configure();
}

void PostgresSession::CancelAtServer() {
  struct Free {
    void operator()(PGcancel* cancel) const { PQfreeCancel(cancel); }
  };
  const std::unique_ptr<PGcancel, Free> cancel(PQgetCancel(connection_.get()));
  std::array<char, 256> message{};
  if (cancel) PQcancel(cancel.get(), message.data(), static_cast<int>(message.size()));
}

PostgresResult PostgresSession::Receive(Duration limit, const std::stop_token& stop) {
  const SteadyTime deadline = clock_.Steady() + limit + kGrace;
  wake_.Clear();
  const std::stop_callback on_stop(stop, [this] { wake_.Wake(); });
  PostgresResult outcome;
  for (;;) {
    PGconn* connection = connection_.get();
    while (PQisBusy(connection) != 0) {
      if (stop.stop_requested()) {
        CancelAtServer();
        Drop();  // a cancel that comes late would hit the next statement
        throw Cancelled();
      }
      const SteadyTime now = clock_.Steady();
      if (now >= deadline) {
        Lose();
        return nullptr;
      }
      std::array<pollfd, 2> waits{pollfd{PQsocket(connection), POLLIN, 0},
                                  pollfd{wake_.fd(), POLLIN, 0}};
      ::poll(waits.data(), waits.size(), Milliseconds(deadline - now));
      if (waits[1].revents != 0) wake_.Clear();
      if (waits[0].revents != 0 && PQconsumeInput(connection) == 0) break;
    }
    PostgresResult next(PQgetResult(connection));
    if (!next) break;
    const bool failed =
        outcome && PQresultStatus(outcome.get()) == PGRES_FATAL_ERROR;  // the first one says why
    if (!failed) outcome = std::move(next);
  }
  if (PQstatus(connection_.get()) != CONNECTION_OK || !outcome) {
    Lose();
    return nullptr;
  }
  return outcome;
}

bool PostgresSession::Simple(const std::string& sql, const std::stop_token& stop) {
  if (PQsendQuery(connection_.get(), sql.c_str()) == 0) {
    Lose();
    return false;
  }
  const PostgresResult result = Receive(options_.statement_timeout, stop);
  if (!result) return false;
  if (PQresultStatus(result.get()) == PGRES_FATAL_ERROR) {
    throw Failure(ErrorKind::kInternal,
                  std::string(Trim(PQresultErrorMessage(result.get()))) + " (" + sql + ")");
  }
  return true;
}

}  // namespace pinion::store
