#include "worker/containers/container.h"

#include <algorithm>
#include <cerrno>

#include "worker/containers/bundle.h"
#include "worker/containers/process_spec.h"
#include "worker/id_mapping.h"

namespace pinion::worker {
namespace {

using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

/// Ended processes that are remembered per container: checks run in one container again and again.
constexpr std::size_t kEndedProcessesMax = 16;

/// Disk space of output is freed in whole units, and not for a trifle.
constexpr std::int64_t kDiscardUnit = 64 << 10;
constexpr std::int64_t kDiscardBytesMin = 1 << 20;

}  // namespace

Container::Container(ContainerServices& services, ContainerSpec spec)
    : services_(services),
      spec_(std::move(spec)),
      folder_(services.options.work_dir / "containers" / spec_.handle,
              services.launcher.RunFolder(spec_.handle)) {}

Task<void> Container::Store(std::int64_t epoch) {
  state_.epoch = epoch;
  state_.properties = spec_.properties;
  state_.grace_time = spec_.grace_time;
  const Result<void> made = co_await services_.pool.Run([this]() -> Result<void> {
    if (auto stored = folder_.Make(spec_); !stored) return stored;
    return folder_.SaveState(state_);
  });
  if (!made) throw Failure(made.error());
}

Task<void> Container::Tell(std::uint32_t kind, std::uint32_t process, std::int64_t a,
                           std::int64_t b, std::stop_token stop) {
  const std::shared_ptr<SupervisorLink> link = link_;
  bool sent = false;
  if (link) {
    PinionMessage message{};
    message.kind = kind;
    message.process = process;
    message.a = a;
    message.b = b;
    sent = co_await link->Send(message, std::move(stop));
  }
  if (!sent) {
    throw Failure(ErrorKind::kUnavailable, "the supervisor of container " + handle() + " is gone");
  }
}

// --- Processes
// --------------------------------------------------------------------------------------

std::shared_ptr<ContainerProcess> Container::FindProcess(const std::string& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

bool Container::AnyRunning() const {
  return std::ranges::any_of(by_number_, [](const auto& item) { return !item.second->end; });
}

Task<std::shared_ptr<ContainerProcess>> Container::Run(ProcessSpec spec, std::stop_token stop) {
  std::optional<std::string> input = std::exchange(spec.input, std::nullopt);
  // Kept alive by the caller's shared_ptr; one start at a time makes "the same id" well defined.
  const Semaphore::Permit permit = co_await running_.Acquire(stop);
  if (auto process = FindProcess(spec.id); process && !process->end) {
    if (ToJson(process->spec) == ToJson(spec)) co_return process;
    throw Failure(ErrorKind::kConflict, "process " + spec.id + " of container " + handle() +
                                            " runs already, with another specification");
  }
  co_await EnsureRunning(stop);
  auto process = co_await StartProcess(std::move(spec), std::move(input), std::move(stop));
  co_return process;
}

Task<void> Container::TellRun(const ContainerProcess& process, ContainerUser user, bool has_input,
                              std::stop_token stop) {
  const std::uint64_t base = spec_.privileged ? 0 : kHostIdBase;
  const std::uint64_t owner = (user.uid + base) << 32 | (user.gid + base);
  const std::int64_t stdin_kind = process.has_terminal() ? kPinionTerminal
                                  : has_input            ? kPinionStoredInput
                                                         : kPinionPipedInput;
  co_await Tell(kPinionRun, process.number, stdin_kind, static_cast<std::int64_t>(owner),
                std::move(stop));
}

Task<void> Container::TellRunAgain() {
  std::vector<std::shared_ptr<ContainerProcess>> running;
  for (const auto& [number, process] : by_number_) {
    if (!process->end) running.push_back(process);
  }
  for (const std::shared_ptr<ContainerProcess>& process : running) {
    struct Found {
      Result<InitSpec> init_spec;
      bool has_input = false;
    };
    Found found = co_await services_.pool.Run([this, process]() -> Found {
      auto rootfs = RootfsFolder(spec_);
      if (!rootfs) return {.init_spec = std::unexpected(std::move(rootfs).error())};
      return {.init_spec = MakeInitSpec(spec_, process->spec, *rootfs),
              .has_input = folder_.HasInput(process->number)};
    });
    try {
      const InitSpec init_spec = ValueOrThrow(std::move(found.init_spec));
      co_await TellRun(*process, init_spec.user, found.has_input, services_.tasks.stop_token());
    } catch (const Failure& failure) {
      services_.log.Warn(
          "a process may not have been started",
          {{"container", handle()}, {"process", process->id}, {"error", failure.error().message}});
    }
  }
}

Task<std::shared_ptr<ContainerProcess>> Container::StartProcess(ProcessSpec spec,
                                                                std::optional<std::string> input,
                                                                std::stop_token stop) {
  auto process = std::make_shared<ContainerProcess>();
  process->id = spec.id;
  process->number = next_number_++;
  process->spec = std::move(spec);
  process->folder = folder_.ProcessPath(process->number);

  const Result<ContainerUser> user =
      co_await services_.pool.Run([this, process, input]() -> Result<ContainerUser> {
        auto rootfs = RootfsFolder(spec_);
        if (!rootfs) return std::unexpected(std::move(rootfs).error());
        auto init_spec = MakeInitSpec(spec_, process->spec, *rootfs);
        if (!init_spec) return std::unexpected(std::move(init_spec).error());
        auto made = folder_.MakeProcess(process->number, process->spec, init_spec->text, input);
        if (!made) return std::unexpected(std::move(made).error());
        return init_spec->user;
      });
  if (!user) throw Failure(user.error());
  if (status_ != Status::kRunning) {
    throw Failure(ErrorKind::kUnavailable, "container " + handle() + " ended meanwhile");
  }
  by_number_[process->number] = process;
  by_id_[process->id] = process;
  co_await TellRun(*process, *user, input.has_value(), stop);
  while (!process->started && !process->end)
    co_await process->changed.Wait(stop);
  if (process->end && process->end->unexecuted) {
    const int cause = process->end->exit_status;
    std::string message = "process " + process->id + ": ";
    message += process->end->error.empty() ? "exec " + process->spec.path : process->end->error;
    if (cause != 0) message = SystemError(message, cause).message;
    by_number_.erase(process->number);
    if (FindProcess(process->id) == process) by_id_.erase(process->id);
    if (process->end->error.empty() && (cause == ENOENT || cause == ENOTDIR)) {
      throw ExecutableNotFound(message);
    }
    throw Failure(ErrorKind::kInvalid, message);
  }
  ForgetOldProcesses();
  co_return process;
}

void Container::ForgetOldProcesses() {
  std::vector<std::shared_ptr<ContainerProcess>> ended;
  for (const auto& [number, process] : by_number_) {
    if (process->end) ended.push_back(process);
  }
  if (ended.size() <= kEndedProcessesMax) return;
  for (std::size_t i = 0; i < ended.size() - kEndedProcessesMax; ++i) {
    const std::uint32_t number = ended[i]->number;
    PinionMessage message{};
    message.kind = kPinionForget;
    message.process = number;
    if (link_) link_->TrySend(message);
    by_number_.erase(number);
    if (FindProcess(ended[i]->id) == ended[i]) by_id_.erase(ended[i]->id);
    folder_.RemoveProcess(number);
  }
}

Task<std::shared_ptr<linux::WatchedFd>> Container::OpenInput(
    std::shared_ptr<ContainerProcess> process, std::stop_token stop) {
  if (process->input || process->end) co_return process->input;
  process->input_answered = false;
  co_await Tell(kPinionGiveInput, process->number, 0, 0, stop);
  while (!process->input_answered && !process->end)
    co_await process->changed.Wait(stop);
  co_return process->input;
}

Task<void> Container::CloseInput(std::shared_ptr<ContainerProcess> process, std::stop_token stop) {
  if (process->end) co_return;
  process->input.reset();
  co_await Tell(kPinionCloseInput, process->number, 0, 0, std::move(stop));
}

void Container::Delivered(ContainerProcess& process, OutputStream stream, std::int64_t offset) {
  const auto index = static_cast<std::size_t>(stream);
  process.delivered[index] = std::max(process.delivered[index], offset);
  // Only far enough ahead to matter: the supervisor blocks the pipe at the limit.
  if (process.end ||
      process.delivered[index] - process.told[index] < services_.options.unread_bytes_max / 8) {
    return;
  }
  PinionMessage message{};
  message.kind = kPinionDelivered;
  message.process = process.number;
  message.a = process.delivered[0];
  message.b = process.delivered[1];
  process.told = process.delivered;
  if (link_) link_->TrySend(message);
}

Task<void> Container::Acknowledge(std::shared_ptr<ContainerProcess> process,
                                  std::array<std::int64_t, 2> offsets) {
  for (const OutputStream stream : {OutputStream::kStdout, OutputStream::kStderr}) {
    const auto index = static_cast<std::size_t>(stream);
    Delivered(*process, stream, std::min(offsets[index], process->size[index]));
    const std::int64_t from = process->discarded[index];
    const std::int64_t to = std::min(offsets[index], process->size[index]) & ~(kDiscardUnit - 1);
    if (to - from < kDiscardBytesMin) continue;
    process->discarded[index] = to;
    co_await services_.pool.Run(
        [process, stream, from, to] { DiscardOutput(process->folder, stream, from, to); });
  }
}

// --- State
// --------------------------------------------------------------------------------------------

Task<void> Container::SaveState() {
  const Semaphore::Permit permit = co_await saving_.Acquire({});
  if (status_ == Status::kDestroyed) co_return;
  const Result<void> saved =
      co_await services_.pool.Run([this, state = state_] { return folder_.SaveState(state); });
  if (!saved) throw Failure(saved.error());
}

Task<void> Container::SetProperty(std::string name, std::string value) {
  state_.properties[std::move(name)] = std::move(value);
  co_await SaveState();
}

Task<void> Container::RemoveProperty(std::string name) {
  state_.properties.erase(name);
  co_await SaveState();
}

Task<void> Container::SetGraceTime(std::int64_t nanoseconds) {
  state_.grace_time = std::max<std::int64_t>(0, nanoseconds);
  co_await SaveState();
}

Task<void> Container::CheckEpoch(std::int64_t epoch) {
  if (epoch < state_.epoch) {
    throw Failure(ErrorKind::kConflict,
                  "epoch " + std::to_string(epoch) + " is out of date: epoch " +
                      std::to_string(state_.epoch) + " owns container " + handle());
  }
  if (epoch == state_.epoch) co_return;
  state_.epoch = epoch;
  co_await SaveState();
}

}  // namespace pinion::worker
