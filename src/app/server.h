#pragma once

#include <memory>
#include <vector>

#include "app/server_options.h"
#include "async/loop.h"
#include "base/log.h"
#include "store/changes.h"

namespace pinion::app {

/// The whole server with a local worker in one process (`pinion quickstart`): makes every part and
/// hands each what it needs, starts them from the bottom up and stops them in phases.
class Server {
 public:
  Server(Loop& loop, Logger log, ServerOptions options);
  ~Server();

  /// Opens the state, takes up what a former process left, and listens. The error is one sentence
  /// for the operator.
  Task<Result<void>> Start();
  /// The port that it listens on.
  int port() const;
  /// Phases, at most 10 s in all: no new requests; let go of builds (containers go on); stop what
  /// runs by itself; give the lease back; close.
  Task<void> Shutdown();

 private:
  struct Parts;

  Task<Result<void>> Serve();
  void OnChanges(const std::vector<store::Change>& changes);
  Task<void> DropDeletedBuilds();
  void AddComponents();
  Task<void> ReloadComponents();
  void TakeUpBuilds();
  Task<void> LetGo();

  Loop& loop_;
  Logger log_;
  ServerOptions options_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pinion::app
