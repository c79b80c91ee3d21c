#include "store/postgres_listener.h"

#include <libpq-fe.h>
#include <poll.h>
#include <pthread.h>

#include <array>

namespace pinion::store {

namespace {

constexpr int kRetryMilliseconds = 1000;

}  // namespace

PostgresListener::PostgresListener(const DatabaseOptions& options, const Clock& clock, Logger log,
                                   std::shared_ptr<ChangeNotifier> notifier)
    : log_(std::move(log)),
      notifier_(std::move(notifier)),
      session_(options, clock, "pinion changes"),
      thread_([this] { Work(); }) {}

PostgresListener::~PostgresListener() {
  ending_ = true;
  if (!to_tell_) stop_.request_stop();  // else it may still connect, within its time
  wake_.Wake();
  thread_.join();
}

void PostgresListener::Tell() {
  if (!to_tell_.exchange(true)) wake_.Wake();
}

void PostgresListener::Work() {
  pthread_setname_np(pthread_self(), "sql-changes");
  while (!ending_) {
    try {
      Serve();
    } catch (const Cancelled&) {
      return;
    } catch (const std::exception& error) {
      log_.Warn("the change feed's connection failed; connecting again", {{"error", error.what()}});
    }
    if (ending_) return;
    pollfd waits{wake_.fd(), POLLIN, 0};
    ::poll(&waits, 1, kRetryMilliseconds);
    wake_.Clear();
  }
}

bool PostgresListener::SendNotify() {
  if (!to_tell_.exchange(false)) return true;
  // NOTIFY writes a commit record; nobody needs it on disk.
  if (session_.Simple("begin; set local synchronous_commit = off; notify pinion_changes; commit")) {
    return true;
  }
  to_tell_ = true;
  return false;
}

void PostgresListener::Serve() {
  session_.Connect(stop_.get_token());
  if (!session_.Simple("listen pinion_changes")) return;
  notifier_->Notify();  // whatever was said while nobody listened
  for (;;) {
    if (!SendNotify()) return;
    if (ending_) return;
    PGconn* handle = session_.handle();
    bool told = false;
    while (PGnotify* notification = PQnotifies(handle)) {
      told = told || notification->be_pid != PQbackendPID(handle);
      PQfreemem(notification);
    }
    if (told) notifier_->Notify();
    std::array<pollfd, 2> waits{pollfd{PQsocket(handle), POLLIN, 0}, pollfd{wake_.fd(), POLLIN, 0}};
    ::poll(waits.data(), waits.size(), -1);
    if (waits[1].revents != 0) wake_.Clear();
    if (waits[0].revents != 0 && PQconsumeInput(handle) == 0) {
      session_.Drop();
      log_.Info("the change feed's connection was lost; connecting again");
      return;
    }
  }
}

}  // namespace pinion::store
