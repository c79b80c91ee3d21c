#include "worker/volumes/mounts.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/mount.h>
#include <sched.h>
#include <signal.h>
#include <sys/fsuid.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>

// After linux/mount.h, whose constants glibc's header repeats as an enum.
extern "C" {
int mount(const char*, const char*, const char*, unsigned long, const void*) noexcept;
int umount2(const char*, int) noexcept;
}

#include "worker/id_mapping.h"

namespace pinion::worker {
namespace {

using linux::UniqueFd;

constexpr unsigned long kPrivate = 1UL << 18;  // MS_PRIVATE
constexpr int kDetach = 2;                     // MNT_DETACH
constexpr int kNoFollow = 8;                   // UMOUNT_NOFOLLOW

std::unexpected<Error> MountError(const std::string& what, int reason) {
  return std::unexpected(SystemError(what, reason));
}

Result<UniqueFd> CloneTree(const std::filesystem::path& folder) {
  UniqueFd tree(static_cast<int>(::syscall(SYS_open_tree, AT_FDCWD, folder.c_str(),
                                           OPEN_TREE_CLONE | O_CLOEXEC | AT_SYMLINK_NOFOLLOW)));
  if (!tree) return MountError("clone the mount of " + folder.string(), errno);
  return tree;
}

Result<void> Attach(const UniqueFd& tree, const std::filesystem::path& target) {
  if (::syscall(SYS_move_mount, tree.get(), "", AT_FDCWD, target.c_str(),
                MOVE_MOUNT_F_EMPTY_PATH) != 0) {
    return MountError("mount at " + target.string(), errno);
  }
  return {};
}

Result<void> SetAttributes(const UniqueFd& tree, mount_attr& attributes,
                           const std::filesystem::path& folder) {
  if (::syscall(SYS_mount_setattr, tree.get(), "", AT_EMPTY_PATH, &attributes,
                sizeof(attributes)) == 0) {
    return {};
  }
  const int reason = errno;
  if (reason == EINVAL && attributes.userns_fd != 0) {
    return Fail(
        ErrorKind::kInternal,
        "the file system of " + folder.string() +
            " does not support id-mapped mounts: put the work folder on ext4, xfs or btrfs");
  }
  return MountError("set attributes of the mount of " + folder.string(), reason);
}

// A user namespace is only a mapping here: a child that lives for a moment carries it.
Result<UniqueFd> MakeMapping() {
  int ready[2];
  if (::pipe2(ready, O_CLOEXEC) != 0) return MountError("make a pipe", errno);
  UniqueFd read_end(ready[0]);
  UniqueFd write_end(ready[1]);
  // No exit signal: waiting for it needs __WCLONE, so that nobody else's wait() sees the child.
  const long child = ::syscall(SYS_clone, CLONE_NEWUSER, nullptr, nullptr, nullptr, nullptr);
  if (child == 0) {
    char byte = 0;
    ::close(write_end.get());
    while (::read(read_end.get(), &byte, 1) < 0 && errno == EINTR) {
    }
    ::_exit(0);
  }
  if (child < 0) {
    return Fail(ErrorKind::kInternal, SystemError("make a user namespace", errno).message +
                                          " (is user.max_user_namespaces 0?)");
  }
  const std::string process = "/proc/" + std::to_string(child);
  const std::string map =
      "0 " + std::to_string(kHostIdBase) + " " + std::to_string(kIdCount) + "\n";
  Result<void> written;
  for (const char* name : {"/uid_map", "/gid_map"}) {
    UniqueFd file(::open((process + name).c_str(), O_WRONLY | O_CLOEXEC));
    if (!file || ::write(file.get(), map.data(), map.size()) < 0) {
      written = std::unexpected(SystemError("write " + process + name, errno));
      break;
    }
  }
  UniqueFd mapping(::open((process + "/ns/user").c_str(), O_RDONLY | O_CLOEXEC));
  const int reason = errno;
  write_end.Reset();
  while (::waitpid(static_cast<pid_t>(child), nullptr, __WCLONE) < 0 && errno == EINTR) {
  }
  if (!written) return std::unexpected(std::move(written).error());
  if (!mapping) return MountError("open the user namespace", reason);
  return mapping;
}

}  // namespace

bool IsMountPoint(const std::filesystem::path& path) {
  struct statx info{};
  return ::statx(AT_FDCWD, path.c_str(), AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &info) == 0 &&
         (info.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

Result<void> MakePrivateMount(const std::filesystem::path& folder) {
  if (!IsMountPoint(folder)) {
    auto tree = CloneTree(folder);
    if (!tree) return std::unexpected(std::move(tree).error());
    if (auto attached = Attach(*tree, folder); !attached) return attached;
  }
  if (::mount(nullptr, folder.c_str(), nullptr, kPrivate, nullptr) != 0) {
    return MountError("make the mount of " + folder.string() + " private", errno);
  }
  return {};
}

Result<void> MakeMappedView(const std::filesystem::path& folder,
                            const std::filesystem::path& target) {
  if (IsMountPoint(target)) return {};
  auto mapping = MakeMapping();
  if (!mapping) return std::unexpected(std::move(mapping).error());
  auto tree = CloneTree(folder);
  if (!tree) return std::unexpected(std::move(tree).error());
  mount_attr attributes{};
  attributes.attr_set = MOUNT_ATTR_IDMAP;
  attributes.userns_fd = static_cast<std::uint64_t>(mapping->get());
  attributes.propagation = kPrivate;
  if (auto set = SetAttributes(*tree, attributes, folder); !set) return set;
  return Attach(*tree, target);
}

Result<void> MountFolder(const std::filesystem::path& source, const std::filesystem::path& target) {
  auto tree = CloneTree(source);
  if (!tree) return std::unexpected(std::move(tree).error());
  mount_attr attributes{};
  attributes.propagation = kPrivate;
  if (auto set = SetAttributes(*tree, attributes, source); !set) return set;
  return Attach(*tree, target);
}

Result<void> MountOverlay(const OverlaySpec& spec, const std::filesystem::path& target) {
  // Descriptors instead of paths: mount data is one page, and paths would need escaping.
  std::vector<UniqueFd> folders;
  const auto name = [&](const std::filesystem::path& path) -> Result<std::string> {
    UniqueFd folder(::open(path.c_str(), O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!folder) return std::unexpected(SystemError("open the layer " + path.string(), errno));
    folders.push_back(std::move(folder));
    return "/proc/self/fd/" + std::to_string(folders.back().get());
  };
  std::string lowers;
  for (const std::filesystem::path& lower : spec.lowers) {
    auto text = name(lower);
    if (!text) return std::unexpected(std::move(text).error());
    lowers += (lowers.empty() ? "" : ":") + *text;
  }
  auto upper = name(spec.upper);
  if (!upper) return std::unexpected(std::move(upper).error());
  auto work = name(spec.work);
  if (!work) return std::unexpected(std::move(work).error());
  const std::string data = "lowerdir=" + lowers + ",upperdir=" + *upper + ",workdir=" + *work +
                           ",index=off,metacopy=off,redirect_dir=off,xino=off,volatile";
  if (data.size() >= 4096) {
    return Fail(ErrorKind::kTooLarge,
                "an overlay of " + std::to_string(spec.lowers.size()) + " layers is too large");
  }
  // The source is what /proc/mounts shows first: say whose mount it is.
  if (::mount("pinion-volume", target.c_str(), "overlay", 0, data.c_str()) != 0) {
    const int reason = errno;
    if (reason == EINVAL || reason == ENODEV) {
      return Fail(ErrorKind::kInternal,
                  "mount an overlay at " + target.string() + ": " +
                      SystemError("overlayfs", reason).message +
                      " (the work folder must lie on ext4, xfs or btrfs, not on an overlay)");
    }
    return MountError("mount an overlay at " + target.string(), reason);
  }
  if (::mount(nullptr, target.c_str(), nullptr, kPrivate, nullptr) != 0) {
    return MountError("make the mount of " + target.string() + " private", errno);
  }
  return {};
}

Result<void> Unmount(const std::filesystem::path& target) {
  if (::umount2(target.c_str(), kNoFollow) == 0) return {};
  if (errno == EBUSY && ::umount2(target.c_str(), kNoFollow | kDetach) == 0) return {};
  if (errno == EINVAL || errno == ENOENT) return {};
  return MountError("unmount " + target.string(), errno);
}

MappedCredentials::MappedCredentials(bool active) : active_(active) {
  if (!active_) return;
  ::setfsgid(kHostIdBase);
  ::setfsuid(kHostIdBase);
  // Leaving user id 0 takes the file capabilities off the effective set; they stay permitted.
  __user_cap_header_struct header{_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct sets[2]{};
  if (::syscall(SYS_capget, &header, sets) != 0) return;
  for (auto& set : sets)
    set.effective = set.permitted;
  ::syscall(SYS_capset, &header, sets);
}

MappedCredentials::~MappedCredentials() {
  if (!active_) return;
  ::setfsuid(0);
  ::setfsgid(0);
}

}  // namespace pinion::worker
