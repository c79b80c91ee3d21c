#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "async/timers.h"
#include "fleet/worker_client.h"
#include "random.h"

namespace pinion::simulation {

/// What a worker asks of the world around it.
class WorkerWorld {
 public:
  virtual ~WorkerWorld() = default;
  virtual SteadyTime Now() const = 0;
  /// Calls `action` at that time.
  virtual void At(SteadyTime when, std::function<void()> action) = 0;
  virtual Random& random() = 0;
  virtual bool faults() const = 0;
  /// An external resource: its versions, oldest first.
  virtual std::vector<std::string>& VersionsOf(const std::string& resource) = 0;
  virtual void Note(const std::string& what) = 0;
  virtual void Violation(const std::string& what) = 0;
  /// A process is about to start: is that right?
  virtual void ProcessStarts(const std::string& handle, const std::string& process) = 0;
};

/// A machine with containers and volumes. Its processes go on whatever happens to the servers.
class Worker {
 public:
  struct Process {
    std::string output[2];            ///< all it has printed so far, stdout and stderr
    std::uint64_t freed[2] = {0, 0};  ///< acknowledged: no longer kept
    std::optional<int> exit_status;
    bool stopped = false;
    std::vector<Waker<bool>> waiting;
  };
  struct Container {
    std::uint64_t epoch = 0;
    std::map<std::string, std::string> properties;
    std::map<std::string, std::shared_ptr<Process>> processes;
    std::vector<std::string> volumes;
  };
  struct Volume {
    Json strategy;
    std::string parent;
    bool privileged = false;
  };
  /// What each step's process printed in all, kept when the container is gone.
  struct Transcript {
    std::string output[2];
    bool ended = false;
    int starts = 0;
  };

  Worker(WorkerWorld& world, std::string name) : world_(world), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  bool reachable = true;
  std::map<std::string, Container> containers;
  std::map<std::string, Volume> volumes;
  std::map<std::string, Transcript> transcripts;  ///< by handle
  std::set<std::string> lost;                     ///< containers that went down with the machine

  void Create(const protocol::garden::ContainerSpec& spec, std::uint64_t epoch);
  std::shared_ptr<Process> Run(const std::string& handle, const protocol::garden::ProcessSpec& spec,
                               const std::string& input, std::uint64_t epoch);
  void Stop(const std::string& handle, bool kill);
  void Destroy(const std::string& handle);
  protocol::baggageclaim::Volume CreateVolume(const protocol::baggageclaim::VolumeRequest& request);
  void DestroyVolume(const std::string& handle);
  std::string ReadFile(const std::string& handle, const std::string& path) const;
  Container& Find(const std::string& handle);
  Volume& FindVolume(const std::string& handle);
  /// The machine is switched off and on: everything on it is gone.
  void LoseEverything();
  Failure Fail(ErrorKind kind, const std::string& message) const {
    return {kind, "worker '" + name_ + "': " + message};
  }

 private:
  struct Script;
  void Print(const std::string& handle, const std::shared_ptr<Process>& process, int stream,
             const std::string& text);
  void End(const std::string& handle, const std::shared_ptr<Process>& process, int status);
  void Begin(const std::string& handle, const protocol::garden::ProcessSpec& spec,
             const std::string& input, const std::shared_ptr<Process>& process);
  void BeginTask(const std::string& handle, const std::vector<std::string>& args,
                 const std::shared_ptr<Process>& process);
  void Later(Duration delay, const std::string& handle, std::shared_ptr<Process> process,
             std::function<void()> action);

  WorkerWorld& world_;
  std::string name_;
};

/// A node's client of a worker: each call takes a while there and a while back, so that a kill can
/// come before the effect and after it.
std::unique_ptr<fleet::WorkerClient> MakeSimulatedClient(Worker& worker, WorkerWorld& world,
                                                         Timers& timers);

}  // namespace pinion::simulation
