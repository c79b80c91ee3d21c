#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "engine/build_run.h"
#include "fleet/registry.h"
#include "fleet/worker_client.h"

namespace pinion::engine {

/// What a step needs to run a process in.
struct ContainerRequest {
  std::string handle;  ///< empty: derived from build and step
  std::string plan_id;
  std::string step_name;
  std::string type;  ///< get, put, task, check or run
  std::vector<int> attempts;

  // The image: exactly one.
  std::string base_type;             ///< a resource type that the worker has
  std::optional<Artifact> artifact;  ///< a volume in the layout of registry-image
  std::string rootfs_uri;
  bool privileged = false;

  std::string platform = "linux";
  std::vector<std::string> tags;
  std::vector<std::string> env;
  std::string dir;  ///< working directory
  std::string user;
  bool hermetic = false;
  std::optional<protocol::ContainerLimits> limits;

  struct Mount {
    std::string path;  ///< absolute, in the container
    Artifact artifact;
  };
  std::vector<Mount> inputs;
  std::vector<std::string> outputs;  ///< absolute paths of empty volumes
  struct Cache {
    std::string path;
    std::string key;  ///< of the task cache on the worker; empty: none is kept
  };
  std::vector<Cache> caches;
};

/// A container on its worker. As long as a copy lives, the worker's load counts it.
struct Container {
  std::shared_ptr<fleet::Placement> placement;
  fleet::WorkerClient* worker = nullptr;  ///< of the placement
  std::string handle;
  std::map<std::string, std::string> volumes;  ///< mount path to volume handle
  std::string image_user;
};

/// The handle of a step's container: the same step always has the same, so that coming back after a
/// crash finds it.
std::string ContainerHandle(const BuildRun& run, const std::string& plan_id);

/// Chooses a worker (announcing selected-worker), makes volumes and container there, or finds the
/// container that a former life of this process made. Inputs from other workers are streamed over.
Task<Container> FindOrCreateContainer(BuildRun& run, ContainerRequest request,
                                      std::stop_token stop);

/// Base resource types as volumes on workers: imported once per worker and version.
class BaseTypes {
 public:
  /// Handle of the volume to copy; kUnavailable if the worker does not bring the type.
  Task<std::string> Import(BuildRun& run, fleet::WorkerClient& worker, std::string type,
                           std::stop_token stop);
  /// The worker turned out not to have it any more.
  void Forget(const std::string& worker, const std::string& handle) {
    imported_.erase({worker, handle});
  }

 private:
  std::set<std::pair<std::string, std::string>> imported_;
};

/// What an image says about itself (metadata.json beside its rootfs).
struct ImageMetadata {
  std::vector<std::string> env;
  std::string user;
  std::vector<std::string> entrypoint;
  std::vector<std::string> cmd;
  template <class Self, class Visit>
  static void Fields(Self& self, Visit& visit) {
    visit("env", self.env);
    visit("user", self.user);
    visit("entrypoint", self.entrypoint, kOmitEmpty);
    visit("cmd", self.cmd, kOmitEmpty);
  }
};

/// Metadata of images by volume: a volume's content does not change once it is an image.
class ImageMetadataCache {
 public:
  Task<ImageMetadata> Get(fleet::WorkerClient& worker, std::string volume, std::stop_token stop);

 private:
  static constexpr std::size_t kEntriesMax = 1000;
  std::map<std::string, ImageMetadata> entries_;
};

}  // namespace pinion::engine
