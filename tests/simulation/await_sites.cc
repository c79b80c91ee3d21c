#include "await_sites.h"

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "base/text.h"
#include "tracked_task.h"

namespace pinion::simulation {
namespace {

namespace fs = std::filesystem;

int current_node = -1;
TrackedCoroutine* first = nullptr;

struct Target {
  std::string file;
  unsigned line = 0;
  int left = 0;  ///< awaits there until it is hit
};

struct {
  std::vector<Target> targets;
  bool armed = false;
  TrackedCoroutine* hit = nullptr;
  bool reached = false;
} aim;

std::string SiteOf(const char* file, unsigned line) {
  std::string_view name = file;
  if (const auto at = name.find("src/"); at != std::string_view::npos) name.remove_prefix(at);
  return std::string(name) + ":" + std::to_string(line);
}

/// The modules under test; of fleet and store only what collects and what holds leases.
bool IsCovered(const fs::path& path) {
  const std::string folder = path.parent_path().filename();
  const std::string name = path.filename();
  if (path.extension() != ".cc" || name.ends_with("_test.cc") || name.contains("testing")) {
    return false;
  }
  if (folder == "scheduling" || folder == "engine" || folder == "checking") return true;
  return (folder == "fleet" && name.starts_with("collector")) ||
         (folder == "store" && name.starts_with("leases"));
}

struct Exclusion {
  std::string file;
  std::string text;
  std::string reason;
  bool used = false;
};

/// Whether the exclusion means this line; "A / B" is a line A followed by this one, B.
bool Matches(const Exclusion& one, const std::string& file, std::string_view previous,
             std::string_view line) {
  if (one.file != "*" && one.file != file) return false;
  if (one.text == "*") return true;
  if (!one.text.contains(" / ")) return line.contains(one.text);
  return (std::string(Trim(previous)) + " / " + std::string(Trim(line))).contains(one.text);
}

/// Lines of "FILE, or * | TEXT OF THE LINE, or * | REASON".
std::vector<Exclusion> ReadExclusions(const fs::path& path) {
  std::vector<Exclusion> exclusions;
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);) {
    if (line.empty() || line.starts_with('#')) continue;
    const auto parts = Split(line, '|');
    if (parts.size() != 3) throw Failure(ErrorKind::kInvalid, path.string() + ": " + line);
    exclusions.push_back(
        {std::string(Trim(parts[0])), std::string(Trim(parts[1])), std::string(Trim(parts[2]))});
  }
  return exclusions;
}

}  // namespace

TrackedCoroutine::TrackedCoroutine() : node_(current_node), next_(first) {
  if (first) first->previous_ = this;
  first = this;
}

TrackedCoroutine::~TrackedCoroutine() {
  Unlist();
  if (aim.hit == this) aim.hit = nullptr;
}

void TrackedCoroutine::Unlist() {
  if (!listed_) return;
  listed_ = false;
  (previous_ ? previous_->next_ : first) = next_;
  if (next_) next_->previous_ = previous_;
}

void TrackedCoroutine::Awaits(const std::source_location& where) {
  file_ = where.file_name();
  line_ = where.line();
  if (!aim.armed || aim.reached) return;
  for (Target& target : aim.targets) {
    if (line_ != target.line || !std::string_view(file_).ends_with(target.file)) continue;
    if (--target.left > 0) return;
    target.left = 1;  // if it goes on without being suspended: the next time
    aim.hit = this;
    aim.reached = true;
    return;
  }
}

AwaitSites FindAwaitSites(const std::string& source_dir) {
  std::vector<Exclusion> exclusions =
      ReadExclusions(fs::path(source_dir) / "tests/simulation/not_suspended.txt");
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(fs::path(source_dir) / "src")) {
    if (IsCovered(entry.path())) files.push_back(entry.path());
  }
  std::ranges::sort(files);
  AwaitSites sites;
  for (const fs::path& path : files) {
    const std::string name = fs::relative(path, source_dir).string();
    std::ifstream in(path);
    unsigned number = 0;
    std::string previous;
    for (std::string line; std::getline(in, line);) {
      ++number;
      const std::string before = std::exchange(previous, line);
      const auto at = line.find("co_await ");
      if (at == std::string::npos || line.substr(0, at).contains("//")) continue;
      const std::string site = SiteOf(name.c_str(), number);
      const auto excluded = std::ranges::find_if(
          exclusions, [&](const Exclusion& one) { return Matches(one, name, before, line); });
      if (excluded == exclusions.end()) {
        sites.existing.push_back(site);
      } else {
        excluded->used = true;
        sites.excluded[site] = excluded->reason;
      }
    }
  }
  for (const Exclusion& one : exclusions) {
    if (!one.used) sites.unused_exclusions.push_back(one.file + " | " + one.text);
  }
  return sites;
}

void SetCurrentNode(int node) {
  current_node = node;
}

std::set<AwaitSite> SuspendedAt(int node) {
  std::set<AwaitSite> sites;
  for (TrackedCoroutine* one = first; one; one = one->next()) {
    if (one->node() == node && one->file()) sites.insert(SiteOf(one->file(), one->line()));
  }
  return sites;
}

void ForgetCoroutines(int node) {
  for (TrackedCoroutine* one = first; one;) {
    TrackedCoroutine* const next = one->next();
    if (one->node() == node) one->Unlist();
    one = next;
  }
  if (aim.hit && aim.hit->node() == node) aim.hit = nullptr;
}

void ForgetAllCoroutines() {
  first = nullptr;
  aim = {};
}

void Aim(const AwaitSite& site, int nth) {
  const auto colon = site.rfind(':');
  aim.targets.push_back(
      {site.substr(0, colon), static_cast<unsigned>(std::stoul(site.substr(colon + 1))), nth});
}

void ArmAims(bool armed) {
  aim.armed = armed;
  aim.reached = false;
  aim.hit = nullptr;
}

int AimHit() {
  if (!aim.reached) return -1;
  aim.reached = false;
  const TrackedCoroutine* const hit = std::exchange(aim.hit, nullptr);
  if (!hit) return -1;
  const auto target = std::ranges::find_if(aim.targets, [&](const Target& one) {
    return hit->line() == one.line && std::string_view(hit->file()).ends_with(one.file);
  });
  if (target == aim.targets.end()) return -1;
  aim.targets.erase(target);
  return hit->node();
}

}  // namespace pinion::simulation
