#include "linux/cgroup.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>

#include "base/files.h"
#include "base/text.h"

namespace pinion::linux {
namespace {

namespace fs = std::filesystem;

constexpr std::array<std::string_view, 8> kLimiting = {"cpu",     "memory", "pids",  "devices",
                                                       "freezer", "cpuset", "blkio", "cpuacct"};

void AppendProcesses(const fs::path& folder, std::vector<pid_t>& out) {
  auto text = ReadFile(folder / "cgroup.procs");
  if (!text) return;
  for (const std::string_view line : Split(*text, '\n')) {
    pid_t pid = 0;
    const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), pid);
    if (error == std::errc() && pid > 0) out.push_back(pid);
  }
}

/// The folder and those below it, the deepest last. A cgroup can vanish while it is walked.
std::vector<fs::path> Tree(const fs::path& root) {
  std::vector<fs::path> found;
  std::error_code error;
  if (!fs::is_directory(root, error)) return found;
  found.push_back(root);
  for (std::size_t i = 0; i < found.size(); ++i) {
    const fs::path folder = found[i];
    for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
         entry.increment(error)) {
      std::error_code gone;
      if (entry->is_directory(gone) && !entry->is_symlink(gone)) found.push_back(entry->path());
    }
  }
  return found;
}

}  // namespace

Result<CgroupLayout> CgroupLayout::Detect() {
  auto text = ReadFile("/proc/self/mountinfo");
  if (!text) return std::unexpected(std::move(text).error());
  return FromMountInfo(*text);
}

Result<CgroupLayout> CgroupLayout::FromMountInfo(std::string_view mount_info) {
  CgroupLayout layout;
  for (const std::string_view line : Split(mount_info, '\n')) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = Split(line.substr(0, dash), ' ');
    const auto after = Split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const fs::path path(before[4]);
    if (!path.string().starts_with("/sys/fs/cgroup")) continue;
    if (after[0] == "cgroup2") {
      layout.v2_ = path;
      layout.tracking_.push_back(path);
    } else if (after[0] == "cgroup") {
      Mount mount{path, {}};
      for (const std::string_view option : Split(after[2], ','))
        mount.controllers.emplace_back(option);
      const bool limits = std::ranges::any_of(mount.controllers, [](const std::string& name) {
        return std::ranges::find(kLimiting, name) != kLimiting.end();
      });
      if (limits) layout.hierarchies_.push_back(path);
      if (std::ranges::find(mount.controllers, "name=systemd") != mount.controllers.end()) {
        layout.tracking_.push_back(path);
      }
      layout.mounts_.push_back(std::move(mount));
    }
  }
  if (layout.hierarchies_.empty() && !layout.v2_) {
    return Fail(ErrorKind::kUnavailable,
                "no cgroups are mounted at /sys/fs/cgroup, containers cannot be limited or killed: "
                "mount them with: mount -t cgroup2 cgroup2 /sys/fs/cgroup");
  }
  return layout;
}

std::optional<fs::path> CgroupLayout::Controller(std::string_view name) const {
  if (unified()) return v2_;
  for (const Mount& mount : mounts_) {
    if (std::ranges::find(mount.controllers, name) != mount.controllers.end()) return mount.path;
  }
  return std::nullopt;
}

std::vector<fs::path> CgroupLayout::Roots() const {
  std::vector<fs::path> roots = hierarchies_;
  roots.insert(roots.end(), tracking_.begin(), tracking_.end());
  return roots;
}

std::vector<pid_t> CgroupLayout::Processes(const std::string& cgroup) const {
  std::vector<pid_t> pids;
  for (const fs::path& root : Roots()) {
    for (const fs::path& folder : Tree(root / cgroup))
      AppendProcesses(folder, pids);
  }
  std::ranges::sort(pids);
  pids.erase(std::ranges::unique(pids).begin(), pids.end());
  return pids;
}

void CgroupLayout::RemoveIfEmpty(const std::string& cgroup) const {
  for (const fs::path& root : Roots())
    ::rmdir((root / cgroup).c_str());
}

std::size_t CgroupLayout::Remove(const std::string& cgroup) const {
  std::size_t left = 0;
  for (const fs::path& root : Roots()) {
    const std::vector<fs::path> tree = Tree(root / cgroup);
    for (auto folder = tree.rbegin(); folder != tree.rend(); ++folder) {
      if (::rmdir(folder->c_str()) != 0 && errno != ENOENT) ++left;
    }
  }
  return left;
}

}  // namespace pinion::linux
