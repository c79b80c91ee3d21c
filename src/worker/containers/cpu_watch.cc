#include "worker/containers/cpu_watch.h"

#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <string_view>

#include "base/files.h"
#include "base/text.h"
#include "linux/files.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;

// Shares of who asks for none, as the kernel has it; on v2 that is a weight of 100.
constexpr std::uint32_t kShares = 1024;
constexpr std::int64_t kWeight = 100;
constexpr std::int64_t kLowering = 32;
// Of a CPU: who uses less does not count as one who wants his part.
constexpr double kBusy = 0.1;
// Times the fair part: more is too much, less is too little.
constexpr double kTooMuch = 1.1;
constexpr double kTooLittle = 0.5;

/// CPU time of all that ever ran in the cgroup, in nanoseconds.
std::optional<std::int64_t> UsedTime(const linux::CgroupLayout& cgroups,
                                     const std::string& cgroup) {
  if (cgroups.unified()) {
    constexpr std::string_view kName = "usage_usec ";
    const std::string text =
        ReadFile(*cgroups.Controller("cpu") / cgroup / "cpu.stat").value_or("");
    const std::size_t at = text.find(kName);
    if (at == std::string::npos) return std::nullopt;
    const std::string_view rest = std::string_view(text).substr(at + kName.size());
    const auto microseconds = ParseNumber(rest.substr(0, rest.find('\n')));
    if (!microseconds) return std::nullopt;
    return *microseconds * 1000;
  }
  const auto root = cgroups.Controller("cpuacct");
  if (!root) return std::nullopt;
  return ParseNumber(Trim(ReadFile(*root / cgroup / "cpuacct.usage").value_or("")));
}

std::optional<fs::path> WeightFile(const linux::CgroupLayout& cgroups, const std::string& cgroup) {
  const auto root = cgroups.Controller("cpu");
  if (!root) return std::nullopt;
  return *root / cgroup / (cgroups.unified() ? "cpu.weight" : "cpu.shares");
}

/// As the file has it.
std::int64_t Weight(const linux::CgroupLayout& cgroups, std::uint32_t shares, bool lowered) {
  std::int64_t weight = shares > 0 ? shares : kShares;
  std::int64_t least = 2;
  if (cgroups.unified()) {
    // As runtimes turn shares into weights.
    weight = shares > 0 ? 1 + (std::clamp<std::int64_t>(shares, 2, 262'144) - 2) * 9999 / 262'142
                        : kWeight;
    least = 1;
  }
  return lowered ? std::max(weight / kLowering, least) : weight;
}

}  // namespace

std::map<std::string, bool> ChangesOfRank(const std::vector<CpuUse>& uses, double cpus,
                                          double always) {
  // Whoever comes next finds his part, too.
  double weights = kShares;
  for (const CpuUse& use : uses) {
    if (use.cpus >= kBusy) weights += use.weight;
  }
  const auto fair = [&](const CpuUse& use) {
    return std::max(always, cpus * use.weight / weights);
  };
  std::map<std::string, bool> changes;
  for (const CpuUse& use : uses) {
    if (!use.lowered && use.cpus > kTooMuch * fair(use)) changes[use.handle] = true;
  }
  // What those had too much of, nobody lacks from now on.
  if (!changes.empty()) return changes;
  for (const CpuUse& use : uses) {
    if (use.lowered && use.cpus < kTooLittle * fair(use)) changes[use.handle] = false;
  }
  return changes;
}

CpuWatch::CpuWatch(Executor executor, Timers& timers, ThreadPool& pool, Logger log,
                   Containers& containers, CpuWatchOptions options)
    : timers_(timers),
      pool_(pool),
      log_(log),
      containers_(containers),
      options_(options),
      tasks_(std::move(executor), log, "cpu watch") {
  if (options_.cpus <= 0) options_.cpus = static_cast<double>(::sysconf(_SC_NPROCESSORS_ONLN));
}

void CpuWatch::Start() {
  last_look_ = timers_.clock().Steady();
  tasks_.Spawn(Watch());
}

Task<void> CpuWatch::Shutdown() {
  tasks_.RequestStop();
  co_await tasks_.Join();
  std::vector<Entry> lowered = Entries();
  std::erase_if(lowered, [](const Entry& entry) { return !entry.seen.lowered; });
  seen_.clear();
  co_await pool_.Run([cgroups = containers_.launcher().cgroups(), lowered] {
    for (const Entry& entry : lowered)
      Write(cgroups, entry, false);
  });
}

Task<void> CpuWatch::Watch() {
  while (true) {
    co_await timers_.Sleep(options_.interval, tasks_.stop_token());
    co_await Look();
  }
}

std::vector<std::string> CpuWatch::Lowered() const {
  std::vector<std::string> handles;
  for (const auto& [handle, seen] : seen_) {
    if (seen.lowered) handles.push_back(handle);
  }
  return handles;
}

std::vector<CpuWatch::Entry> CpuWatch::Entries() const {
  std::vector<Entry> entries;
  for (const std::shared_ptr<Container>& container : containers_.Running()) {
    const protocol::garden::CpuLimits& asked = container->spec().limits.cpu_limits;
    const auto seen = seen_.find(container->handle());
    entries.push_back({.handle = container->handle(),
                       .cgroup = containers_.launcher().CgroupOf(container->handle()),
                       .shares = asked.weight > 0 ? asked.weight : asked.limit_in_shares,
                       .is_new = seen == seen_.end(),
                       .seen = seen == seen_.end() ? Seen{} : seen->second});
  }
  return entries;
}

void CpuWatch::Read(const linux::CgroupLayout& cgroups, std::vector<Entry>& entries) {
  std::erase_if(entries, [&](Entry& entry) {
    const auto used = UsedTime(cgroups, entry.cgroup);
    const auto file = WeightFile(cgroups, entry.cgroup);
    if (!used || !file) return true;
    entry.seen.nanoseconds = *used;
    // One that an earlier life of this worker has lowered.
    if (entry.is_new) {
      const auto weight = ParseNumber(Trim(ReadFile(*file).value_or("")));
      entry.seen.lowered = weight == Weight(cgroups, entry.shares, true);
    }
    return false;
  });
}

void CpuWatch::Write(const linux::CgroupLayout& cgroups, const Entry& entry, bool lowered) {
  // A container that is gone meanwhile has no file, and needs none.
  if (const auto file = WeightFile(cgroups, entry.cgroup)) {
    (void)linux::WriteKernelFile(*file, std::to_string(Weight(cgroups, entry.shares, lowered)));
  }
}

Task<void> CpuWatch::Look() {
  const SteadyTime now = timers_.clock().Steady();
  const double passed = std::chrono::duration<double>(now - last_look_).count();
  last_look_ = now;
  std::vector<Entry> entries = Entries();
  if (entries.empty()) {
    seen_.clear();
    co_return;
  }
  const linux::CgroupLayout& cgroups = containers_.launcher().cgroups();
  entries = co_await pool_.Run([&cgroups, entries = std::move(entries)]() mutable {
    Read(cgroups, entries);
    return std::move(entries);
  });
  std::vector<CpuUse> uses;
  for (const Entry& entry : entries) {
    // What it has used before the first look was in an unknown time.
    if (entry.is_new) continue;
    const std::int64_t used = entry.seen.nanoseconds - seen_[entry.handle].nanoseconds;
    uses.push_back({.handle = entry.handle,
                    .cpus = passed > 0 ? static_cast<double>(used) / 1e9 / passed : 0,
                    .weight = static_cast<double>(entry.shares > 0 ? entry.shares : kShares),
                    .lowered = entry.seen.lowered});
  }
  const std::map<std::string, bool> changes = ChangesOfRank(uses, options_.cpus, options_.always);
  std::map<std::string, Seen> seen;
  std::vector<Entry> changed;
  for (Entry& entry : entries) {
    if (const auto change = changes.find(entry.handle); change != changes.end()) {
      entry.seen.lowered = change->second;
      changed.push_back(entry);
      log_.Debug(
          change->second ? "container runs behind the others" : "container runs as others do",
          {{"container", entry.handle}});
    }
    seen[entry.handle] = entry.seen;
  }
  seen_ = std::move(seen);
  if (changed.empty()) co_return;
  co_await pool_.Run([&cgroups, changed] {
    for (const Entry& entry : changed)
      Write(cgroups, entry, entry.seen.lowered);
  });
}

}  // namespace pinion::worker
