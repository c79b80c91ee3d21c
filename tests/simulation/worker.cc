#include "worker.h"

#include <algorithm>

#include "base/json.h"

namespace pinion::simulation {
namespace {

using namespace std::chrono_literals;

std::string VersionJson(const std::string& version) {
  return ToText(JsonObject{{"v", version}});
}

std::string SourceName(const Json& request) {
  const Json* source = request.Find("source");
  return source ? std::string(source->StringAt("name")) : "";
}

}  // namespace

Worker::Container& Worker::Find(const std::string& handle) {
  const auto found = containers.find(handle);
  if (found == containers.end()) throw Fail(ErrorKind::kNotFound, "unknown container " + handle);
  return found->second;
}

Worker::Volume& Worker::FindVolume(const std::string& handle) {
  const auto found = volumes.find(handle);
  if (found == volumes.end()) throw Fail(ErrorKind::kNotFound, "unknown volume " + handle);
  return found->second;
}

void Worker::Create(const protocol::garden::ContainerSpec& spec, std::uint64_t epoch) {
  const auto known = containers.find(spec.handle);
  if (known != containers.end()) {
    if (epoch < known->second.epoch) {
      throw Fail(ErrorKind::kConflict, "container " + spec.handle + " has a later owner");
    }
    known->second.epoch = epoch;
    return;
  }
  Container container{.epoch = epoch, .properties = spec.properties};
  std::vector<std::string> paths;
  for (const auto& mount : spec.bind_mounts)
    paths.push_back(mount.src_path);
  constexpr std::string_view kRaw = "raw:///volumes/";
  if (spec.rootfs.starts_with(kRaw)) paths.push_back(spec.rootfs.substr(6));
  for (std::string path : paths) {
    path = path.substr(std::string_view("/volumes/").size());
    path = path.substr(0, path.find('/'));
    FindVolume(path);
    container.volumes.push_back(std::move(path));
  }
  world_.Note("create " + spec.handle);
  containers.emplace(spec.handle, std::move(container));
}

std::shared_ptr<Worker::Process> Worker::Run(const std::string& handle,
                                             const protocol::garden::ProcessSpec& spec,
                                             const std::string& input, std::uint64_t epoch) {
  Container& container = Find(handle);
  if (epoch < container.epoch) {
    throw Fail(ErrorKind::kConflict, "container " + handle + " has a later owner");
  }
  container.epoch = epoch;
  std::shared_ptr<Process>& process = container.processes[spec.id];
  if (process) return process;
  process = std::make_shared<Process>();
  world_.Note("start " + handle + " " + spec.id);
  world_.ProcessStarts(handle, spec.id);
  Transcript& transcript = transcripts[handle];
  if (++transcript.starts > 1 && !lost.contains(handle)) {
    world_.Violation("process " + spec.id + " of container " + handle + " was started twice");
  }
  transcript.output[0].clear();
  transcript.output[1].clear();
  transcript.ended = false;
  Begin(handle, spec, input, process);
  return process;
}

void Worker::Later(Duration delay, const std::string& handle, std::shared_ptr<Process> process,
                   std::function<void()> action) {
  world_.At(world_.Now() + delay,
            [this, handle, process = std::move(process), action = std::move(action)] {
              if (process->exit_status || process->stopped || !containers.contains(handle)) return;
              action();
            });
}

void Worker::Print(const std::string& handle, const std::shared_ptr<Process>& process, int stream,
                   const std::string& text) {
  process->output[stream] += text;
  transcripts[handle].output[stream] += text;
  for (const Waker<bool>& waker : std::exchange(process->waiting, {}))
    waker(true);
}

void Worker::End(const std::string& handle, const std::shared_ptr<Process>& process, int status) {
  world_.Note("end " + handle + " " + std::to_string(status));
  process->exit_status = status;
  transcripts[handle].ended = true;
  for (const Waker<bool>& waker : std::exchange(process->waiting, {}))
    waker(true);
}

/// "task" LINES MILLISECONDS-EACH END, where END is an exit status, "flaky" or "hang".
void Worker::BeginTask(const std::string& handle, const std::vector<std::string>& args,
                       const std::shared_ptr<Process>& process) {
  const int lines = std::stoi(args.at(0));
  const Duration each = std::chrono::milliseconds(std::stoi(args.at(1)));
  Duration at{};
  for (int i = 1; i <= lines; ++i) {
    at += world_.random().Time(each / 2, each * 3 / 2);
    const int stream = world_.random().OneIn(4) ? 1 : 0;
    const std::string line = "line " + std::to_string(i) + " of " + handle + "\n";
    // Some lines come in two pieces, with a pause between them.
    const std::size_t cut = world_.random().OneIn(3) ? line.size() / 2 : line.size();
    Later(at, handle, process, [=, this] { Print(handle, process, stream, line.substr(0, cut)); });
    if (cut < line.size()) {
      at += world_.random().Time(1ms, 1500ms);
      Later(at, handle, process, [=, this] { Print(handle, process, stream, line.substr(cut)); });
    }
  }
  const std::string& end = args.at(2);
  if (end == "hang") return;
  const int status = end == "flaky" ? static_cast<int>(HashText(handle) % 2) : std::stoi(end);
  Later(at + 1ms, handle, process, [=, this] { End(handle, process, status); });
}

void Worker::Begin(const std::string& handle, const protocol::garden::ProcessSpec& spec,
                   const std::string& input, const std::shared_ptr<Process>& process) {
  if (spec.path == "sim") {
    BeginTask(handle, spec.args, process);
    return;
  }
  const Json request = ValueOrThrow(ParseJson(input));
  const std::string resource = SourceName(request);
  const Duration takes = world_.random().Time(20ms, 2s);
  const bool fails = world_.faults() && world_.random().OneIn(15);
  const bool hangs = world_.faults() && handle.starts_with("check-") && world_.random().OneIn(60);
  Later(takes / 2, handle, process,
        [=, this] { Print(handle, process, 1, spec.path + " of " + resource + "\n"); });
  if (hangs) return;
  Later(takes, handle, process, [=, this] {
    if (fails) {
      Print(handle, process, 1, "no luck today");
      End(handle, process, 1);
      return;
    }
    std::vector<std::string>& versions = world_.VersionsOf(resource);
    std::string output;
    if (spec.path.ends_with("check")) {
      const Json* from = request.Find("version");
      const std::string last(from && from->IsObject() ? from->StringAt("v") : "");
      auto begin = std::ranges::find(versions, last);
      if (begin == versions.end() && !versions.empty()) begin = versions.end() - 1;
      for (; begin != versions.end(); ++begin)
        output += (output.empty() ? "[" : ",") + VersionJson(*begin);
      output += output.empty() ? "[]" : "]";
    } else if (spec.path.ends_with("in")) {
      output = ToText(JsonObject{{"version", *request.Find("version")}, {"metadata", JsonArray()}});
    } else {
      versions.push_back("put-" + handle);
      world_.Note("put " + handle);
      output = "{\"version\":" + VersionJson(versions.back()) + "}";
    }
    Print(handle, process, 0, output.substr(0, output.size() / 2));
    Print(handle, process, 0, output.substr(output.size() / 2));
    End(handle, process, 0);
  });
}

void Worker::Stop(const std::string& handle, bool kill) {
  Container& container = Find(handle);
  for (const auto& [id, process] : container.processes) {
    if (process->exit_status || process->stopped) continue;
    process->stopped = true;
    if (!kill) Print(handle, process, 0, "stopped\n");
    // One in three does not hear SIGTERM.
    if (!kill && HashText(handle) % 3 == 0) {
      process->stopped = false;
      continue;
    }
    End(handle, process, kill ? 137 : 143);
  }
}

void Worker::Destroy(const std::string& handle) {
  const auto found = containers.find(handle);
  if (found == containers.end()) return;
  for (const auto& [id, process] : found->second.processes) {
    process->stopped = true;
    for (const Waker<bool>& waker : std::exchange(process->waiting, {}))
      waker(true);
  }
  world_.Note("destroy " + handle);
  containers.erase(found);
}

protocol::baggageclaim::Volume Worker::CreateVolume(
    const protocol::baggageclaim::VolumeRequest& request) {
  if (!volumes.contains(request.handle)) {
    Volume volume{.strategy = request.strategy, .privileged = request.privileged};
    volume.parent = request.strategy.StringAt("volume");
    if (!volume.parent.empty()) FindVolume(volume.parent);
    world_.Note("volume " + request.handle);
    volumes.emplace(request.handle, std::move(volume));
  }
  return {.handle = request.handle, .path = "/volumes/" + request.handle};
}

void Worker::DestroyVolume(const std::string& handle) {
  for (const auto& [name, container] : containers) {
    if (std::ranges::find(container.volumes, handle) != container.volumes.end()) {
      throw Fail(ErrorKind::kConflict, "volume " + handle + " is used by container " + name);
    }
  }
  world_.Note("destroy volume " + handle);
  volumes.erase(handle);
}

std::string Worker::ReadFile(const std::string& handle, const std::string& path) const {
  if (!volumes.contains(handle)) throw Fail(ErrorKind::kNotFound, "unknown volume " + handle);
  if (path.ends_with("metadata.json")) return R"({"env":["A=b"],"user":"me"})";
  if (path.ends_with("passwd")) return "me:x:7:7::/:/bin/sh\n";
  if (path.ends_with("task.yml")) {
    return "platform: linux\nrootfs_uri: raw:///sim\nrun: {path: sim, args: ['2', '100', '0']}\n";
  }
  if (path.ends_with("value")) return "v1";
  if (path.ends_with("pipeline.yml")) {
    return "jobs: [{name: inner, plan: [{task: t, config: {platform: linux, rootfs_uri: "
           "'raw:///sim', run: {path: sim, args: ['1', '10', '0']}}}]}]\n";
  }
  throw Fail(ErrorKind::kNotFound, "no file " + path);
}

void Worker::LoseEverything() {
  for (const auto& [handle, container] : containers)
    lost.insert(handle);
  while (!containers.empty())
    Destroy(containers.begin()->first);
  volumes.clear();
}

}  // namespace pinion::simulation
