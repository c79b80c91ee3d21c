#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "async/timers.h"
#include "base/log.h"
#include "http/client.h"
#include "protocol/baggageclaim.h"
#include "protocol/garden.h"

namespace pinion::fleet {

/// A chunk of a process's output, or its end.
struct ProcessOutput {
  int stream = 0;            ///< 1 stdout, 2 stderr, 0 the end
  std::uint64_t offset = 0;  ///< of the chunk's first byte in that stream
  std::string bytes;
  std::optional<int> exit_status;  ///< at the end
  std::string error;               ///< at the end, when there is no exit status
};

/// A running process that is followed.
class ProcessFollower {
 public:
  virtual ~ProcessFollower() = default;
  /// Chunks in order, the end last. Reconnects by itself with growing pauses, from the offset
  /// reached, for up to the client's `unreachable_limit`; then Failure(kUnavailable). kNotFound
  /// when the worker no longer knows the process.
  virtual Task<ProcessOutput> Next(std::stop_token stop) = 0;
  /// What comes before these offsets is stored for good: the worker may free its disk space. Cheap
  /// to call after each flush; told in the background, a megabyte at a time, and only to workers
  /// that keep output.
  virtual void Acknowledge(std::uint64_t stdout_end, std::uint64_t stderr_end) {
    static_cast<void>(stdout_end);
    static_cast<void>(stderr_end);
  }
};

/// A process with input and a terminal (hijack).
class InteractiveProcess {
 public:
  virtual ~InteractiveProcess() = default;
  virtual Task<ProcessOutput> Next(std::stop_token stop) = 0;
  virtual Task<void> WriteInput(std::string bytes) = 0;
  virtual Task<void> CloseInput() = 0;
  virtual Task<void> SetWindowSize(int columns, int rows) = 0;
};

/// One worker, through its Garden and Baggageclaim APIs: the only way the server reaches containers
/// and volumes, be the worker in this process or on another machine. Failures carry the worker's
/// name. Calls that only read or that may be repeated are tried again on connection errors. One
/// loop's thread.
class WorkerClient {
 public:
  virtual ~WorkerClient() = default;
  virtual const std::string& name() const = 0;

  // Containers.
  /// Idempotent: an existing container with this handle is success.
  virtual Task<void> CreateContainer(protocol::garden::ContainerSpec spec, std::uint64_t epoch,
                                     std::stop_token stop) = 0;
  virtual Task<bool> ContainerExists(std::string handle, std::stop_token stop) = 0;
  /// Starts the process unless one with this id runs or has ended already, then follows it from the
  /// offsets on: the same call serves the first start and the return after a crash.
  virtual Task<std::unique_ptr<ProcessFollower>> RunProcess(
      std::string handle, protocol::garden::ProcessSpec spec, std::string input,
      std::uint64_t stdout_offset, std::uint64_t stderr_offset, std::uint64_t epoch,
      std::stop_token stop) = 0;
  /// kNotFound if the container or the program is not there.
  virtual Task<std::unique_ptr<InteractiveProcess>> RunInteractive(
      std::string handle, protocol::garden::ProcessSpec spec, std::stop_token stop) = 0;
  /// From now on this container takes nothing from owners of lower epochs; nothing if there is no
  /// such container, or it is of a worker that knows no epochs. Tried once.
  virtual Task<void> Fence(std::string handle, std::uint64_t epoch, std::stop_token stop) {
    static_cast<void>(handle);
    static_cast<void>(epoch);
    static_cast<void>(stop);
    co_return;
  }
  /// SIGTERM, then SIGKILL after 10 s; or SIGKILL at once.
  virtual Task<void> StopContainer(std::string handle, bool kill, std::stop_token stop) = 0;
  virtual Task<void> DestroyContainer(std::string handle, std::stop_token stop) = 0;
  virtual Task<std::map<std::string, std::string>> Properties(std::string handle,
                                                              std::stop_token stop) = 0;
  virtual Task<void> SetProperty(std::string handle, std::string name, std::string value,
                                 std::stop_token stop) = 0;
  virtual Task<std::vector<std::string>> ListContainers(std::stop_token stop) = 0;

  // Volumes.
  /// Idempotent by handle. Long work (imports, pulls) is polled; `stop` cancels it on the worker.
  virtual Task<protocol::baggageclaim::Volume> CreateVolume(
      protocol::baggageclaim::VolumeRequest request, std::stop_token stop) = 0;
  virtual Task<std::optional<protocol::baggageclaim::Volume>> FindVolume(std::string handle,
                                                                         std::stop_token stop) = 0;
  virtual Task<void> DestroyVolume(std::string handle, std::stop_token stop) = 0;
  virtual Task<std::vector<std::string>> ListVolumes(std::stop_token stop) = 0;
  /// The disk of its volumes; nothing from a worker that does not tell.
  virtual Task<std::optional<protocol::baggageclaim::Disk>> FindDisk(std::stop_token stop) = 0;
  /// `encoding`: gzip, zstd or raw. `path` is inside the volume.
  virtual Task<void> StreamIn(std::string handle, std::string path, std::string encoding,
                              http::BodyReader& tar, std::stop_token stop) = 0;
  virtual Task<std::unique_ptr<http::BodyReader>> StreamOut(std::string handle, std::string path,
                                                            std::string encoding,
                                                            std::stop_token stop) = 0;
  /// One file's content, kNotFound if there is none, kTooLarge past the limit.
  virtual Task<std::string> ReadFile(std::string handle, std::string path, std::size_t limit,
                                     std::stop_token stop) = 0;
  virtual Task<void> SetPrivileged(std::string handle, bool privileged, std::stop_token stop) = 0;

  /// True if the worker pulls images itself (Baggageclaim strategy "registry-image").
  virtual Task<bool> PullsImages(std::stop_token stop) = 0;

  using TroubleListener = std::function<void(const std::string& why)>;
  /// The listener is told when a call or a follower has failed to reach the worker for some seconds
  /// and goes on trying, and then once a minute; as long as what is returned is held.
  virtual std::shared_ptr<void> OnTrouble(TroubleListener listener) {
    static_cast<void>(listener);
    return nullptr;
  }

  /// Ends what this client does in the background; await it before the client goes. Followers and
  /// interactive processes of this client are gone by then or fail.
  virtual Task<void> Close() { co_return; }
};

struct WorkerClientOptions {
  std::string name;
  std::string garden_url;        ///< "unix:/path" or "http://host:7777"
  std::string baggageclaim_url;  ///< likewise
  /// For how long calls that may be repeated, and followers, try to reach the worker.
  Duration unreachable_limit = std::chrono::minutes(5);
  Duration first_pause = std::chrono::milliseconds(100);  ///< between tries; doubles
  Duration longest_pause = std::chrono::seconds(5);
};

std::unique_ptr<WorkerClient> MakeWorkerClient(Executor executor, Timers& timers, Logger log,
                                               WorkerClientOptions options);

}  // namespace pinion::fleet
