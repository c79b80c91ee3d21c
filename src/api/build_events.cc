#include "api/handlers.h"
#include "api/server.h"
#include "api/session.h"
#include "base/text.h"
#include "events/log_store.h"
#include "http/event_stream.h"
#include "store/database.h"

namespace pinion::api {

namespace {

/// How long a silent stream waits before it asks again whether the build has ended meanwhile: one
/// that was aborted before it started has no log that could say so.
constexpr Duration kRecheck = std::chrono::seconds(60);

/// A build may have ended while its watchers still have to catch up: looked at anew after so much.
constexpr std::size_t kLookEvery = 32 << 20;

Task<bool> IsRunning(Call& call) {
  auto work = [id = call.build.id](store::Transaction& t) {
    const auto build = store::FindBuild(t, id);
    return build && !store::IsFinished(build->status);
  };
  return call.database().Read(store::Pool::kApi, work);
}

/// The events from `next` on, until the log's end. False if the wait for more took too long.
Task<bool> Stream(Call& call, events::BuildLogReader& reader, http::BodyWriter& out,
                  std::uint64_t& next, bool running) {
  Timers& timers = call.services.timers;
  const std::stop_token stop = call.exchange.stop();
  std::size_t since_look = 0;
  while (true) {
    Deadline deadline(timers, kRecheck, stop);
    events::EventText events;
    bool late = false;
    try {
      events = co_await reader.NextText(deadline.token());
    } catch (const Cancelled&) {
      if (!deadline.expired() || stop.stop_requested()) throw;
      late = true;
    }
    if (late) co_return false;
    if (events.end) {
      std::string text;
      http::AppendServerSentEvent(text, {.id = std::to_string(next), .event = "end"});
      co_await out.Write(text, stop);
      co_return true;
    }
    if (running && !events.text.empty()) {
      co_await call.session.watch_budget().Take(events.text.size(), stop);
      since_look += events.text.size();
      if (since_look >= kLookEvery) {
        since_look = 0;
        running = co_await IsRunning(call);
      }
    }
    if (!events.text.empty()) co_await out.Write(events.text, stop);
    next = events.next_event;
  }
}

}  // namespace

Task<Answer> BuildEvents(Call& call) {
  if (!call.services.logs) co_return NotWired("the log store");
  std::uint64_t next = 0;
  if (const auto last = call.exchange.request().headers.Get("Last-Event-ID"); !last.empty()) {
    const auto id = ParseNumber(last);
    if (!id || *id < 0) co_return TextAnswer(400, "malformed Last-Event-ID");
    next = static_cast<std::uint64_t>(*id) + 1;
  }
  http::Response head = StreamHead(call, 200, "text/event-stream; charset=utf-8");
  head.headers.Set("Cache-Control", "no-cache, no-store, must-revalidate");
  head.headers.Set("X-Accel-Buffering", "no");
  head.headers.Set("X-ATC-Stream-Version", "2.0");

  const std::stop_token stop = call.exchange.stop();
  bool running = !store::IsFinished(call.build.status);
  auto reader = co_await call.services.logs->OpenReader(call.build.id, next, running);
  call.answered = true;
  http::BodyWriter* out = co_await call.exchange.Start(std::move(head), true);
  while (true) {
    const bool ended = co_await Stream(call, *reader, *out, next, running);
    if (ended) break;
    const bool still_running = co_await IsRunning(call);
    if (running && !still_running) {
      running = false;
      reader = co_await call.services.logs->OpenReader(call.build.id, next, false);
    }
  }
  // Browsers connect again when the stream is closed: it stays open until the client leaves.
  co_await SuspendUntilStop<bool>(stop, [](Waker<bool>) {});
  co_return std::nullopt;
}

}  // namespace pinion::api
