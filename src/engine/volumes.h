#pragma once

#include <string>
#include <vector>

#include "engine/container.h"
#include "store/volumes.h"

/// The volumes behind a step's container. Handles are derived from the container's, so that making
/// them twice is finding them.
namespace pinion::engine {

/// The worker for the container: where it is already, else one that fits, preferably with the
/// inputs. While none fits, waiting-for-worker is announced and the call waits.
Task<std::shared_ptr<fleet::Placement>> ChooseWorker(BuildRun& run, const ContainerRequest& request,
                                                     const std::string& handle,
                                                     std::stop_token stop);

/// Rows of all volumes that the container will have; fills container.volumes.
std::vector<store::VolumeRow> PlanVolumes(BuildRun& run, const ContainerRequest& request,
                                          Container& container);

struct Rootfs {
  std::string uri;
  std::vector<std::string> env;
  std::string user;
  std::string image;  ///< volume of the image artifact, on the container's worker
};
/// A copy-on-write volume of the image; base types are imported once per worker.
Task<Rootfs> MakeRootfs(BuildRun& run, const ContainerRequest& request, const Container& container,
                        std::stop_token stop);

/// Inputs (copies on write, streamed over from other workers if need be), outputs, caches and
/// scratch.
Task<std::vector<protocol::garden::BindMount>> MakeVolumes(BuildRun& run,
                                                           const ContainerRequest& request,
                                                           const Container& container,
                                                           std::stop_token stop);

/// Handle of the worker's cache of that key; empty if it has none.
Task<std::string> FindTaskCache(BuildRun& run, std::string key, std::string worker);
/// What the task left in its cache folders becomes the worker's caches.
void KeepTaskCaches(store::Transaction& transaction, const ContainerRequest& request,
                    const Container& container);

}  // namespace pinion::engine
