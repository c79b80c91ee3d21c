#include "worker/containers/launcher.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <optional>

#include "base/encoding.h"
#include "base/files.h"
#include "base/text.h"
#include "linux/files.h"
#include "linux/process.h"
#include "worker/containers/limits.h"
#include "worker/containers/seccomp.h"
#include "worker/containers/supervisor_link.h"
#include "worker/containers/supervisor_program.h"
#include "worker/supervisor/protocol.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using std::chrono::seconds;

constexpr std::string_view kCgroupRoot = "pinion";
constexpr std::size_t kWaitingSupervisors = 3;

/// Root inside a container is nobody here, and must pass every folder on the way to its mounts.
Result<void> CheckPassable(const fs::path& path) {
  for (fs::path at = path; at != at.root_path(); at = at.parent_path()) {
    struct stat status{};
    if (::stat(at.c_str(), &status) == 0 && (status.st_mode & S_IXOTH) == 0) {
      return Fail(ErrorKind::kInvalid, "folder " + at.string() +
                                           " cannot be passed by other users, so unprivileged "
                                           "containers would not start: chmod o+x " +
                                           at.string());
    }
  }
  return {};
}

Result<bool> RuntimeIsCrun(const std::string& runtime) {
  const auto version = linux::RunCommand({runtime, "--version"}, "", seconds(10));
  if (!version || version->exit_status != 0) {
    return Fail(ErrorKind::kUnavailable, "the container runtime \"" + runtime +
                                             "\" cannot be run (" +
                                             (version ? version->output : version.error().message) +
                                             "): install it with: apt-get install crun");
  }
  return version->output.starts_with("crun");
}

/// The file that the name stands for, as a shell finds it.
Result<fs::path> FindProgram(const std::string& name) {
  if (name.find('/') != std::string::npos) return fs::path(name);
  const char* path = std::getenv("PATH");
  for (const std::string_view folder : Split(path ? path : "/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    fs::path candidate = fs::path(folder) / name;
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return Fail(ErrorKind::kNotFound, name + " is not in PATH");
}

/// A copy in memory that nobody can change.
Result<linux::UniqueFd> SealedCopy(const fs::path& program) {
  auto content = ReadFile(program);
  if (!content) return std::unexpected(std::move(content).error());
  linux::UniqueFd copy(::memfd_create("runtime", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!copy) return std::unexpected(SystemError("memfd_create", errno));
  std::string_view left = *content;
  while (!left.empty()) {
    const ssize_t written = ::write(copy.get(), left.data(), left.size());
    if (written < 0) return std::unexpected(SystemError("copy " + program.string(), errno));
    left.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::fcntl(copy.get(), F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) !=
      0) {
    return std::unexpected(SystemError("seal the copy of " + program.string(), errno));
  }
  return copy;
}

bool IsMountPoint(const fs::path& folder) {
  struct stat own{}, parent{};
  return ::stat(folder.c_str(), &own) == 0 && ::stat(folder.parent_path().c_str(), &parent) == 0 &&
         own.st_dev != parent.st_dev;
}

bool IsInMemory(const fs::path& folder) {
  struct statfs status{};
  return ::statfs(folder.c_str(), &status) == 0 && status.f_type == TMPFS_MAGIC;
}

/// A dozen small files come and go with each container. Where /run is part of a disk, these would
/// be most of what a start costs: ext4 without a journal passes over every inode that was given up
/// within the last minute, for each new one.
Result<void> PutIntoMemory(const fs::path& folder) {
  if (IsInMemory(folder)) return {};
  if (::mount("pinion", folder.c_str(), "tmpfs", MS_NOSUID | MS_NODEV, "mode=0711,size=10%") != 0) {
    return std::unexpected(SystemError("mount a tmpfs at " + folder.string(), errno));
  }
  return {};
}

}  // namespace

std::string Launcher::CgroupOf(const std::string& handle) const {
  return cgroup_parent_ + "/" + handle;
}

std::string Launcher::Hierarchies() const {
  std::string text;
  for (const fs::path& path : cgroups_.hierarchies()) {
    if (!text.empty()) text += ':';
    text += path.string();
  }
  return text;
}

Result<void> Launcher::Prepare() {
  // Input is written to pipes whose readers may be gone.
  ::signal(SIGPIPE, SIG_IGN);
  if (::geteuid() != 0) {
    return Fail(ErrorKind::kUnavailable, "containers need root: start this as root (sudo)");
  }
  auto cgroups = linux::CgroupLayout::Detect();
  if (!cgroups) return std::unexpected(std::move(cgroups).error());
  cgroups_ = std::move(*cgroups);
  auto is_crun = RuntimeIsCrun(options_.runtime);
  if (!is_crun) return std::unexpected(std::move(is_crun).error());
  auto program = FindProgram(options_.runtime);
  if (!program) return std::unexpected(std::move(program).error());
  runtime_.Reset(::open(program->c_str(), O_RDONLY | O_CLOEXEC));
  if (!runtime_) return std::unexpected(SystemError("open " + program->string(), errno));
  if (*is_crun) {
    auto copy = SealedCopy(*program);
    if (!copy) return std::unexpected(std::move(copy).error());
    runtime_ = std::move(*copy);
    auto compiled = CompiledSeccomp();
    if (!compiled) return std::unexpected(std::move(compiled).error());
    compiled_seccomp_ = std::move(*compiled);
  }
  auto supervisor = InstallSupervisor(options_.work_dir);
  if (!supervisor) return std::unexpected(std::move(supervisor).error());
  supervisor_ = std::move(*supervisor);
  auto lock = linux::TryLockFile(options_.work_dir / "run" / "lock");
  if (!lock) return std::unexpected(std::move(lock).error());
  if (!*lock) {
    return Fail(ErrorKind::kConflict, "another worker uses the folder " +
                                          options_.work_dir.string() +
                                          ": stop it, or give this one another work dir");
  }
  work_dir_lock_ = std::move(*lock);
  std::error_code error;
  const std::string identity =
      ToHex(Sha256(fs::weakly_canonical(options_.work_dir, error).string())).substr(0, 8);
  run_dir_ = fs::path("/run/pinion") / identity;
  cgroup_parent_ = std::string(kCgroupRoot) + "/" + identity;
  for (const fs::path& folder : {fs::path("/run/pinion"), run_dir_}) {
    if (auto made = MakePassableFolder(folder); !made) return made;
  }
  // Containers of an earlier life are in the folder as it is.
  if (!fs::exists(run_dir_ / "containers", error)) {
    if (auto mounted = PutIntoMemory(run_dir_); !mounted) return mounted;
  }
  for (const fs::path& folder :
       {run_dir_ / "containers", RuntimeRoot(), options_.work_dir / "containers"}) {
    if (auto made = MakePassableFolder(folder); !made) return made;
  }
  if (auto passable = CheckPassable(options_.work_dir); !passable) return passable;

  const std::int64_t memory = options_.memory_max > 0 ? options_.memory_max : MemoryForContainers();
  if (auto limited = LimitMemoryOfAll(cgroups_, cgroup_parent_, memory); !limited) {
    // Asked for, it must hold; by itself it is a precaution that some machines do not allow.
    if (options_.memory_max > 0) return limited;
  }

  tracking_files_.clear();
  for (const fs::path& root : cgroups_.tracking()) {
    const fs::path own = root / kCgroupRoot / "supervisors";
    fs::create_directories(own, error);
    if (error) continue;  // a hierarchy that may only be read tracks nobody
    if (!tracking_files_.empty()) tracking_files_ += ':';
    tracking_files_ += own / "cgroup.procs";
  }
  return Refill();
}

Launcher::~Launcher() {
  for (LaunchedSupervisor& supervisor : waiting_) {
    supervisor.socket.Reset();
    ::waitpid(supervisor.pid, nullptr, 0);
  }
  if (run_dir_.empty()) return;
  // Only what is empty goes: containers that run on keep theirs.
  ::rmdir(RuntimeRoot().c_str());
  if (::rmdir((run_dir_ / "containers").c_str()) == 0 && IsMountPoint(run_dir_)) {
    ::umount2(run_dir_.c_str(), MNT_DETACH);
  }
  ::rmdir(run_dir_.c_str());
  cgroups_.RemoveIfEmpty(cgroup_parent_);
}

std::size_t Launcher::waiting() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

Result<LaunchedSupervisor> Launcher::SpawnSupervisor() const {
  int pair[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
    return std::unexpected(SystemError("socketpair", errno));
  }
  LaunchedSupervisor launched{.socket = linux::UniqueFd(pair[0])};
  const linux::UniqueFd theirs(pair[1]);
  auto pid = linux::Spawn(
      {.arguments = {supervisor_, "supervise", run_dir_ / "containers", options_.runtime,
                     RuntimeRoot(), Hierarchies(), tracking_files_,
                     std::to_string(options_.unread_bytes_max)},
       .descriptors = {{theirs.get(), kPinionWorkerFd}, {runtime_.get(), kPinionRuntimeFd}},
       .new_session = true});
  if (!pid) return std::unexpected(std::move(pid).error());
  launched.pid = *pid;
  launched.pidfd.Reset(static_cast<int>(::syscall(SYS_pidfd_open, *pid, 0)));
  if (!launched.pidfd) return std::unexpected(SystemError("pidfd_open", errno));
  return launched;
}

Result<void> Launcher::Refill() {
  while (waiting() < kWaitingSupervisors) {
    auto spawned = SpawnSupervisor();
    if (!spawned) return std::unexpected(std::move(spawned).error());
    const std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(*spawned));
  }
  return {};
}

Result<LaunchedSupervisor> Launcher::Launch(const std::string& handle) {
  const fs::path folder = RunFolder(handle);
  auto lock = linux::TryLockFile(folder / "lock");
  if (!lock) return std::unexpected(std::move(lock).error());
  if (!*lock) {
    return Fail(ErrorKind::kConflict, "container " + handle + " still has a supervisor");
  }
  ::unlink((folder / "state/ended").c_str());
  std::optional<LaunchedSupervisor> supervisor;
  {
    const std::lock_guard guard(mutex_);
    if (!waiting_.empty()) {
      supervisor = std::move(waiting_.back());
      waiting_.pop_back();
    }
  }
  if (!supervisor) {
    auto spawned = SpawnSupervisor();
    if (!spawned) return spawned;
    supervisor = std::move(*spawned);
  }
  PinionMessage message{};
  message.kind = kPinionAdopt;
  handle.copy(message.text, kPinionTextBytes - 1);
  if (auto sent = SupervisorLink::SendWithFd(supervisor->socket.get(), message, lock->get());
      !sent) {
    return std::unexpected(std::move(sent).error());
  }
  return std::move(*supervisor);
}

Result<void> Launcher::CleanUp(const std::string& handle) const {
  const std::string cgroup = CgroupOf(handle);
  const auto deadline = std::chrono::steady_clock::now() + seconds(10);
  while (true) {
    const std::vector<pid_t> left = cgroups_.Processes(cgroup);
    if (left.empty()) break;
    for (const pid_t pid : left)
      ::kill(pid, SIGKILL);
    if (std::chrono::steady_clock::now() > deadline) {
      return Fail(ErrorKind::kTimeout, std::to_string(left.size()) + " processes of container " +
                                           handle + " do not die; the first is " +
                                           std::to_string(left[0]));
    }
    ::usleep(2000);
  }
  std::error_code error;
  if (fs::exists(RuntimeRoot() / handle, error)) {
    const auto deleted = linux::RunCommand({supervisor_, "runtime", Hierarchies(), options_.runtime,
                                            "--root", RuntimeRoot(), "delete", "--force", handle},
                                           "", seconds(20));
    if (!deleted) return std::unexpected(deleted.error());
    if (deleted->exit_status != 0) fs::remove_all(RuntimeRoot() / handle, error);
  }
  fs::remove_all(RunFolder(handle), error);
  if (cgroups_.Remove(cgroup) > 0) {
    return Fail(ErrorKind::kInternal, "cgroups of container " + handle + " cannot be removed");
  }
  return {};
}

}  // namespace pinion::worker
