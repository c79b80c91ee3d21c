#include <sys/wait.h>

#include <algorithm>
#include <csignal>
#include <thread>

#include "base/text.h"
#include "linux/files.h"
#include "worker/containers/bundle.h"
#include "worker/containers/container.h"

// How a container starts, is followed, and ends. Its processes and state are in container.cc.
namespace pinion::worker {
namespace {

/// A supervisor that was given its container just before its worker died listens in a moment.
Result<linux::UniqueFd> ConnectToNewborn(const std::filesystem::path& run_folder) {
  constexpr int kTries = 100;
  for (int i = 1;; ++i) {
    auto socket = SupervisorLink::Connect(run_folder);
    if (socket || i == kTries) return socket;
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
}

}  // namespace

// --- Start
// --------------------------------------------------------------------------------------------

Task<void> Container::EnsureRunning(std::stop_token stop) {
  // Its supervisor was killed, and what it left is being removed.
  while (status_ == Status::kRunning && !link_)
    co_await changed_.Wait(stop);
  if (status_ == Status::kNew || status_ == Status::kEnded) {
    status_ = Status::kStarting;
    start_error_.clear();
    // Not tied to this caller: when it goes away, others may wait for the same start.
    if (!services_.tasks.Spawn(StartAndReport(shared_from_this()))) throw Cancelled();
  }
  while (status_ == Status::kStarting)
    co_await changed_.Wait(stop);
  if (status_ == Status::kRunning) co_return;
  if (!start_error_.empty()) throw Failure(ErrorKind::kInternal, start_error_);
  throw Failure(ErrorKind::kUnavailable, "container " + handle() + " ended meanwhile");
}

Task<void> Container::StartAndReport(std::shared_ptr<Container> self) {
  try {
    co_await Start();
  } catch (const Cancelled&) {
    start_error_ = "the worker is shutting down";
  } catch (const std::exception&) {
    start_error_ = CurrentError().Context("starting container " + handle()).message;
  }
  if (!start_error_.empty() && status_ == Status::kStarting) status_ = Status::kEnded;
  changed_.Notify();
  const Result<void> refilled =
      co_await services_.pool.Run([this] { return services_.launcher.Refill(); });
  if (!refilled) services_.log.Warn("no supervisor waits", {{"error", refilled.error().message}});
}

Task<void> Container::Start() {
  const std::stop_token stop = services_.tasks.stop_token();
  const Semaphore::Permit permit = co_await services_.starts.Acquire(stop);
  NetworkSlot slot;
  if (!spec_.netout_rules.empty()) {
    slot = co_await services_.network.Acquire(spec_.privileged, stop);
  } else {
    slot = co_await services_.network.AcquireClosed(spec_.privileged, stop);
  }
  Result<LaunchedSupervisor> launched =
      co_await services_.pool.Run([this, &slot]() -> Result<LaunchedSupervisor> {
        const auto path_of = [](const linux::UniqueFd& fd) {
          return fd ? "/proc/" + std::to_string(::getpid()) + "/fd/" + std::to_string(fd.get())
                    : "";
        };
        std::string hosts = "127.0.0.1 localhost\n::1 localhost\n";
        if (!slot.address.empty()) hosts += slot.address + " " + handle() + "\n";
        for (const std::string& line : services_.options.extra_hosts)
          hosts += line + "\n";
        // What a supervisor that was killed may have left.
        if (auto clean = services_.launcher.CleanUp(handle()); !clean) {
          return std::unexpected(std::move(clean).error());
        }
        auto written = folder_.MakeRunFolder();
        if (!written) return std::unexpected(written.error());
        written = linux::ReplaceFile(folder_.run_path() / "hosts", hosts, 0644);
        if (!written) return std::unexpected(written.error());
        written = linux::ReplaceFile(folder_.run_path() / "resolv.conf",
                                     services_.network.resolver_config(), 0644);
        if (!written) return std::unexpected(written.error());
        auto bundle =
            MakeBundle(spec_, {.cgroups = &services_.launcher.cgroups(),
                               .supervisor = services_.launcher.supervisor(),
                               .folder = folder_.run_path(),
                               .cgroup = services_.launcher.CgroupOf(handle()),
                               .network_namespace = path_of(slot.network),
                               .user_namespace = path_of(slot.user),
                               .processes_max = services_.options.processes_max,
                               .write_rate = services_.options.write_rate,
                               .work_dir = services_.options.work_dir,
                               .compiled_seccomp = services_.launcher.compiled_seccomp()});
        if (!bundle) return std::unexpected(std::move(bundle).error());
        written = linux::ReplaceFile(folder_.run_path() / "config.json", ToText(*bundle));
        if (!written) return std::unexpected(written.error());
        return services_.launcher.Launch(handle());
      });
  if (!launched) throw Failure(launched.error());
  link_ = std::make_shared<SupervisorLink>(services_.executor, std::move(launched->socket));
  services_.tasks.Spawn(Reap(shared_from_this(), std::move(launched->pidfd), launched->pid));
  following_ = true;
  services_.tasks.Spawn(Follow(shared_from_this()));
  while (status_ == Status::kStarting && start_error_.empty())
    co_await changed_.Wait(stop);
}

Task<void> Container::Reap(std::shared_ptr<Container> self, linux::UniqueFd pidfd, pid_t pid) {
  linux::WatchedFd watched(services_.executor, std::move(pidfd));
  co_await watched.Readable(services_.tasks.stop_token());
  ::waitpid(pid, nullptr, WNOHANG);
}

// --- Following the supervisor
// --------------------------------------------------------------------------

Task<void> Container::Follow(std::shared_ptr<Container> self) {
  const std::shared_ptr<SupervisorLink> link = link_;
  const std::stop_token stop = services_.tasks.stop_token();
  while (auto received = co_await link->Receive(stop))
    Handle(std::move(*received));
  co_await SupervisorGone();
}

void Container::Handle(SupervisorMessage received) {
  const PinionMessage& message = received.message;
  switch (message.kind) {
    case kPinionReady:
      if (status_ == Status::kStarting) status_ = Status::kRunning;
      break;
    case kPinionUnstarted:
      start_error_ = "starting container " + handle() + ": " + std::string(Trim(message.text));
      break;
    case kPinionEnded:
      end_reason_ = message.text;
      break;
    default:
      if (const auto found = by_number_.find(message.process); found != by_number_.end()) {
        const std::shared_ptr<ContainerProcess> process = found->second;
        HandleProcess(*process, std::move(received));
      }
  }
  changed_.Notify();
}

void Container::HandleProcess(ContainerProcess& process, SupervisorMessage received) {
  const PinionMessage& message = received.message;
  switch (message.kind) {
    case kPinionStarted:
      process.started = true;
      break;
    case kPinionOutput:
      process.size = {std::max(process.size[0], message.a), std::max(process.size[1], message.b)};
      break;
    case kPinionInput:
      process.input_answered = true;
      if (received.descriptor) {
        process.input =
            std::make_shared<linux::WatchedFd>(services_.executor, std::move(received.descriptor));
      }
      break;
    case kPinionExited:
      if (!process.end) {
        Finish(process, {.exit_status = static_cast<int>(message.a), .error = message.text});
      }
      break;
    case kPinionUnexecuted:
      if (!process.end) {
        Finish(process, {.exit_status = static_cast<int>(message.a),
                         .error = message.text,
                         .unexecuted = true});
      }
      break;
  }
  process.changed.Notify();
}

void Container::Finish(ContainerProcess& process, ProcessEnd end) {
  process.end = std::move(end);
  process.input.reset();
  process.changed.Notify();
}

Task<void> Container::SupervisorGone() {
  // What it could not tell any more is in its files.
  struct Stored {
    std::string ended;
    std::vector<StoredProcess> processes;
  };
  const Stored stored = co_await services_.pool.Run([this]() -> Stored {
    return {.ended = folder_.LoadEnded(), .processes = folder_.LoadProcesses()};
  });
  link_.reset();
  if (end_reason_.empty()) end_reason_ = stored.ended;
  const bool killed = end_reason_.empty();
  if (end_reason_.empty()) end_reason_ = "the supervisor of container " + handle() + " was killed";
  for (const StoredProcess& process : stored.processes) {
    const auto found = by_number_.find(process.number);
    if (found == by_number_.end() || found->second->end) continue;
    found->second->size = {process.stdout_size, process.stderr_size};
    Finish(*found->second, process.end.value_or(ProcessEnd{.error = end_reason_}));
  }
  for (const auto& [number, process] : by_number_) {
    if (!process->end) Finish(*process, {.error = end_reason_});
  }
  // Its step errs at once; then what it held on the machine goes, before anything is started anew.
  if (killed) {
    const Result<void> clean =
        co_await services_.pool.Run([this] { return services_.launcher.CleanUp(handle()); });
    if (!clean) {
      services_.log.LogError("something is left of a container whose supervisor was killed",
                             {{"container", handle()}, {"error", clean.error().message}});
    }
  }
  following_ = false;
  if (status_ == Status::kStarting && start_error_.empty()) {
    start_error_ = "starting container " + handle() + ": " + end_reason_;
  }
  if (status_ == Status::kRunning || status_ == Status::kStarting) status_ = Status::kEnded;
  end_reason_.clear();
  changed_.Notify();
}

Task<void> Container::Recover() {
  struct Found {
    Result<ContainerState> state;
    std::vector<StoredProcess> processes;
    bool supervised = false;
    Result<linux::UniqueFd> socket;
  };
  Found found = co_await services_.pool.Run([this]() -> Found {
    Found result{.state = folder_.LoadState(),
                 .processes = {},
                 .supervised = false,
                 .socket = linux::UniqueFd()};
    if (auto lock = linux::TryLockFile(folder_.run_path() / "lock"); lock && !*lock) {
      result.socket = ConnectToNewborn(folder_.run_path());
      result.supervised = result.socket.has_value();
    }
    // After the connection: what ends from now on is told by it.
    result.processes = folder_.LoadProcesses();
    return result;
  });
  if (found.state) state_ = std::move(*found.state);
  if (!found.socket) {
    services_.log.Warn("supervisor does not answer",
                       {{"container", handle()}, {"error", found.socket.error().message}});
  }
  for (StoredProcess& stored : found.processes) {
    auto process = std::make_shared<ContainerProcess>();
    process->id = stored.spec.id;
    process->number = stored.number;
    process->spec = std::move(stored.spec);
    process->folder = folder_.ProcessPath(process->number);
    process->started = true;
    process->size = {stored.stdout_size, stored.stderr_size};
    process->end = std::move(stored.end);
    next_number_ = std::max(next_number_, process->number + 1);
    by_id_[process->id] = process;
    by_number_[process->number] = std::move(process);
  }
  if (!found.supervised) {
    co_await SupervisorGone();
    status_ = Status::kEnded;
    co_return;
  }
  link_ = std::make_shared<SupervisorLink>(services_.executor, std::move(*found.socket));
  following_ = true;
  // It tells whether the container has come up yet.
  status_ = Status::kStarting;
  services_.tasks.Spawn(Follow(shared_from_this()));
  // The former worker may have died before it asked; who has heard of them already ignores it.
  co_await TellRunAgain();
}

// --- Stop and destroy
// ----------------------------------------------------------------------------------

Task<void> Container::Stop(bool kill, std::stop_token stop) {
  if (status_ != Status::kRunning) co_return;
  if (!kill && AnyRunning()) {
    co_await Tell(kPinionSignal, PINION_ALL_PROCESSES, SIGTERM, 0, stop);
    const Duration grace =
        state_.grace_time > 0 ? Duration(state_.grace_time) : services_.options.grace_time;
    Deadline deadline(services_.timers, grace, stop);
    try {
      while (AnyRunning())
        co_await changed_.Wait(deadline.token());
    } catch (const Cancelled&) {
      if (!deadline.expired()) throw;
    }
  }
  if (status_ != Status::kRunning) co_return;
  co_await Tell(kPinionSignal, PINION_ALL_PROCESSES, SIGKILL, 0, stop);
  Deadline deadline(services_.timers, std::chrono::seconds(5), stop);
  try {
    while (AnyRunning())
      co_await changed_.Wait(deadline.token());
    co_return;
  } catch (const Cancelled&) {
    if (!deadline.expired()) throw;
  }
  // Its init does not act any more: the kernel ends the namespace with it.
  co_await Tell(kPinionKill, 0, 0, 0, stop);
  while (AnyRunning())
    co_await changed_.Wait(stop);
}

Task<void> Container::Signal(std::shared_ptr<ContainerProcess> process, bool kill,
                             std::stop_token stop) {
  if (process->end) co_return;
  co_await Tell(kPinionSignal, process->number, kill ? SIGKILL : SIGTERM, 0, std::move(stop));
}

Task<void> Container::End(std::string why, std::stop_token stop) {
  const std::shared_ptr<SupervisorLink> link = link_;
  if (!link) co_return;
  PinionMessage message{};
  message.kind = kPinionKill;
  why.copy(message.text, kPinionTextBytes - 1);
  co_await link->Send(message, std::move(stop));
}

Task<void> Container::Destroy() {
  const std::stop_token stop = services_.tasks.stop_token();
  if (link_) {
    PinionMessage message{};
    message.kind = kPinionKill;
    const std::shared_ptr<SupervisorLink> link = link_;
    co_await link->Send(message, stop);
    Deadline deadline(services_.timers, std::chrono::seconds(10), stop);
    try {
      while (following_)
        co_await changed_.Wait(deadline.token());
    } catch (const Cancelled&) {
      if (!deadline.expired()) throw;
      services_.log.Warn("supervisor does not end its container", {{"container", handle()}});
    }
  }
  const Semaphore::Permit permit = co_await saving_.Acquire(stop);
  const Result<void> removed = co_await services_.pool.Run([this]() -> Result<void> {
    if (auto clean = services_.launcher.CleanUp(handle()); !clean) return clean;
    std::error_code error;
    std::filesystem::remove_all(folder_.path(), error);
    if (error) {
      return std::unexpected(SystemError("remove " + folder_.path().string(), error.value()));
    }
    return {};
  });
  if (!removed) throw Failure(removed.error());
  status_ = Status::kDestroyed;
  changed_.Notify();
}

}  // namespace pinion::worker
