#pragma once

#include <memory>
#include <optional>
#include <string>

#include "http/message.h"

namespace pinion::http {

/// One server-sent event.
struct ServerSentEvent {
  std::string id;
  std::string event;
  std::string data;
};

/// Appends the event's text in upstream's order of fields (id, event, data, blank line).
void AppendServerSentEvent(std::string& out, const ServerSentEvent& event);

/// Reads an event stream; decompresses gzip when the response says so. Lines over 16 MiB are
/// kTooLarge.
class EventStreamReader {
 public:
  EventStreamReader(BodyReader& body, bool gzip);
  ~EventStreamReader();
  /// Nothing when the stream ends.
  Task<std::optional<ServerSentEvent>> Next(std::stop_token stop);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace pinion::http
