#pragma once

#include <optional>
#include <string>

#include "async/signal.h"
#include "async/thread_pool.h"
#include "base/log.h"
#include "worker/images/registry_client.h"
#include "worker/volumes/volume_store.h"

namespace pinion::worker {

/// What a volume of the strategy "registry-image" asks for.
struct ImageRequest {
  std::string repository;  ///< as the source spells it
  std::string tag;
  std::string digest;  ///< empty: whatever the tag stands for now
  registry::Platform platform;
  registry::Options options;
  std::string mirror_host;  ///< tried first, for images of Docker Hub
  std::string mirror_username;
  std::string mirror_password;
  bool skip_download = false;  ///< no root file system, only what is known of the image
};

/// Reads {"type":"registry-image","source","params","version"}. kInvalid names what is wrong, or
/// what only the resource type in a container can do (formats other than rootfs, AWS and Azure
/// log-ins, content trust).
Result<ImageRequest> ParseImageRequest(const Json& strategy);

struct ImagePullerOptions {
  std::size_t layers_at_once = 4;               ///< over all images
  std::uint64_t layer_bytes_max = 64ULL << 30;  ///< unpacked
  Duration retry_pause = std::chrono::milliseconds(250);
};

/// Pulls images into volumes: each layer is unpacked once per worker into a shared layer named by
/// its content, while it comes in, and verified by both of its digests before it counts. The volume
/// is laid out as the registry-image resource type's `get`: rootfs/, metadata.json, repository,
/// tag, digest, labels.json.
///
/// One loop's thread; the store outlives it, and no creation may be going on when it ends.
class ImagePuller {
 public:
  ImagePuller(Executor executor, Logger log, VolumeStore& store, ImagePullerOptions options);

  /// The strategy to add to the store as "registry-image". The puller must outlive its use.
  VolumeStrategy Strategy();

 private:
  struct Pull;
  Task<VolumeContent> Make(Json strategy, ProgressReport progress, std::stop_token stop);
  Task<VolumeContent> PullFrom(std::string repository, ImageRequest request,
                               ProgressReport progress, std::stop_token stop);
  Task<void> PullLayer(std::shared_ptr<Pull> pull, std::size_t index, std::stop_token stop);

  Executor executor_;
  Logger log_;
  VolumeStore& store_;
  ImagePullerOptions options_;
  Semaphore layer_slots_;
  Semaphore manifest_slots_{4};
  ThreadPool manifests_{"registry", 4, 16};
};

}  // namespace pinion::worker
