#include "archive/tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <deque>
#include <memory>

#include "base/encoding.h"

namespace pinion::archive {
namespace {

struct CloseFolder {
  void operator()(DIR* folder) const { ::closedir(folder); }
};
using FolderStream = std::unique_ptr<DIR, CloseFolder>;

FolderStream OpenStream(int parent, const std::string& name) {
  const int fd =
      ::openat(parent, name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return nullptr;
  FolderStream stream(::fdopendir(fd));
  if (!stream) ::close(fd);
  return stream;
}

// A privileged container can set "immutable" and "append only"; as root they are ours to take off.
void ClearFlags(int parent, const std::string& name) {
  const FileHandle file(
      ::openat(parent, name.c_str(), O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK));
  if (!file) return;
  int flags = 0;
  if (::ioctl(file.get(), FS_IOC_GETFLAGS, &flags) != 0) return;
  flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
  ::ioctl(file.get(), FS_IOC_SETFLAGS, &flags);
}

// Tries once more without flags when the first try is not permitted.
template <class Call>
int Persist(Call call, int parent, const std::string& name, int folder) {
  int status = call();
  if (status != 0 && (errno == EPERM || errno == EACCES)) {
    if (folder >= 0) {
      int flags = 0;
      if (::ioctl(folder, FS_IOC_GETFLAGS, &flags) == 0) {
        flags &= ~(FS_IMMUTABLE_FL | FS_APPEND_FL);
        ::ioctl(folder, FS_IOC_SETFLAGS, &flags);
      }
      ::fchmod(folder, 0700);  // for owners other than root
    }
    ClearFlags(parent, name);
    status = call();
  }
  return status;
}

// Empties one folder; sub-folders that are not empty are moved to the top under new names.
void Empty(int top, const std::string& name, std::deque<std::string>& more, const std::string& mark,
           std::uint64_t& count, const std::stop_token& stop) {
  FolderStream stream = OpenStream(top, name);
  if (!stream && errno == EACCES) {
    ::fchmodat(top, name.c_str(), 0700, 0);
    stream = OpenStream(top, name);
  }
  if (!stream) {
    if (errno == ENOENT) return;
    throw Failure(SystemError("open the folder '" + name + "' to remove it", errno));
  }
  const int folder = ::dirfd(stream.get());
  while (const dirent* entry = ::readdir(stream.get())) {
    const std::string child = entry->d_name;
    if (child == "." || child == "..") continue;
    if (stop.stop_requested()) throw Cancelled();
    const auto unlink = [&] { return ::unlinkat(folder, child.c_str(), 0); };
    const auto remove = [&] { return ::unlinkat(folder, child.c_str(), AT_REMOVEDIR); };
    if (entry->d_type != DT_DIR) {
      if (Persist(unlink, folder, child, folder) == 0 || errno == ENOENT) continue;
      if (errno != EISDIR) throw Failure(SystemError("remove '" + child + "'", errno));
    }
    if (Persist(remove, folder, child, folder) == 0 || errno == ENOENT) continue;
    if (errno != ENOTEMPTY && errno != EEXIST && errno != EPERM && errno != EACCES) {
      throw Failure(SystemError("remove the folder '" + child + "'", errno));
    }
    const std::string moved = mark + std::to_string(count++);
    const auto move = [&] { return ::renameat(folder, child.c_str(), top, moved.c_str()); };
    if (Persist(move, folder, child, folder) != 0) {
      throw Failure(SystemError("move the folder '" + child + "' to remove it", errno));
    }
    more.push_back(moved);
  }
}

}  // namespace

FileHandle OpenFolder(const std::filesystem::path& path) {
  FileHandle folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder) throw Failure(SystemError("open the folder " + path.string(), errno));
  return folder;
}

Result<FileHandle> OpenBelow(int root, std::string_view path, int flags, Links links) {
  while (path.starts_with('/'))
    path.remove_prefix(1);
  const std::string text = path.empty() ? "." : std::string(path);
  open_how how{};
  how.flags = static_cast<std::uint64_t>(static_cast<unsigned>(flags | O_CLOEXEC));
  how.resolve =
      RESOLVE_NO_MAGICLINKS | (links == Links::kBeneath ? RESOLVE_BENEATH : RESOLVE_IN_ROOT);
  for (int attempt = 0;; ++attempt) {
    const long fd = ::syscall(SYS_openat2, root, text.c_str(), &how, sizeof(how));
    if (fd >= 0) return FileHandle(static_cast<int>(fd));
    // EAGAIN: something was renamed while ".." was resolved; the kernel could not be sure.
    if ((errno == EAGAIN && attempt < 100) || errno == EINTR) continue;
    if (errno == EXDEV) {
      return Fail(ErrorKind::kInvalid, "'" + text + "' leads out of the folder");
    }
    return std::unexpected(SystemError("open '" + text + "'", errno));
  }
}

Result<std::vector<std::string>> SplitPath(std::string_view path, std::size_t limit) {
  if (path.size() > limit) {
    return Fail(ErrorKind::kInvalid, "the path '" + std::string(path.substr(0, 80)) +
                                         "…' is longer than " + std::to_string(limit) + " bytes");
  }
  std::vector<std::string> parts;
  while (!path.empty()) {
    const std::string_view part = path.substr(0, path.find('/'));
    path.remove_prefix(std::min(path.size(), part.size() + 1));
    if (part.empty() || part == ".") continue;
    if (part == "..") return Fail(ErrorKind::kInvalid, "the path has a '..' in it");
    if (part.size() > 255) {
      return Fail(ErrorKind::kInvalid,
                  "the name '" + std::string(part.substr(0, 80)) + "…' is longer than 255 bytes");
    }
    if (part.find('\0') != std::string_view::npos) {
      return Fail(ErrorKind::kInvalid, "the path has a NUL byte in it");
    }
    parts.emplace_back(part);
  }
  return parts;
}

Result<void> MakeFolders(int root, std::string_view path, Links links, uid_t owner) {
  auto parts = SplitPath(path);
  if (!parts) return std::unexpected(std::move(parts).error());
  std::string walked;
  for (const std::string& part : *parts) {
    const std::string parent = walked;
    walked += walked.empty() ? part : "/" + part;
    auto existing = OpenBelow(root, walked, O_PATH | O_DIRECTORY, links);
    if (existing) continue;
    if (existing.error().kind != ErrorKind::kNotFound) {
      return std::unexpected(std::move(existing).error());
    }
    auto folder = OpenBelow(root, parent, O_PATH | O_DIRECTORY, links);
    if (!folder) return std::unexpected(std::move(folder).error());
    if (::mkdirat(folder->get(), part.c_str(), 0755) != 0 && errno != EEXIST) {
      return std::unexpected(SystemError("make the folder '" + walked + "'", errno));
    }
    if (::geteuid() == 0) {
      ::fchownat(folder->get(), part.c_str(), owner, owner, AT_SYMLINK_NOFOLLOW);
    }
    // The umask of the process does not decide, and a dangling link is no folder.
    auto made = OpenBelow(root, walked, O_RDONLY | O_DIRECTORY, links);
    if (!made) return std::unexpected(std::move(made).error());
    ::fchmod(made->get(), 0755);
  }
  return {};
}

void RemoveTree(int parent, const std::string& name, const std::stop_token& stop) {
  const auto unlink = [&] { return ::unlinkat(parent, name.c_str(), 0); };
  struct stat info{};
  if (::fstatat(parent, name.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return;
    throw Failure(SystemError("look at '" + name + "' to remove it", errno));
  }
  if (!S_ISDIR(info.st_mode)) {
    if (Persist(unlink, parent, name, -1) == 0 || errno == ENOENT) return;
    throw Failure(SystemError("remove '" + name + "'", errno));
  }
  // Folders that are moved up lie beside the one that is removed until their turn comes.
  const std::string mark = ".remove-" + ToHex(RandomBytes(6)) + "-";
  std::uint64_t count = 0;
  std::deque<std::string> more{name};
  while (!more.empty()) {
    const std::string next = more.front();
    Empty(parent, next, more, mark, count, stop);
    const auto remove_next = [&] { return ::unlinkat(parent, next.c_str(), AT_REMOVEDIR); };
    if (Persist(remove_next, parent, next, -1) != 0 && errno != ENOENT) {
      // Entries that were added meanwhile, or that readdir skipped: once more.
      if (errno != ENOTEMPTY && errno != EEXIST) {
        throw Failure(SystemError("remove the folder '" + next + "'", errno));
      }
      more.push_back(next);
    }
    more.pop_front();
  }
}

void RemoveTree(const std::filesystem::path& path, const std::stop_token& stop) {
  const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
  FileHandle parent(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) {
    if (errno == ENOENT) return;
    throw Failure(SystemError("open the folder " + folder.string(), errno));
  }
  RemoveTree(parent.get(), path.filename().string(), stop);
}

}  // namespace pinion::archive
