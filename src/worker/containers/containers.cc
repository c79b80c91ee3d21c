#include "worker/containers/containers.h"

#include <algorithm>

#include "base/encoding.h"
#include "worker/containers/bundle.h"

namespace pinion::worker {

namespace fs = std::filesystem;
using protocol::garden::ContainerSpec;

Containers::Containers(Executor executor, Timers& timers, Logger log, ThreadPool& pool,
                       Network& network, ContainersOptions options)
    : options_(std::move(options)),
      log_(std::move(log)),
      pool_(pool),
      launcher_(options_),
      starts_(std::max<std::size_t>(1, options_.starts_max)),
      tasks_(executor, log_, "containers"),
      services_{.options = options_,
                .launcher = launcher_,
                .network = network,
                .pool = pool,
                .timers = timers,
                .starts = starts_,
                .tasks = tasks_,
                .executor = executor,
                .log = log_} {}

Task<Result<void>> Containers::Start() {
  Result<void> prepared = co_await pool_.Run([this] { return launcher_.Prepare(); });
  if (!prepared) co_return prepared;
  co_await RecoverAll();
  co_return Result<void>();
}

Task<void> Containers::RecoverAll() {
  struct Entry {
    std::string handle;
    Result<ContainerSpec> spec;
  };
  const std::vector<Entry> entries = co_await pool_.Run([this] {
    std::vector<Entry> found;
    std::error_code error;
    for (fs::directory_iterator entry(options_.work_dir / "containers", error), last;
         !error && entry != last; entry.increment(error)) {
      found.push_back({.handle = entry->path().filename(),
                       .spec = ContainerFolder(entry->path(), {}).LoadSpec()});
    }
    return found;
  });
  for (const Entry& entry : entries) {
    if (entry.spec && entry.spec->handle == entry.handle) {
      auto container = std::make_shared<Container>(services_, *entry.spec);
      co_await container->Recover();
      containers_[entry.handle] = std::move(container);
    } else {
      // Its creation was interrupted before anything started.
      log_.Warn("removing the rest of a half-made container", {{"container", entry.handle}});
      ContainerSpec debris;
      debris.handle = entry.handle;
      auto container = std::make_shared<Container>(services_, std::move(debris));
      co_await container->Destroy();
    }
  }
  if (!entries.empty())
    log_.Info("containers taken up", {{"count", static_cast<long long>(size())}});
}

Task<void> Containers::Shutdown() {
  tasks_.RequestStop();
  co_await tasks_.Join();
  containers_.clear();
}

Task<std::shared_ptr<Container>> Containers::Create(ContainerSpec spec, std::stop_token stop,
                                                    std::optional<std::int64_t> epoch) {
  if (spec.handle.empty()) spec.handle = RandomUuid();
  if (auto good = CheckHandle(spec.handle); !good) throw Failure(good.error());
  if (auto rootfs = RootfsFolder(spec); !rootfs) throw Failure(rootfs.error());
  std::shared_ptr<Container> container;
  if (const auto found = containers_.find(spec.handle); found != containers_.end()) {
    container = found->second;
    if (epoch) co_await container->CheckEpoch(*epoch);
    if (ToJson(container->spec()) != ToJson(spec)) {
      throw Failure(ErrorKind::kConflict,
                    "container " + spec.handle + " exists already, with another specification");
    }
    // One that has ended is started again when something is to run in it, and not before.
    if (!container->has_ended()) co_await container->EnsureRunning(std::move(stop));
    co_return container;
  }
  if (containers_.size() >= options_.containers_max) {
    throw Failure(ErrorKind::kTooLarge,
                  "this worker has " + std::to_string(containers_.size()) +
                      " containers, its limit: wait until some are gone or raise the limit");
  }
  container = std::make_shared<Container>(services_, std::move(spec));
  const std::string handle = container->handle();
  containers_[handle] = container;
  try {
    co_await container->Store(epoch.value_or(0));
    co_await container->EnsureRunning(stop);
  } catch (const Failure&) {
    log_.Warn("container not created", {{"container", handle}, {"error", CurrentError().message}});
    // Nothing is left of what could not be made: the next try starts from nothing.
    tasks_.Spawn(
        DestroyAndReport(container, std::make_shared<Event>(), std::make_shared<std::string>()));
    throw;
  }
  co_return container;
}

Result<std::shared_ptr<Container>> Containers::Find(const std::string& handle) const {
  const auto found = containers_.find(handle);
  if (found == containers_.end()) {
    return Fail(ErrorKind::kNotFound, "unknown handle: " + handle);
  }
  return found->second;
}

std::vector<std::string> Containers::List(
    const std::map<std::string, std::string>& properties) const {
  std::vector<std::string> handles;
  for (const auto& [handle, container] : containers_) {
    const auto& own = container->state().properties;
    const bool matches = std::ranges::all_of(properties, [&](const auto& wanted) {
      const auto value = own.find(wanted.first);
      return value != own.end() && value->second == wanted.second;
    });
    if (matches) handles.push_back(handle);
  }
  return handles;
}

std::vector<std::shared_ptr<Container>> Containers::Running() const {
  std::vector<std::shared_ptr<Container>> running;
  for (const auto& [handle, container] : containers_) {
    if (container->status() == Container::Status::kRunning) running.push_back(container);
  }
  return running;
}

Task<void> Containers::DestroyAndReport(std::shared_ptr<Container> container,
                                        std::shared_ptr<Event> done,
                                        std::shared_ptr<std::string> error) {
  try {
    co_await container->Destroy();
    const auto found = containers_.find(container->handle());
    if (found != containers_.end() && found->second == container) containers_.erase(found);
  } catch (const Failure& failure) {
    *error = failure.error().message;
    log_.LogError("container not destroyed",
                  {{"container", container->handle()}, {"error", *error}});
  }
  done->Set();
}

Task<void> Containers::Destroy(std::string handle, std::stop_token stop) {
  const std::shared_ptr<Container> container = ValueOrThrow(Find(handle));
  auto done = std::make_shared<Event>();
  auto error = std::make_shared<std::string>();
  // It is carried through when the caller goes away.
  if (!tasks_.Spawn(DestroyAndReport(container, done, error))) throw Cancelled();
  co_await done->Wait(std::move(stop));
  if (!error->empty()) throw Failure(ErrorKind::kInternal, *error);
}

}  // namespace pinion::worker
