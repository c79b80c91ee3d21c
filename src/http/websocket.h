#pragma once

#include <memory>
#include <string>

#include "async/timers.h"
#include "http/message.h"

/// Internal to the module: WebSocket (RFC 6455, no extensions) over a taken connection.
namespace pinion::http {

enum class WebSocketSide { kServer, kClient };

/// The connection after the handshake.
std::unique_ptr<WebSocket> MakeWebSocket(std::unique_ptr<Stream> stream, WebSocketSide side,
                                         std::size_t message_bytes_max, Timers& timers);

/// What a server answers to an upgrade: 101, or a refusal with the reason as its body.
Response WebSocketAnswer(const Headers& request);

/// Adds a client's headers of the handshake and returns the key that the answer must match.
std::string AddWebSocketRequest(Headers& headers);
bool IsWebSocketAnswer(const Response& head, const std::string& key);

}  // namespace pinion::http
