#include "cli/render_events.h"

#include <algorithm>
#include <array>
#include <ctime>

#include "http/event_stream.h"

namespace pinion::cli {
namespace {

struct KnownEvent {
  std::string_view name;
  int newest;  ///< major version; all before it are known too
};

/// Every kind of event that servers write or wrote.
constexpr std::array<KnownEvent, 26> kKnownEvents{{
    {"across-substeps", 1},
    {"error", 4},
    {"finish", 1},
    {"finish-get", 5},
    {"finish-put", 5},
    {"finish-task", 4},
    {"image-check", 1},
    {"image-get", 1},
    {"initialize", 1},
    {"initialize-check", 1},
    {"initialize-get", 2},
    {"initialize-put", 2},
    {"initialize-task", 4},
    {"input", 2},
    {"log", 5},
    {"output", 2},
    {"selected-worker", 1},
    {"set-pipeline-changed", 1},
    {"start", 1},
    {"start-get", 1},
    {"start-put", 1},
    {"start-task", 5},
    {"status", 1},
    {"streaming-volume", 1},
    {"waiting-for-streamed-volume", 1},
    {"waiting-for-worker", 1},
}};

std::string Argv(const Json& data) {
  const Json* config = data.Find("config");
  const Json* run = config ? config->Find("run") : nullptr;
  if (!run) return "";
  std::string text(run->StringAt("path"));
  const Json* args = run->Find("args");
  if (args && args->IsArray()) {
    for (const Json& arg : args->AsArray())
      text += " " + (arg.IsString() ? arg.AsString() : ToText(arg));
  }
  return text;
}

std::string Bold(std::string_view text) {
  return "\x1b[1m" + std::string(text) + "\x1b[0m";
}

/// The line that an event of this kind prints; empty for none.
std::string LineOf(std::string_view name, const Json& data) {
  const auto text = [&data](std::string_view member) { return std::string(data.StringAt(member)); };
  if (name == "waiting-for-worker") {
    return Bold("no suitable workers found, waiting for worker...") + "\n";
  }
  if (name == "selected-worker")
    return Bold("selected worker:") + " " + text("selected_worker") + "\n";
  if (name == "streaming-volume") {
    return Bold("streaming volume") + " " + text("volume") + " " + Bold("from worker") + " " +
           text("source_worker") + "\n";
  }
  if (name == "waiting-for-streamed-volume") {
    return Bold("waiting for volume") + " " + text("volume") + " " +
           Bold("to be streamed by another step") + "\n";
  }
  if (name == "initialize-check") return Bold("initializing check:") + " " + text("name") + "\n";
  if (name == "initialize-task") return Bold("initializing") + "\n";
  if (name == "start-task") return Bold("running " + Argv(data)) + "\n";
  return "";
}

}  // namespace

void EventRenderer::Write(std::int64_t time, std::string_view text) {
  if (!options_.timestamps) {
    out_ << text << std::flush;
    return;
  }
  std::string stamp(10, ' ');
  if (time != 0) {
    const std::time_t seconds = time;
    std::tm local{};
    ::localtime_r(&seconds, &local);
    std::array<char, 16> buffer{};
    std::strftime(buffer.data(), buffer.size(), "%H:%M:%S  ", &local);
    stamp = buffer.data();
  }
  std::string stamped;
  for (const char c : text) {
    if (line_start_) stamped += stamp;
    line_start_ = c == '\n';
    stamped += c;
  }
  out_ << stamped << std::flush;
}

void EventRenderer::Broken(const std::string& why) {
  Write(0, "failed to parse next event: " + Paint(style::kErrored, why, colours_) + "\n");
  exit_status_ = 255;
}

bool EventRenderer::RenderStatus(const Json& data) {
  const std::string_view status = data.StringAt("status");
  const std::int64_t time = data.IntegerAt("time");
  if (status == "started") return false;
  int code = 0;
  if (status == "failed") {
    code = 1;
  } else if (status == "errored") {
    code = 2;
  } else if (status == "aborted") {
    code = 3;
  } else if (status != "succeeded") {
    Write(time, "unknown status: " + std::string(status));
    exit_status_ = 255;
    return true;
  }
  Write(time, Paint(StatusStyle(status), status, colours_) + "\n");
  if (exit_status_ == 0) exit_status_ = code;
  return true;
}

bool EventRenderer::Render(const std::string& envelope) {
  const auto json = ParseJson(envelope);
  if (!json) {
    Broken(json.error().message);
    return true;
  }
  const std::string_view name = json->StringAt("event");
  const std::string version(json->StringAt("version"));
  const auto known = std::ranges::find(kKnownEvents, name, &KnownEvent::name);
  const int major = std::atoi(version.c_str());
  if (known == kKnownEvents.end() || major < 1 || major > known->newest) {
    if (options_.ignore_unknown) return false;
    Broken(known == kKnownEvents.end()
               ? "unknown event type: " + std::string(name)
               : "unknown event version: " + std::string(name) + " version " + version);
    return true;
  }
  if (major != known->newest) return false;  // forms of old servers hold nothing to print
  static const Json kNothing;
  const Json* member = json->Find("data");
  const Json& data = member ? *member : kNothing;
  if (name == "log") {
    Write(data.IntegerAt("time"), data.StringAt("payload"));
  } else if (name == "finish-task") {
    exit_status_ = static_cast<int>(data.IntegerAt("exit_status"));
  } else if (name == "error") {
    Write(0, Paint(style::kErrored, data.StringAt("message"), colours_) + "\n");
  } else if (name == "status") {
    return RenderStatus(data);
  } else if (const std::string line = LineOf(name, data); !line.empty()) {
    Write(data.IntegerAt("time"), line);
  }
  return false;
}

namespace {

enum class Outcome { kEnd, kBroken };

/// Reads one connection's events; remembers in `last_id` how far it came.
Task<Outcome> Follow(http::StreamedResponse& response, EventRenderer& renderer,
                     std::string& last_id, std::stop_token stop) {
  const bool gzip = response.headers.Get("Content-Encoding") == "gzip";
  http::EventStreamReader reader(*response.body, gzip);
  for (;;) {
    std::optional<http::ServerSentEvent> event;
    try {
      event = co_await reader.Next(stop);
    } catch (const Failure& failure) {
      if (failure.error().kind != ErrorKind::kUnavailable) {
        renderer.Broken(failure.what());
        co_return Outcome::kEnd;
      }
    }
    if (!event) co_return Outcome::kBroken;
    if (!event->id.empty()) last_id = event->id;
    if (event->event == "end") co_return Outcome::kEnd;
    if (event->event == "event") {
      if (renderer.Render(event->data)) co_return Outcome::kEnd;
    } else {
      renderer.Broken("unknown event name: " + event->event);
      co_return Outcome::kEnd;
    }
  }
}

/// How often a broken stream is connected again before it is given up, a second apart.
constexpr int kTriesMax = 120;

bool MayComeBack(int status) {
  return status == 502 || status == 503 || status == 504;
}

Task<int> Watch(Api& api, std::string path, EventRenderer& renderer, std::stop_token stop) {
  std::string last_id;
  bool connected = false;
  for (int tries = 0;; ++tries) {
    http::Request request = api.MakeRequest({.path = path});
    request.headers.Set("Accept", "text/event-stream");
    if (!last_id.empty()) request.headers.Set("Last-Event-ID", last_id);
    std::string reason;
    try {
      http::StreamedResponse response =
          co_await api.client().Open(std::move(request), nullptr, stop);
      if (response.status == 200) {
        connected = true;
        tries = 0;
        const Outcome outcome = co_await Follow(response, renderer, last_id, stop);
        if (outcome == Outcome::kEnd) co_return renderer.exit_status();
        reason = "the stream broke off";
      } else if (!MayComeBack(response.status)) {
        if (response.status == 401) throw NotAuthorized();
        if (response.status == 403) throw CommandError("forbidden");
        throw CommandError("bad response from event source: " + StatusText(response.status));
      } else {
        reason = StatusText(response.status);
      }
    } catch (const Failure& failure) {
      if (!connected) throw Unreachable(failure.what());
      reason = failure.what();
    }
    if (tries >= kTriesMax) throw Unreachable(reason);
    co_await api.timers().Sleep(std::chrono::seconds(1), stop);
  }
}

}  // namespace

int WatchBuild(Context& context, Target& target, std::int64_t build, RenderOptions options,
               std::stop_token stop) {
  EventRenderer renderer(context.out, context.colours, options);
  context.out << std::flush;
  return target.api->Run(Watch(
      *target.api, Path("/api/v1/builds/:id/events", {std::to_string(build)}), renderer, stop));
}

}  // namespace pinion::cli
