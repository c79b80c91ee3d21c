#include "api/handlers.h"
#include "api/server.h"
#include "http/event_stream.h"

extern "C" const char pinion_home_page_begin[];
extern "C" const char pinion_home_page_end[];

namespace pinion::api {
namespace {

/// The shortest time between two looks of one page, however much changes.
constexpr Duration kLookPause = std::chrono::milliseconds(300);
/// A comment now and then, so that a page that went away is noticed.
constexpr Duration kKeepAlive = std::chrono::seconds(60);

}  // namespace

Task<Answer> HomePage(Call&) {
  http::Response page;
  page.headers.Set("Content-Type", "text/html; charset=utf-8");
  page.body.assign(pinion_home_page_begin, pinion_home_page_end);
  co_return page;
}

Task<Answer> LookAtChanges(Call& call) {
  if (!call.services.changes) co_return NotWired("the change feed");
  const std::stop_token stop = call.exchange.stop();
  call.answered = true;
  http::BodyWriter* out =
      co_await call.exchange.Start(StreamHead(call, 200, "text/event-stream"), false);
  std::int64_t seen = call.services.changes->count();
  co_await out->Write(": listening\n\n", stop);
  for (;;) {
    Deadline deadline(call.services.timers, kKeepAlive, stop);
    bool changed = true;
    try {
      seen = co_await call.services.changes->Next(seen, deadline.token());
    } catch (const Cancelled&) {
      if (stop.stop_requested()) throw;
      changed = false;
    }
    std::string text = ": still here\n\n";
    if (changed) {
      text.clear();
      http::AppendServerSentEvent(text, {.event = "look", .data = "{}"});
    }
    co_await out->Write(text, stop);
    co_await call.services.timers.Sleep(kLookPause, stop);
  }
}

}  // namespace pinion::api
