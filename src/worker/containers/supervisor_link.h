#pragma once

#include <filesystem>
#include <optional>

#include "linux/readiness.h"
#include "worker/supervisor/protocol.h"

namespace pinion::worker {

/// A message and the descriptor that came with it.
struct SupervisorMessage {
  PinionMessage message{};
  linux::UniqueFd descriptor;
};

/// The worker's connection to a container's supervisor. On one loop's thread.
class SupervisorLink {
 public:
  SupervisorLink(Executor executor, linux::UniqueFd socket)
      : socket_(std::move(executor), std::move(socket)) {}

  /// Connects to the supervisor that listens in that container's folder. Blocks shortly; any
  /// thread.
  static Result<linux::UniqueFd> Connect(const std::filesystem::path& folder);

  /// Hands a supervisor its first message with a descriptor. Blocks at most shortly; any thread.
  static Result<void> SendWithFd(int socket, const PinionMessage& message, int descriptor);

  /// The next message; nothing when the supervisor is gone.
  Task<std::optional<SupervisorMessage>> Receive(std::stop_token stop);
  /// False if the supervisor is gone.
  Task<bool> Send(PinionMessage message, std::stop_token stop);
  /// Sends if there is room now; for messages that a later one replaces.
  void TrySend(const PinionMessage& message);
  void Close() { socket_.Close(); }

 private:
  /// 1 sent, 0 no room, -1 gone.
  int SendNow(const PinionMessage& message);
  linux::WatchedFd socket_;
};

}  // namespace pinion::worker
