#include "http/event_stream.h"

#include <array>

#include "base/text.h"
#include "http/compression.h"

namespace pinion::http {

namespace {

constexpr std::size_t kLineBytesMax = 16 << 20;
constexpr std::size_t kChunk = 16 << 10;

/// A field of one line; text with line feeds takes a line for each.
void AppendField(std::string& out, std::string_view name, std::string_view value) {
  for (const std::string_view line : Split(value, '\n')) {
    out.append(name);
    if (!line.empty()) out.append(": ").append(line);
    out.append("\n");
  }
}

}  // namespace

void AppendServerSentEvent(std::string& out, const ServerSentEvent& event) {
  if (!event.id.empty()) AppendField(out, "id", event.id);
  if (!event.event.empty()) AppendField(out, "event", event.event);
  // Also when it is empty: browsers ignore events without a data field.
  AppendField(out, "data", event.data);
  out += "\n";
}

struct EventStreamReader::Impl {
  explicit Impl(BodyReader& from) : body(from) {}

  BodyReader& body;
  std::unique_ptr<GzipReader> gzip;
  std::string packed;  ///< of gzip, not used yet
  std::string text;
  std::size_t begin = 0;     ///< of what is not used of `text`
  std::size_t searched = 0;  ///< up to here there is no line end
  bool any = false;

  /// Puts more into `text`; false at the end.
  Task<bool> Fill(std::stop_token stop) {
    text.erase(0, begin);
    searched -= begin;
    begin = 0;
    std::array<char, kChunk> chunk;
    for (;;) {
      if (gzip && !packed.empty()) {
        std::string_view input = packed;
        const std::size_t unpacked = ValueOrThrow(gzip->Read(input, chunk));
        packed.erase(0, packed.size() - input.size());
        if (unpacked > 0) {
          text.append(chunk.data(), unpacked);
          co_return true;
        }
      }
      const std::size_t got = co_await body.Read(chunk, stop);
      if (got == 0) {
        if (gzip && any && !gzip->at_end()) {
          throw Failure(ErrorKind::kUnavailable, "the event stream was broken off");
        }
        co_return false;
      }
      any = true;
      (gzip ? packed : text).append(chunk.data(), got);
      if (!gzip) co_return true;
    }
  }

  /// The next line without its end: line feed, carriage return or both.
  Task<std::optional<std::string>> NextLine(std::stop_token stop) {
    for (;;) {
      const std::size_t end = text.find('\n', searched);
      if (end != std::string::npos) {
        std::string_view line = std::string_view(text).substr(begin, end - begin);
        if (line.ends_with('\r')) line.remove_suffix(1);
        begin = searched = end + 1;
        co_return std::string(line);
      }
      searched = text.size();
      if (text.size() - begin > kLineBytesMax) {
        throw Failure(ErrorKind::kTooLarge, "a line of the event stream is longer than 16 MiB");
      }
      const bool more = co_await Fill(stop);
      if (!more) co_return std::nullopt;
    }
  }
};

EventStreamReader::EventStreamReader(BodyReader& body, bool gzip)
    : impl_(std::make_unique<Impl>(body)) {
  if (gzip) impl_->gzip = std::make_unique<GzipReader>();
}

EventStreamReader::~EventStreamReader() = default;

Task<std::optional<ServerSentEvent>> EventStreamReader::Next(std::stop_token stop) {
  ServerSentEvent event;
  bool any = false;
  for (;;) {
    const auto line = co_await impl_->NextLine(stop);
    if (!line) co_return std::nullopt;  // an event without its blank line is not complete
    if (line->empty()) {
      if (any) co_return event;
      continue;
    }
    const std::size_t colon = std::min(line->find(':'), line->size());
    const std::string_view name = std::string_view(*line).substr(0, colon);
    std::string_view value = std::string_view(*line).substr(std::min(colon + 1, line->size()));
    if (value.starts_with(' ')) value.remove_prefix(1);
    if (name == "id") {
      event.id = value;
    } else if (name == "event") {
      event.event = value;
    } else if (name == "data") {
      if (!event.data.empty()) event.data += '\n';
      event.data += value;
    } else {
      continue;  // a comment, or what a later version knows
    }
    if (event.data.size() > kLineBytesMax) {
      throw Failure(ErrorKind::kTooLarge, "an event is larger than 16 MiB");
    }
    any = true;
  }
}

}  // namespace pinion::http
