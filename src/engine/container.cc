#include "engine/container.h"

#include "async/task_group.h"
#include "base/encoding.h"
#include "engine/volumes.h"
#include "protocol/events.h"
#include "store/containers.h"

namespace pinion::engine {
namespace {

std::string AttemptText(const std::vector<int>& attempts) {
  std::string text;
  for (const int attempt : attempts) {
    if (!text.empty()) text += '.';
    text += std::to_string(attempt);
  }
  return text;
}

store::ContainerRow MakeRow(BuildRun& run, const ContainerRequest& request,
                            const std::string& handle, const std::string& worker) {
  const store::BuildRow& build = run.build();
  store::ContainerRow row{.handle = handle,
                          .worker_name = worker,
                          .team = build.team,
                          .build = build.id,
                          .scope = run.scope(),
                          .plan_id = request.plan_id,
                          .step_name = request.step_name,
                          .type = request.type,
                          .attempt = AttemptText(request.attempts)};
  row.metadata.pipeline_id = build.pipeline.value;
  row.metadata.pipeline_name = build.pipeline_name;
  if (!build.instance_vars.empty()) {
    row.metadata.pipeline_instance_vars = ParseJson(build.instance_vars).value_or(Json());
  }
  row.metadata.job_id = build.job.value;
  row.metadata.job_name = build.job_name;
  row.metadata.build_name = build.name;
  row.metadata.user = request.user;
  row.metadata.working_directory = request.dir;
  return row;
}

/// Memory and CPU, and network unless the task is hermetic.
void SetLimits(const ContainerRequest& request, protocol::garden::ContainerSpec& spec) {
  if (request.limits) {
    if (request.limits->memory) {
      spec.limits.memory_limits.limit_in_bytes = *request.limits->memory;
    }
    if (request.limits->cpu) {
      spec.limits.cpu_limits.weight = static_cast<std::uint32_t>(*request.limits->cpu);
    }
  }
  if (!request.hermetic) {
    spec.netout_rules.push_back(JsonObject{
        {"networks", JsonArray{JsonObject{{"start", "0.0.0.0"}, {"end", "255.255.255.255"}}}}});
  }
}

/// As MakeVolumes, beside something else: what came of it is for the caller to see.
Task<void> MakeVolumesBeside(BuildRun& run, const ContainerRequest& request,
                             const Container& container, std::optional<UserIds> owner,
                             std::stop_token stop, std::vector<protocol::garden::BindMount>& mounts,
                             std::exception_ptr& error) {
  try {
    mounts = co_await MakeVolumes(run, request, container, owner, std::move(stop));
  } catch (...) {
    error = std::current_exception();
  }
}

/// On the worker: image and volumes, then the container itself. Every call may be repeated, so a
/// former life that was killed in the middle does no harm.
Task<void> MakeOnWorker(BuildRun& run, const ContainerRequest& request, Container& container,
                        std::stop_token stop) {
  protocol::garden::ContainerSpec spec{.handle = container.handle,
                                       .privileged = request.privileged};
  spec.env.push_back("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
  ImageView image = co_await LookAtImage(run, request, container, stop);
  TaskGroup beside(co_await boost::asio::this_coro::executor, run.log(), "make volumes");
  std::exception_ptr error;
  beside.Spawn(
      MakeVolumesBeside(run, request, container, image.owner, stop, spec.bind_mounts, error));
  std::exception_ptr rootfs_error;
  try {
    spec.rootfs = co_await MakeRootfs(run, request, container, image.volume, stop);
  } catch (...) {
    rootfs_error = std::current_exception();
  }
  co_await beside.Join();
  if (rootfs_error) std::rethrow_exception(rootfs_error);
  if (error) std::rethrow_exception(error);
  run.Passed(request.plan_id, "volumes made");
  for (std::string& entry : image.env)
    spec.env.push_back(std::move(entry));
  spec.env.insert(spec.env.end(), request.env.begin(), request.env.end());
  container.image_user = image.user;
  if (!container.image_user.empty()) spec.properties["user"] = container.image_user;
  SetLimits(request, spec);
  co_await container.worker->CreateContainer(std::move(spec),
                                             static_cast<std::uint64_t>(run.owner().epoch), stop);
}

}  // namespace

std::string ContainerHandle(const BuildRun& run, const std::string& plan_id) {
  // Ids of plans that were made at run time hold slashes, which do not belong into a path segment.
  std::string handle = run.container_prefix();
  for (const char c : plan_id)
    handle += c == '/' ? '.' : c;
  return handle;
}

Task<Container> FindOrCreateContainer(BuildRun& run, ContainerRequest request,
                                      std::stop_token stop) {
  Container container{.handle = request.handle.empty() ? ContainerHandle(run, request.plan_id)
                                                       : request.handle};
  run.AddContainer(container.handle);
  container.placement = co_await ChooseWorker(run, request, container.handle, stop);
  container.worker = &container.placement->worker();
  const std::string worker = container.worker->name();
  run.Passed(request.plan_id, "worker chosen");
  run.EmitOnce(request.plan_id, Stage::kSelectedWorker,
               protocol::SelectedWorkerEvent({.id = request.plan_id}, run.now(), worker));
  // The rows first: whatever a crash leaves on the worker is known and will be collected.
  const std::vector<store::VolumeRow> volumes = PlanVolumes(run, request, container);
  BuildRun::Also write = [row = MakeRow(run, request, container.handle, worker), volumes,
                          build = run.build().id,
                          owner = run.owner()](store::Transaction& transaction) {
    // A node that lost the build to another must start nothing more.
    if (build) store::GuardBuild(transaction, build, owner);
    store::CreateContainer(transaction, row);
    for (const store::VolumeRow& volume : volumes)
      store::CreateVolume(transaction, volume);
    store::SetContainerCreated(transaction, row.handle);
    for (const store::VolumeRow& volume : volumes)
      store::SetVolumeCreated(transaction, volume.handle);
  };
  co_await run.Write(std::move(write));
  run.Passed(request.plan_id, "rows written");
  const auto telling = run.TellWhileWaitingFor(*container.worker);
  co_await MakeOnWorker(run, request, container, stop);
  run.Passed(request.plan_id, "container created");
  co_return container;
}

Task<ImageMetadata> ImageMetadataCache::Get(fleet::WorkerClient& worker, std::string volume,
                                            std::stop_token stop) {
  constexpr std::size_t kMetadataBytesMax = 1 << 20;
  const std::string key = worker.name() + "/" + volume;
  const auto found = entries_.find(key);
  if (found != entries_.end()) co_return found->second;
  const std::string text =
      co_await worker.ReadFile(volume, "metadata.json", kMetadataBytesMax, stop);
  auto metadata = FromText<ImageMetadata>(text);
  if (!metadata) {
    throw Failure(std::move(metadata.error()).Context("metadata.json of the image"));
  }
  if (entries_.size() >= kEntriesMax) entries_.clear();
  entries_[key] = *metadata;
  co_return std::move(*metadata);
}

}  // namespace pinion::engine
