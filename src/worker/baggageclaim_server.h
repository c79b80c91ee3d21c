#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>

#include "async/signal.h"
#include "async/task_group.h"
#include "async/timers.h"
#include "base/log.h"
#include "http/router.h"
#include "http/server.h"
#include "worker/volumes/volume_store.h"

namespace pinion::worker {

/// Answers the Baggageclaim API of a worker from its volume store. Beside upstream's routes and
/// shapes: GET /volumes-async/:handle waits up to a second for the end before it says "still
/// working" (204, with the header X-Pinion-Progress: DONE/TOTAL), creating an existing handle is
/// success, and GET /capabilities lists the strategies ("registry_image" true when images are
/// pulled here). Streaming between workers (p2p) is not configured: 500.
///
/// One loop's thread; the store outlives it.
class BaggageclaimServer {
 public:
  BaggageclaimServer(Executor executor, Timers& timers, Logger log, VolumeStore& store);
  ~BaggageclaimServer();

  /// For http::Server.
  Task<void> Handle(http::Exchange& exchange);
  /// Cancels creations that go on and waits for them. Call it after the HTTP server's shutdown.
  Task<void> Shutdown();

 private:
  struct Creation;
  struct Call;
  using Method = Task<void> (BaggageclaimServer::*)(Call call);
  struct Route {
    std::string_view method;
    std::string_view path;
    Method handler;
    std::string_view failure;  ///< what the answer says first when it fails
  };
  static const std::vector<Route>& Routes();

  Task<void> ListVolumes(Call call);
  Task<void> CreateVolume(Call call);
  Task<void> CreateVolumeAsync(Call call);
  Task<void> CheckCreation(Call call);
  Task<void> WaitFor(Call call, Creation& creation);
  Task<void> CancelCreation(Call call);
  Task<void> GetVolume(Call call);
  Task<void> SetProperty(Call call);
  Task<void> GetPrivileged(Call call);
  Task<void> SetPrivileged(Call call);
  Task<void> StreamIn(Call call);
  Task<void> StreamOut(Call call);
  Task<void> StreamP2pOut(Call call);
  Task<void> DestroyVolume(Call call);
  Task<void> DestroyVolumes(Call call);
  Task<void> CleanupOrphans(Call call);
  Task<void> GetDisk(Call call);
  Task<void> GetP2pUrl(Call call);
  Task<void> GetCapabilities(Call call);

  Task<Result<protocol::baggageclaim::VolumeRequest>> ReadRequest(Call call);
  Task<void> RunCreation(std::shared_ptr<Creation> creation,
                         protocol::baggageclaim::VolumeRequest request);
  void ForgetOldCreations();

  Executor executor_;
  Timers& timers_;
  Logger log_;
  VolumeStore& store_;
  http::Router router_;
  std::map<std::string, std::shared_ptr<Creation>> creations_;
  TaskGroup tasks_;
};

}  // namespace pinion::worker
