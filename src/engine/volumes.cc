#include "engine/volumes.h"

#include <algorithm>

#include "engine/image_user.h"
#include "fleet/streaming.h"
#include "protocol/events.h"

namespace pinion::engine {
namespace {

using protocol::baggageclaim::Volume;
using protocol::baggageclaim::VolumeRequest;

std::string HandleOf(const Container& container, std::string_view kind, std::size_t index) {
  return container.handle + "-" + std::string(kind) + "-" + std::to_string(index);
}

bool IsMounted(const ContainerRequest& request, const std::string& path) {
  const auto same = [&](const auto& mount) { return mount.path == path; };
  return std::ranges::find(request.outputs, path) != request.outputs.end() ||
         std::ranges::any_of(request.inputs, same) || std::ranges::any_of(request.caches, same);
}

Json CopyOf(const std::string& volume) {
  return JsonObject{{"type", "cow"}, {"volume", volume}};
}

Json Empty() {
  return JsonObject{{"type", "empty"}};
}

/// The artifact's volume on the container's worker: its own, or a copy streamed over from another.
Task<std::string> Local(BuildRun& run, Artifact artifact, const Container& container,
                        std::string copy_handle, bool privileged, std::stop_token stop) {
  if (artifact.worker == container.worker->name()) co_return artifact.volume;
  const auto source = run.Worker(artifact.worker);
  VolumeRequest copy{.handle = copy_handle, .strategy = Empty(), .privileged = privileged};
  co_await container.worker->CreateVolume(std::move(copy), stop);
  co_await fleet::CopyVolume({.worker = source.get(), .handle = artifact.volume},
                             {.worker = container.worker, .handle = copy_handle}, "zstd", stop);
  co_return copy_handle;
}

// Of an image's /etc/passwd and /etc/group.
constexpr std::size_t kUsersBytesMax = 1 << 20;

/// Whom the volumes of a container belong to, if not to root. An image without the files, or
/// without the user, leaves them as they are: the process's start says what is wrong.
Task<std::optional<UserIds>> OwnerOf(fleet::WorkerClient& worker, std::string image,
                                     std::string user, std::stop_token stop) {
  if (user.empty() || user == "root" || user == "0") co_return std::nullopt;
  std::string files[2];
  const char* const names[2] = {"rootfs/etc/passwd", "rootfs/etc/group"};
  for (int i = 0; i < 2; ++i) {
    try {
      files[i] = co_await worker.ReadFile(image, names[i], kUsersBytesMax, stop);
    } catch (const Failure& failure) {
      if (failure.error().kind == ErrorKind::kUnavailable) throw;
    }
  }
  const auto ids = FindUserIds(user, files[0], files[1]);
  if (ids && *ids == UserIds()) co_return std::nullopt;
  co_return ids;
}

/// One volume on the worker and where it is mounted.
struct Wanted {
  std::string path;
  std::string handle;
  Json strategy;
};

Task<protocol::garden::BindMount> Make(const Container& container, Wanted wanted, bool privileged,
                                       std::optional<UserIds> owner, std::stop_token stop) {
  VolumeRequest request{.handle = std::move(wanted.handle),
                        .strategy = std::move(wanted.strategy),
                        .privileged = privileged};
  if (owner) {
    request.uid = owner->uid;
    request.gid = owner->gid;
  }
  const Volume volume = co_await container.worker->CreateVolume(std::move(request), stop);
  co_return protocol::garden::BindMount{
      .src_path = volume.path, .dst_path = std::move(wanted.path), .mode = 1};
}

}  // namespace

Task<std::shared_ptr<fleet::Placement>> ChooseWorker(BuildRun& run, const ContainerRequest& request,
                                                     const std::string& handle,
                                                     std::stop_token stop) {
  fleet::PlacementRequest wanted{.platform = request.platform,
                                 .tags = request.tags,
                                 .team = run.build().team,
                                 .resource_type = request.base_type};
  if (request.artifact) ++wanted.local_volumes[request.artifact->worker];
  for (const ContainerRequest::Mount& input : request.inputs) {
    ++wanted.local_volumes[input.artifact.worker];
  }
  const auto known = co_await run.InDatabase(false, [handle](store::Transaction& transaction) {
    return store::FindContainer(transaction, handle);
  });
  if (known) wanted.worker_name = known->worker_name;
  const std::function<void()> on_wait = [&run, id = request.plan_id] {
    run.Emit(protocol::WaitingForWorkerEvent({.id = id}, run.now()));
  };
  co_return std::make_shared<fleet::Placement>(
      co_await run.services().fleet.Choose(std::move(wanted), on_wait, stop));
}

std::vector<store::VolumeRow> PlanVolumes(BuildRun& run, const ContainerRequest& request,
                                          Container& container) {
  std::vector<store::VolumeRow> rows;
  const auto add = [&](std::string handle, const std::string& path) {
    rows.push_back({.handle = handle,
                    .worker_name = container.worker->name(),
                    .team = run.build().team,
                    .container_handle = container.handle,
                    .path = path,
                    .type = std::string(store::volume_types::kContainer)});
    container.volumes[path] = std::move(handle);
  };
  add(HandleOf(container, "rootfs", 0), "/");
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    add(HandleOf(container, "input", i), request.inputs[i].path);
  }
  for (std::size_t i = 0; i < request.outputs.size(); ++i) {
    // An output at an input's path is that input, changed.
    if (!container.volumes.contains(request.outputs[i])) {
      add(HandleOf(container, "output", i), request.outputs[i]);
    }
  }
  for (std::size_t i = 0; i < request.caches.size(); ++i) {
    if (!container.volumes.contains(request.caches[i].path)) {
      add(HandleOf(container, "cache", i), request.caches[i].path);
    }
  }
  // What a check leaves in its working folder is of no use to anybody.
  const bool keeps_dir = request.type != "check";
  if (keeps_dir && !request.dir.empty() && !IsMounted(request, request.dir)) {
    add(HandleOf(container, "work", 0), request.dir);
  }
  return rows;
}

Task<ImageView> LookAtImage(BuildRun& run, const ContainerRequest& request,
                            const Container& container, std::stop_token stop) {
  ImageView view{.user = request.user};
  if (!request.artifact) co_return view;
  view.volume = co_await Local(run, *request.artifact, container, HandleOf(container, "image", 0),
                               request.privileged, stop);
  ImageMetadata metadata =
      co_await run.services().image_metadata.Get(*container.worker, view.volume, stop);
  view.env = std::move(metadata.env);
  if (view.user.empty()) view.user = std::move(metadata.user);
  view.owner = co_await OwnerOf(*container.worker, view.volume, view.user, stop);
  co_return view;
}

Task<std::string> MakeRootfs(BuildRun& run, const ContainerRequest& request,
                             const Container& container, std::string image, std::stop_token stop) {
  if (!request.rootfs_uri.empty()) co_return request.rootfs_uri;
  const std::string below = image.empty() ? "" : "/rootfs";
  if (image.empty()) {
    image =
        co_await run.services().base_types.Import(run, *container.worker, request.base_type, stop);
  }
  VolumeRequest copy{.handle = HandleOf(container, "rootfs", 0),
                     .strategy = CopyOf(image),
                     .privileged = request.privileged};
  std::optional<Volume> volume;
  try {
    volume = co_await container.worker->CreateVolume(copy, stop);
  } catch (const Failure& failure) {
    if (request.base_type.empty() || failure.error().kind == ErrorKind::kUnavailable) throw;
  }
  if (!volume) {
    // A worker that was wiped has lost its imports.
    run.services().base_types.Forget(container.worker->name(), image);
    co_await run.services().base_types.Import(run, *container.worker, request.base_type, stop);
    volume = co_await container.worker->CreateVolume(copy, stop);
  }
  co_return "raw://" + volume->path + below;
}

Task<std::string> BaseTypes::Import(BuildRun& run, fleet::WorkerClient& worker, std::string type,
                                    std::stop_token stop) {
  const store::WorkerResourceType* base = run.services().fleet.BaseType(worker.name(), type);
  if (!base) {
    throw Failure(ErrorKind::kUnavailable,
                  "worker '" + worker.name() + "' has no resource type '" + type + "'");
  }
  const std::string handle = "type-" + type + "-" + base->version;
  const std::string image = base->image;
  const std::pair<std::string, std::string> key(worker.name(), handle);
  if (imported_.contains(key)) co_return handle;
  store::VolumeRow row{.handle = handle,
                       .worker_name = worker.name(),
                       .type = std::string(store::volume_types::kResourceType)};
  co_await run.InDatabase(true, [row](store::Transaction& transaction) {
    store::CreateVolume(transaction, row);
    store::SetVolumeCreated(transaction, row.handle);
  });
  VolumeRequest import{
      .handle = handle,
      .strategy = JsonObject{{"type", "import"}, {"path", image}, {"follow_symlinks", false}}};
  co_await worker.CreateVolume(std::move(import), stop);
  imported_.insert(key);
  co_return handle;
}

Task<std::vector<protocol::garden::BindMount>> MakeVolumes(BuildRun& run,
                                                           const ContainerRequest& request,
                                                           const Container& container,
                                                           std::optional<UserIds> owner,
                                                           std::stop_token stop) {
  std::vector<Wanted> wanted;
  for (std::size_t i = 0; i < request.inputs.size(); ++i) {
    const std::string image =
        co_await Local(run, request.inputs[i].artifact, container,
                       HandleOf(container, "streamed", i), request.privileged, stop);
    const std::string& path = request.inputs[i].path;
    wanted.push_back({path, container.volumes.at(path), CopyOf(image)});
  }
  for (const auto& [path, handle] : container.volumes) {
    const bool made = path == "/" || std::ranges::any_of(wanted, [&](const Wanted& other) {
                        return other.path == path;
                      });
    if (made) continue;
    Json strategy = Empty();
    const auto cache = std::ranges::find_if(
        request.caches, [&](const ContainerRequest::Cache& one) { return one.path == path; });
    if (cache != request.caches.end() && !cache->key.empty()) {
      const std::string kept = co_await FindTaskCache(run, cache->key, container.worker->name());
      if (!kept.empty()) strategy = CopyOf(kept);
    }
    wanted.push_back({path, handle, std::move(strategy)});
  }
  // Outer mounts before those inside them.
  std::ranges::sort(wanted, {}, &Wanted::path);
  std::vector<protocol::garden::BindMount> mounts;
  for (Wanted& volume : wanted) {
    mounts.push_back(co_await Make(container, std::move(volume), request.privileged, owner, stop));
  }
  co_return mounts;
}

Task<std::string> FindTaskCache(BuildRun& run, std::string key, std::string worker) {
  co_return co_await run.InDatabase(
      false, [key, worker](store::Transaction& transaction) -> std::string {
        for (const store::VolumeRow& row : store::FindTaskCacheVolumes(transaction, key)) {
          if (row.worker_name == worker) return row.handle;
        }
        return "";
      });
}

void KeepTaskCaches(store::Transaction& transaction, const ContainerRequest& request,
                    const Container& container) {
  for (const ContainerRequest::Cache& cache : request.caches) {
    if (cache.key.empty()) continue;
    store::SetVolumeTaskCache(transaction, container.volumes.at(cache.path), cache.key);
  }
}

}  // namespace pinion::engine
