#pragma once

#include <map>
#include <memory>
#include <string>

#include "async/signal.h"
#include "async/task_group.h"
#include "async/thread_pool.h"
#include "async/timers.h"
#include "worker/containers/container_process.h"
#include "worker/containers/launcher.h"
#include "worker/containers/supervisor_link.h"
#include "worker/containers/users.h"
#include "worker/network/network.h"

namespace pinion::worker {

/// The executable of a process is not in the container: the step fails, trying again does not help.
class ExecutableNotFound : public Failure {
 public:
  explicit ExecutableNotFound(std::string message)
      : Failure(ErrorKind::kNotFound, std::move(message)) {}
};

/// What all containers of a worker share. Outlives them.
struct ContainerServices {
  const ContainersOptions& options;
  Launcher& launcher;
  Network& network;
  ThreadPool& pool;
  Timers& timers;
  Semaphore& starts;
  TaskGroup& tasks;
  Executor executor;
  Logger log;
};

/// One container: its folder, its supervisor (while it has one) and its processes. Held by
/// shared_ptr, because requests go on while it is destroyed. On the loop's thread.
class Container : public std::enable_shared_from_this<Container> {
 public:
  enum class Status { kNew, kStarting, kRunning, kEnded, kDestroyed };

  Container(ContainerServices& services, protocol::garden::ContainerSpec spec);

  const std::string& handle() const { return spec_.handle; }
  const protocol::garden::ContainerSpec& spec() const { return spec_; }
  const ContainerState& state() const { return state_; }
  Status status() const { return status_; }
  bool has_ended() const { return status_ == Status::kEnded; }

  /// Makes the folder of a new container, owned by that epoch.
  Task<void> Store(std::int64_t epoch = 0);
  /// Takes up a container whose folder is there: connects to its supervisor if that lives.
  Task<void> Recover();
  /// Returns when the container runs; starts it if it does not, also after its end. Any number of
  /// callers. Goes on when the caller stops waiting. Failure says why it cannot start.
  Task<void> EnsureRunning(std::stop_token stop);

  /// Starts a process, or finds it if a process of that id runs already with the same specification
  /// (a request that was sent twice). An ended process of that id is replaced. Failures:
  /// ExecutableNotFound, kNotFound (user), kInvalid, kConflict. With an input in the specification
  /// the process reads that and nothing else, whoever dies meanwhile; it is not kept.
  Task<std::shared_ptr<ContainerProcess>> Run(protocol::garden::ProcessSpec spec,
                                              std::stop_token stop);
  /// Null if there is none.
  std::shared_ptr<ContainerProcess> FindProcess(const std::string& id) const;

  /// Ends all processes: TERM and, after the grace time, KILL; or KILL at once. The container
  /// stays.
  Task<void> Stop(bool kill, std::stop_token stop);
  /// Sends TERM, or KILL, to one process.
  Task<void> Signal(std::shared_ptr<ContainerProcess> process, bool kill, std::stop_token stop);
  /// Kills everything; whoever waits for a process gets these words (at most 487 bytes of them).
  /// The container stays, and starts again for its next process.
  Task<void> End(std::string why, std::stop_token stop);
  /// Kills everything and removes every trace. Safe to call again after a failure.
  Task<void> Destroy();

  Task<void> SetProperty(std::string name, std::string value);
  Task<void> RemoveProperty(std::string name);
  Task<void> SetGraceTime(std::int64_t nanoseconds);
  /// kConflict if a higher epoch was seen before; remembers it otherwise.
  Task<void> CheckEpoch(std::int64_t epoch);

  /// Somewhere to write the process's input to; null if the input is closed.
  Task<std::shared_ptr<linux::WatchedFd>> OpenInput(std::shared_ptr<ContainerProcess> process,
                                                    std::stop_token stop);
  /// The end of the input.
  Task<void> CloseInput(std::shared_ptr<ContainerProcess> process, std::stop_token stop);
  /// A reader has got the output up to there: lets the process run ahead further.
  void Delivered(ContainerProcess& process, OutputStream stream, std::int64_t offset);
  /// Nobody will read below these offsets again: frees their disk space.
  Task<void> Acknowledge(std::shared_ptr<ContainerProcess> process,
                         std::array<std::int64_t, 2> offsets);

 private:
  Task<void> Start();
  Task<void> StartAndReport(std::shared_ptr<Container> self);
  Task<void> Follow(std::shared_ptr<Container> self);
  Task<void> Reap(std::shared_ptr<Container> self, linux::UniqueFd pidfd, pid_t pid);
  void Handle(SupervisorMessage received);
  void HandleProcess(ContainerProcess& process, SupervisorMessage received);
  Task<void> SupervisorGone();
  void Finish(ContainerProcess& process, ProcessEnd end);
  Task<void> Tell(std::uint32_t kind, std::uint32_t process, std::int64_t a, std::int64_t b,
                  std::stop_token stop);
  Task<std::shared_ptr<ContainerProcess>> StartProcess(protocol::garden::ProcessSpec spec,
                                                       std::optional<std::string> input,
                                                       std::stop_token stop);
  Task<void> TellRun(const ContainerProcess& process, ContainerUser user, bool has_input,
                     std::stop_token stop);
  Task<void> TellRunAgain();
  void ForgetOldProcesses();
  Task<void> SaveState();
  bool AnyRunning() const;

  ContainerServices& services_;
  protocol::garden::ContainerSpec spec_;
  ContainerFolder folder_;
  ContainerState state_;
  Status status_ = Status::kNew;
  std::string start_error_;
  std::string end_reason_;
  std::shared_ptr<SupervisorLink> link_;
  bool following_ = false;
  std::map<std::string, std::shared_ptr<ContainerProcess>> by_id_;
  std::map<std::uint32_t, std::shared_ptr<ContainerProcess>> by_number_;
  std::uint32_t next_number_ = 1;
  Semaphore saving_{1};
  Semaphore running_{1};  ///< one process is being started at a time
  Broadcast changed_;     ///< status, link or a process
};

}  // namespace pinion::worker
