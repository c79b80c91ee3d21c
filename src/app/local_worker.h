#pragma once

#include <memory>
#include <string>

#include "app/server_options.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "base/log.h"
#include "store/workers.h"

namespace pinion::app {

/// A worker in this process, reached like any other: through Garden and Baggageclaim, here on Unix
/// sockets in its work folder. On the loop's thread.
class LocalWorker {
 public:
  LocalWorker(Executor executor, Timers& timers, Logger log, const ServerOptions& options);
  ~LocalWorker();

  /// Takes up what a former process left, prepares the machine, serves. The error says what is
  /// missing and how to get it.
  Task<Result<void>> Start();
  /// Stops serving; containers go on.
  Task<void> Shutdown();

  /// What to register it as.
  store::WorkerRow Registration() const;

 private:
  struct Parts;

  Executor executor_;
  Timers& timers_;
  Logger log_;
  const ServerOptions& options_;
  std::vector<store::WorkerResourceType> resource_types_;
  std::unique_ptr<Parts> parts_;
};

}  // namespace pinion::app
