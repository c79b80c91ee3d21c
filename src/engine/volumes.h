#pragma once

#include <string>
#include <vector>

#include "engine/container.h"
#include "engine/image_user.h"
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

/// What a container's image artifact says; empty where there is none (base types, a rootfs URI).
struct ImageView {
  std::string volume;  ///< on the container's worker
  std::vector<std::string> env;
  std::string user;              ///< whom processes run as: the request's user, or the image's
  std::optional<UserIds> owner;  ///< whom the container's volumes belong to, if not to root
};
/// Streams the image over from another worker if need be.
Task<ImageView> LookAtImage(BuildRun& run, const ContainerRequest& request,
                            const Container& container, std::stop_token stop);

/// The URI of a copy-on-write volume of the image; base types are imported once per worker.
Task<std::string> MakeRootfs(BuildRun& run, const ContainerRequest& request,
                             const Container& container, std::string image, std::stop_token stop);

/// Inputs (copies on write, streamed over from other workers if need be), outputs, caches and
/// scratch.
Task<std::vector<protocol::garden::BindMount>> MakeVolumes(BuildRun& run,
                                                           const ContainerRequest& request,
                                                           const Container& container,
                                                           std::optional<UserIds> owner,
                                                           std::stop_token stop);

/// Handle of the worker's cache of that key; empty if it has none.
Task<std::string> FindTaskCache(BuildRun& run, std::string key, std::string worker);
/// What the task left in its cache folders becomes the worker's caches.
void KeepTaskCaches(store::Transaction& transaction, const ContainerRequest& request,
                    const Container& container);

}  // namespace pinion::engine
