// The event stream as the client decodes it: server-sent events, plain or gzip, then each event.
#include <sstream>

#include "async/loop.h"
#include "cli/render_events.h"
#include "fuzz/target.h"
#include "fuzz/wire.h"
#include "http/compression.h"
#include "http/event_stream.h"

using namespace pinion;
using fuzz::Require;

namespace {

struct Outcome {
  std::vector<http::ServerSentEvent> events;
  std::string error;
};

Task<void> Collect(http::BodyReader& body, bool gzip, std::vector<http::ServerSentEvent>& events) {
  http::EventStreamReader reader(body, gzip);
  while (auto event = co_await reader.Next({}))
    events.push_back(std::move(*event));
}

Outcome Decode(std::string_view text, bool gzip, std::uint32_t seed) {
  static Loop loop("fuzz");
  Outcome outcome;
  fuzz::Pieces body(text, seed);
  try {
    loop.RunUntilDone(Collect(body, gzip, outcome.events));
  } catch (const Failure& failure) {
    outcome.error = failure.what();
  }
  return outcome;
}

bool Same(const http::ServerSentEvent& a, const http::ServerSentEvent& b) {
  return a.id == b.id && a.event == b.event && a.data == b.data;
}

/// The same events and the same end. What comes right before damage may be lost with it.
void RequireSame(const Outcome& a, const Outcome& b, std::string_view what) {
  Require(a.error == b.error, what, a.error + " / " + b.error);
  const std::size_t count = a.error.empty() ? std::max(a.events.size(), b.events.size())
                                            : std::min(a.events.size(), b.events.size());
  Require(count <= a.events.size() && count <= b.events.size() &&
              std::equal(a.events.begin(), a.events.begin() + static_cast<std::ptrdiff_t>(count),
                         b.events.begin(), Same),
          what);
}

/// Reading is the inverse of writing, for what a line can hold.
void RequireWritable(const Outcome& read) {
  std::string text;
  Outcome expected;
  for (const http::ServerSentEvent& event : read.events) {
    // A carriage return before a line feed belongs to the line's end.
    if ((event.id + event.event + event.data).find('\r') != std::string::npos) continue;
    http::AppendServerSentEvent(text, event);
    expected.events.push_back(event);
    // An empty line of data at its start is not told from no data.
    std::string& data = expected.events.back().data;
    data.erase(0, std::min(data.find_first_not_of('\n'), data.size()));
  }
  RequireSame(Decode(text, false, 0), expected, "what was written is read differently");
}

void Render(const Outcome& decoded, bool timestamps, bool ignore_unknown) {
  std::ostringstream out;
  cli::EventRenderer renderer(out, true,
                              {.timestamps = timestamps, .ignore_unknown = ignore_unknown});
  for (const http::ServerSentEvent& event : decoded.events) {
    if (renderer.Render(event.data)) break;
  }
  Require(renderer.exit_status() == 0 || !decoded.events.empty(), "a status from nothing");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const unsigned choice = input.Choice(16);
  const std::uint32_t seed = input.Choice(255) + 1;
  const std::string_view text = input.Rest();
  const bool gzip = (choice & 1U) != 0;
  const Outcome whole = Decode(text, gzip, 0);
  RequireSame(Decode(text, gzip, seed), whole, "cut into other pieces, it decodes differently");
  RequireWritable(whole);
  Render(whole, (choice & 2U) != 0, (choice & 4U) != 0);
  if (!gzip) {
    std::string packed;
    http::GzipWriter writer;
    writer.Flush(text.substr(0, size / 2), packed);
    writer.Append(text.substr(std::min(size / 2, text.size())), packed);
    writer.Finish(packed);
    RequireSame(Decode(packed, true, seed), whole, "compressed, it decodes differently");
    if (http::AcceptsGzip(text)) Require(text.size() >= 1, "nothing accepts gzip");
  }
  return 0;
}
