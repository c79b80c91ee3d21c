#include "worker.h"

namespace pinion::simulation {
namespace {

using namespace std::chrono_literals;
using protocol::baggageclaim::Volume;

constexpr Duration kUnreachableLimit = std::chrono::minutes(5);

struct Calls {
  Worker& worker;
  WorkerWorld& world;
  Timers& timers;
};

Duration Latency(Calls calls) {
  return calls.world.random().OneIn(10) ? calls.world.random().Time(0ms, 3s)
                                        : calls.world.random().Time(0ms, 20ms);
}

/// The way to the worker; tries again while it cannot be reached.
Task<void> There(Calls calls, std::stop_token stop) {
  const SteadyTime limit = calls.timers.clock().Steady() + kUnreachableLimit;
  co_await calls.timers.Sleep(Latency(calls), stop);
  while (!calls.worker.reachable) {
    if (calls.timers.clock().Steady() >= limit) {
      throw calls.worker.Fail(ErrorKind::kUnavailable, "connection refused");
    }
    co_await calls.timers.Sleep(5s, stop);
  }
}

Task<void> Back(Calls calls, std::stop_token stop) {
  co_await There(calls, std::move(stop));
}

class Follower final : public fleet::ProcessFollower {
 public:
  Follower(Calls calls, std::string handle, std::shared_ptr<Worker::Process> process,
           std::uint64_t out, std::uint64_t err)
      : calls_(calls),
        handle_(std::move(handle)),
        process_(std::move(process)),
        offsets_{out, err} {}

  Task<fleet::ProcessOutput> Next(std::stop_token stop) override {
    for (;;) {
      co_await There(calls_, stop);
      const int first = calls_.world.random().OneIn(2) ? 0 : 1;
      for (const int stream : {first, 1 - first}) {
        const std::string& all = process_->output[stream];
        std::uint64_t& offset = offsets_[stream];
        if (offset < process_->freed[stream]) {
          calls_.world.Violation("output of " + handle_ + " is asked for again from " +
                                 std::to_string(offset) + ", it is kept from " +
                                 std::to_string(process_->freed[stream]));
        }
        if (offset >= all.size()) continue;
        const std::size_t length = 1 + calls_.world.random().Below(all.size() - offset);
        fleet::ProcessOutput chunk{
            .stream = stream + 1, .offset = offset, .bytes = all.substr(offset, length)};
        offset += length;
        co_return chunk;
      }
      if (process_->exit_status) {
        co_return fleet::ProcessOutput{.exit_status = process_->exit_status};
      }
      if (process_->stopped) {
        throw calls_.worker.Fail(ErrorKind::kNotFound, "container " + handle_ + " is gone");
      }
      co_await SuspendUntilStop<bool>(
          stop, [this](Waker<bool> waker) { process_->waiting.push_back(std::move(waker)); });
    }
  }

  void Acknowledge(std::uint64_t stdout_end, std::uint64_t stderr_end) override {
    process_->freed[0] = std::max(process_->freed[0], stdout_end);
    process_->freed[1] = std::max(process_->freed[1], stderr_end);
  }

 private:
  Calls calls_;
  std::string handle_;
  std::shared_ptr<Worker::Process> process_;
  std::uint64_t offsets_[2];
};

class Client final : public fleet::WorkerClient {
 public:
  explicit Client(Calls calls) : calls_(calls) {}

  const std::string& name() const override { return calls_.worker.name(); }

  Task<void> CreateContainer(protocol::garden::ContainerSpec spec, std::uint64_t epoch,
                             std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.Create(spec, epoch);
    co_await Back(calls_, stop);
  }
  Task<bool> ContainerExists(std::string handle, std::stop_token stop) override {
    co_await There(calls_, stop);
    co_return calls_.worker.containers.contains(handle);
  }
  Task<std::unique_ptr<fleet::ProcessFollower>> RunProcess(
      std::string handle, protocol::garden::ProcessSpec spec, std::string input,
      std::uint64_t stdout_offset, std::uint64_t stderr_offset, std::uint64_t epoch,
      std::stop_token stop) override {
    co_await There(calls_, stop);
    auto process = calls_.worker.Run(handle, spec, input, epoch);
    co_await Back(calls_, stop);
    co_return std::make_unique<Follower>(calls_, std::move(handle), std::move(process),
                                         stdout_offset, stderr_offset);
  }
  Task<std::unique_ptr<fleet::InteractiveProcess>> RunInteractive(std::string,
                                                                  protocol::garden::ProcessSpec,
                                                                  std::stop_token) override {
    throw calls_.worker.Fail(ErrorKind::kInvalid, "no shells in the simulation");
    co_return nullptr;
  }
  Task<void> StopContainer(std::string handle, bool kill, std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.Stop(handle, kill);
    co_await Back(calls_, stop);
  }
  Task<void> DestroyContainer(std::string handle, std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.Destroy(handle);
    co_await Back(calls_, stop);
  }
  Task<std::map<std::string, std::string>> Properties(std::string handle,
                                                      std::stop_token stop) override {
    co_await There(calls_, stop);
    co_return calls_.worker.Find(handle).properties;
  }
  Task<void> SetProperty(std::string handle, std::string name, std::string value,
                         std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.Find(handle).properties[name] = value;
  }
  Task<std::vector<std::string>> ListContainers(std::stop_token stop) override {
    co_await There(calls_, stop);
    std::vector<std::string> handles;
    for (const auto& [handle, container] : calls_.worker.containers)
      handles.push_back(handle);
    co_await Back(calls_, stop);
    co_return handles;
  }

  Task<Volume> CreateVolume(protocol::baggageclaim::VolumeRequest request,
                            std::stop_token stop) override {
    co_await There(calls_, stop);
    Volume volume = calls_.worker.CreateVolume(request);
    co_await Back(calls_, stop);
    co_return volume;
  }
  Task<std::optional<Volume>> FindVolume(std::string handle, std::stop_token stop) override {
    co_await There(calls_, stop);
    if (!calls_.worker.volumes.contains(handle)) co_return std::nullopt;
    co_return Volume{.handle = handle, .path = "/volumes/" + handle};
  }
  Task<void> DestroyVolume(std::string handle, std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.DestroyVolume(handle);
    co_await Back(calls_, stop);
  }
  Task<std::vector<std::string>> ListVolumes(std::stop_token stop) override {
    co_await There(calls_, stop);
    std::vector<std::string> handles;
    for (const auto& [handle, volume] : calls_.worker.volumes)
      handles.push_back(handle);
    co_await Back(calls_, stop);
    co_return handles;
  }
  Task<void> StreamIn(std::string handle, std::string, std::string, http::BodyReader& tar,
                      std::stop_token stop) override {
    co_await There(calls_, stop);
    char buffer[64];
    while (co_await tar.Read(buffer, stop) > 0) {
    }
    calls_.worker.FindVolume(handle);
    co_await Back(calls_, stop);
  }
  Task<std::unique_ptr<http::BodyReader>> StreamOut(std::string handle, std::string, std::string,
                                                    std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.FindVolume(handle);
    co_return std::make_unique<Empty>();
  }
  Task<std::string> ReadFile(std::string handle, std::string path, std::size_t,
                             std::stop_token stop) override {
    co_await There(calls_, stop);
    co_return calls_.worker.ReadFile(handle, path);
  }
  Task<void> SetPrivileged(std::string handle, bool privileged, std::stop_token stop) override {
    co_await There(calls_, stop);
    calls_.worker.FindVolume(handle).privileged = privileged;
  }
  Task<bool> PullsImages(std::stop_token stop) override {
    co_await There(calls_, stop);
    co_return false;
  }
  Task<std::optional<protocol::baggageclaim::Disk>> FindDisk(std::stop_token stop) override {
    co_await There(calls_, stop);
    co_return std::nullopt;
  }

 private:
  class Empty final : public http::BodyReader {
   public:
    Task<std::size_t> Read(std::span<char>, std::stop_token) override { co_return 0; }
  };
  Calls calls_;
};

}  // namespace

std::unique_ptr<fleet::WorkerClient> MakeSimulatedClient(Worker& worker, WorkerWorld& world,
                                                         Timers& timers) {
  return std::make_unique<Client>(Calls{worker, world, timers});
}

}  // namespace pinion::simulation
