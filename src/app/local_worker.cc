#include "app/local_worker.h"
#include "protocol/versions.h"

#include <unistd.h>

#include <array>
#include <filesystem>

#include "app/resource_types.h"
#include "http/server.h"
#include "worker/baggageclaim_server.h"
#include "worker/containers/containers.h"
#include "worker/containers/cpu_watch.h"
#include "worker/containers/disk_watch.h"
#include "worker/containers/supervisor_program.h"
#include "worker/garden_server.h"
#include "worker/images/image_puller.h"
#include "worker/network/bridge_network.h"
#include "worker/volumes/volume_store.h"

namespace pinion::app {
namespace {

namespace fs = std::filesystem;

// Of the protocol that workers speak; upstream's web nodes look at it.
constexpr Duration kShutdownGrace = std::chrono::seconds(2);

std::string HostName() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "local";
}

}  // namespace

/// In the order of their making; they go in reverse.
struct LocalWorker::Parts {
  ThreadPool pool{"worker", 4, 10'000};
  std::unique_ptr<worker::BridgeNetwork> network;
  std::unique_ptr<worker::Containers> containers;
  std::unique_ptr<worker::VolumeStore> volumes;
  std::unique_ptr<worker::DiskWatch> disk_watch;
  std::unique_ptr<worker::CpuWatch> cpu_watch;
  std::unique_ptr<worker::ImagePuller> images;
  std::unique_ptr<worker::GardenServer> garden;
  std::unique_ptr<worker::BaggageclaimServer> baggageclaim;
  std::unique_ptr<http::Server> garden_http;
  std::unique_ptr<http::Server> baggageclaim_http;
};

LocalWorker::LocalWorker(Executor executor, Timers& timers, Logger log,
                         const ServerOptions& options)
    : executor_(std::move(executor)), timers_(timers), log_(std::move(log)), options_(options) {}

LocalWorker::~LocalWorker() = default;

Task<Result<void>> LocalWorker::Start() {
  const fs::path work = options_.WorkDir();
  if (auto made = worker::MakePassableFolder(work); !made) co_return made;
  auto types = ReadResourceTypes(ResourceTypesFolder(options_));
  if (!types) co_return std::unexpected(types.error());
  resource_types_ = std::move(*types);

  parts_ = std::make_unique<Parts>();
  Parts& parts = *parts_;
  parts.volumes =
      co_await worker::VolumeStore::Open(executor_, timers_, log_, {.folder = work / "volumes"});
  parts.images = std::make_unique<worker::ImagePuller>(executor_, log_, *parts.volumes,
                                                       worker::ImagePullerOptions{});
  parts.volumes->AddStrategy("registry-image", parts.images->Strategy());
  worker::BridgeNetworkOptions network{.dns_servers = options_.worker_dns_servers,
                                       .denied_networks = options_.worker_restricted_networks,
                                       .allow_host_access = options_.worker_allow_host_access};
  if (!options_.worker_network_pool.empty()) network.subnet = options_.worker_network_pool;
  parts.network = std::make_unique<worker::BridgeNetwork>(executor_, parts.pool, log_, work,
                                                          std::move(network));
  worker::ContainersOptions containers{.work_dir = work,
                                       .processes_max = options_.worker_container_processes,
                                       .memory_max = options_.worker_containers_memory.bytes,
                                       .write_rate = options_.worker_container_write_rate.bytes,
                                       .dns_servers = options_.worker_dns_servers};
  if (!options_.worker_runtime.empty()) containers.runtime = options_.worker_runtime;
  parts.containers = std::make_unique<worker::Containers>(executor_, timers_, log_, parts.pool,
                                                          *parts.network, std::move(containers));
  if (auto started = co_await parts.network->Start(); !started) co_return started;
  if (auto started = co_await parts.containers->Start(); !started) co_return started;

  parts.disk_watch = std::make_unique<worker::DiskWatch>(
      executor_, timers_, parts.pool, log_, *parts.containers,
      worker::DiskWatchOptions{.folder = work,
                               .bytes_max = options_.worker_container_disk.bytes,
                               .files_max = options_.worker_container_files,
                               .own_files = worker::VolumeStore::OwnFiles});
  parts.disk_watch->Start();
  if (options_.worker_fair_cpu) {
    parts.cpu_watch = std::make_unique<worker::CpuWatch>(
        executor_, timers_, parts.pool, log_, *parts.containers, worker::CpuWatchOptions{});
    parts.cpu_watch->Start();
  }

  parts.garden =
      std::make_unique<worker::GardenServer>(*parts.containers, parts.pool, timers_, log_);
  parts.baggageclaim =
      std::make_unique<worker::BaggageclaimServer>(executor_, timers_, log_, *parts.volumes);
  parts.garden_http = http::Server::Make(
      executor_, timers_, log_, {},
      [&parts](http::Exchange& exchange) { return parts.garden->Handle(exchange); });
  parts.baggageclaim_http = http::Server::Make(
      executor_, timers_, log_, {},
      [&parts](http::Exchange& exchange) { return parts.baggageclaim->Handle(exchange); });
  if (auto listening = parts.garden_http->Listen("unix:" + (work / "garden.sock").string());
      !listening) {
    co_return listening;
  }
  co_return parts.baggageclaim_http->Listen("unix:" + (work / "baggageclaim.sock").string());
}

Task<void> LocalWorker::Shutdown() {
  if (!parts_) co_return;
  Parts& parts = *parts_;
  if (parts.garden_http) co_await parts.garden_http->Shutdown(kShutdownGrace);
  if (parts.baggageclaim_http) co_await parts.baggageclaim_http->Shutdown(kShutdownGrace);
  if (parts.baggageclaim) co_await parts.baggageclaim->Shutdown();
  if (parts.cpu_watch) co_await parts.cpu_watch->Shutdown();
  if (parts.disk_watch) co_await parts.disk_watch->Shutdown();
  if (parts.containers) co_await parts.containers->Shutdown();
  if (parts.network) co_await parts.network->Shutdown();
  if (parts.volumes) co_await parts.volumes->Close();
}

store::WorkerRow LocalWorker::Registration() const {
  const std::string work = fs::absolute(options_.WorkDir()).string();
  return {.name = options_.worker_name.empty() ? HostName() : options_.worker_name,
          .platform = "linux",
          .tags = options_.worker_tags,
          .team_name = options_.worker_team,
          .garden_addr = "unix:" + work + "/garden.sock",
          .baggageclaim_url = "unix:" + work + "/baggageclaim.sock",
          .resource_types = resource_types_,
          .version = std::string(protocol::kWorkerVersion),
          .start_time = timers_.clock().UnixSeconds()};
}

}  // namespace pinion::app
