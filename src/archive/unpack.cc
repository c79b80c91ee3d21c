#include "archive/unpack.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <unordered_set>
#include <vector>

#include "archive/tar_library.h"
#include "archive/tree.h"

namespace pinion::archive {
namespace {

constexpr std::string_view kWhiteout = ".wh.";
constexpr std::string_view kOpaque = ".wh..wh..opq";
constexpr std::uint32_t kNobody = 65534;

// Feeds libarchive; an exception of the source is kept and thrown after libarchive has returned.
struct Input {
  ByteSource& source;
  std::vector<char> buffer = std::vector<char>(256 << 10);
  std::exception_ptr error;

  static la_ssize_t Read(::archive* handle, void* data, const void** out) {
    auto* self = static_cast<Input*>(data);
    try {
      const std::size_t got = self->source.Read(self->buffer);
      *out = self->buffer.data();
      return static_cast<la_ssize_t>(got);
    } catch (...) {
      self->error = std::current_exception();
      ::archive_set_error(handle, EIO, "the stream broke off");
      return ARCHIVE_FATAL;
    }
  }
};

struct CloseListing {
  void operator()(DIR* listing) const { ::closedir(listing); }
};

class Unpacker {
 public:
  Unpacker(ByteSource& tar, int root, const UnpackOptions& options, const std::stop_token& stop)
      : input_{tar}, root_(root), options_(options), stop_(stop), handle_(::archive_read_new()) {
    if (!handle_) throw Failure(ErrorKind::kInternal, "no memory to read an archive");
    set_owners_ = options.keep_owners && ::geteuid() == 0;
    ::archive_read_support_format_tar(handle_.get());
    ::archive_read_support_format_empty(handle_.get());
    ::archive_read_support_filter_none(handle_.get());
    if (::archive_read_open(handle_.get(), &input_, nullptr, &Input::Read, nullptr) != ARCHIVE_OK) {
      ThrowTar("");
    }
  }

  Unpacked Run() {
    for (;;) {
      if (stop_.stop_requested()) throw Cancelled();
      const int status = ::archive_read_next_header(handle_.get(), &entry_);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK && status != ARCHIVE_WARN) ThrowTar(name_);
      if (++done_.entries > options_.entries_max) {
        throw Failure(ErrorKind::kTooLarge, "the archive has more than " +
                                                std::to_string(options_.entries_max) + " entries");
      }
      const char* name = ::archive_entry_pathname(entry_);
      name_ = name ? name : "";
      if (!name || name_.empty()) throw Failure(ErrorKind::kInvalid, "an entry has no usable name");
      try {
        TakeEntry();
      } catch (Failure& failure) {
        throw Failure(Error(failure.error()).Context("entry '" + ShortName() + "'"));
      }
    }
    FinishFolders();
    return done_;
  }

 private:
  std::string ShortName() const { return name_.size() <= 200 ? name_ : name_.substr(0, 200) + "…"; }

  [[noreturn]] void ThrowTar(const std::string& after) {
    if (input_.error) std::rethrow_exception(input_.error);
    std::string where = after.empty() ? "" : " (near '" + ShortName() + "')";
    throw Failure(ErrorKind::kInvalid,
                  "the tar stream is damaged" + where + ": " + TarError(handle_.get()));
  }

  void TakeEntry() {
    auto parts = SplitPath(name_, options_.path_bytes_max);
    if (!parts) throw Failure(parts.error());
    const auto type = ::archive_entry_filetype(entry_);
    const char* hardlink = ::archive_entry_hardlink(entry_);
    if (parts->empty()) {
      if (hardlink || type != AE_IFDIR) {
        throw Failure(ErrorKind::kInvalid, "only a folder can be the root of the archive");
      }
      folders_.push_back({"", Times()});
      SetMetadata(root_, "", true);
      return;
    }
    const std::string leaf = parts->back();
    parts->pop_back();
    std::string parent_path;
    for (const std::string& part : *parts)
      parent_path += (parent_path.empty() ? "" : "/") + part;
    const FileHandle& parent = Parent(parent_path);
    if (options_.apply_whiteouts) {
      if (leaf.starts_with(kWhiteout)) return ApplyWhiteout(parent_path, leaf);
      NoteMade(parent_path.empty() ? leaf : parent_path + "/" + leaf);
    }
    if (options_.oci_whiteouts && leaf.starts_with(kWhiteout)) {
      TakeWhiteout(parent.get(), leaf);
    } else if (hardlink) {
      TakeHardLink(parent.get(), leaf, hardlink);
    } else if (type == AE_IFDIR) {
      TakeFolder(parent.get(), leaf, parent_path.empty() ? leaf : parent_path + "/" + leaf);
    } else if (type == AE_IFREG) {
      TakeFile(parent.get(), leaf);
    } else if (type == AE_IFLNK) {
      TakeSymlink(parent.get(), leaf);
    } else if (type == AE_IFIFO) {
      MakeWay(parent.get(), leaf);
      Check(::mkfifoat(parent.get(), leaf.c_str(), 0600), "make the FIFO");
      SetMetadata(parent.get(), leaf, false);
    } else if (type == AE_IFCHR || type == AE_IFBLK) {
      if (options_.devices == UnpackOptions::Devices::kRefuse) {
        throw Failure(ErrorKind::kInvalid, "device nodes are not accepted");
      }
    } else {
      throw Failure(ErrorKind::kInvalid, "entries of this type are not accepted");
    }
  }

  static void Check(int status, std::string_view what) {
    if (status < 0) throw Failure(SystemError(what, errno));
  }

  Links OnTheWay() const { return options_.apply_whiteouts ? Links::kInRoot : Links::kBeneath; }

  // The folder that an entry goes into; the last one is kept, as archives list a folder's files in
  // a row.
  const FileHandle& Parent(const std::string& path) {
    if (parent_ && parent_path_ == path && !parent_stale_) return parent_;
    auto opened = OpenBelow(root_, path, O_PATH | O_DIRECTORY, OnTheWay());
    if (!opened && opened.error().kind == ErrorKind::kNotFound) {
      auto made = MakeFolders(root_, path, OnTheWay(), options_.id_offset);
      if (!made) throw Failure(made.error());
      opened = OpenBelow(root_, path, O_PATH | O_DIRECTORY, OnTheWay());
    }
    if (!opened) throw Failure(opened.error());
    parent_ = std::move(*opened);
    parent_path_ = path;
    parent_stale_ = false;
    return parent_;
  }

  // Whatever else lies at the name goes away. True if it was a whiteout of this archive.
  bool MakeWay(int parent, const std::string& leaf) {
    struct stat info{};
    if (::fstatat(parent, leaf.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return false;
      throw Failure(SystemError("look at what is there", errno));
    }
    if (S_ISDIR(info.st_mode)) {
      if (::unlinkat(parent, leaf.c_str(), AT_REMOVEDIR) == 0) {
        parent_stale_ = true;  // the kept folder may be this one
        return false;
      }
      if (options_.apply_whiteouts) {
        RemoveTree(parent, leaf, stop_);
        parent_stale_ = true;
        return false;
      }
      throw Failure(ErrorKind::kInvalid, "a folder that is not empty is in its place");
    }
    Check(::unlinkat(parent, leaf.c_str(), 0), "replace what is there");
    return S_ISCHR(info.st_mode) && info.st_rdev == makedev(0, 0);
  }

  void TakeWhiteout(int parent, const std::string& leaf) {
    if (leaf == kOpaque) {
      const FileHandle folder(::openat(parent, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
      Check(folder.get(), "open the folder");
      MarkOpaque(folder.get());
      return;
    }
    const std::string hidden = leaf.substr(kWhiteout.size());
    if (hidden.starts_with(kWhiteout)) return;  // bookkeeping of other layered file systems
    if (hidden.empty() || hidden == "." || hidden == "..") {
      throw Failure(ErrorKind::kInvalid, "the whiteout names nothing");
    }
    if (::mknodat(parent, hidden.c_str(), S_IFCHR, makedev(0, 0)) == 0) return;
    if (errno != EEXIST) throw Failure(SystemError("make the whiteout", errno));
    // This layer has the name itself: a folder must then hide the one below, a file does so anyway.
    const FileHandle folder(
        ::openat(parent, hidden.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (folder) MarkOpaque(folder.get());
  }

  // With every folder above it, so that an opaque mark that comes late keeps the way to it.
  void NoteMade(std::string path) {
    while (made_.insert(path).second) {
      const std::size_t slash = path.rfind('/');
      if (slash == std::string::npos) return;
      path.resize(slash);
    }
  }

  void ApplyWhiteout(const std::string& folder, const std::string& leaf) {
    const std::string hidden = leaf.substr(kWhiteout.size());
    if (leaf == kOpaque) {
      RemoveEarlier(folder);
    } else if (hidden.empty() || hidden == "." || hidden == "..") {
      throw Failure(ErrorKind::kInvalid, "the whiteout names nothing");
    } else if (!hidden.starts_with(kWhiteout)) {
      const std::string path = folder.empty() ? hidden : folder + "/" + hidden;
      if (made_.contains(path)) return RemoveEarlier(path);
      RemoveTree(Parent(folder).get(), hidden, stop_);
    }
    parent_stale_ = true;
  }

  // Everything in a folder that this archive has not brought; nothing if it is no folder.
  void RemoveEarlier(const std::string& path) {
    std::vector<std::string> names;
    {
      auto folder = OpenBelow(root_, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, OnTheWay());
      if (!folder) return;
      DIR* listing = ::fdopendir(folder->get());
      if (!listing) throw Failure(SystemError("read the folder " + path, errno));
      (void)folder->Release();  // closed with the listing
      const std::unique_ptr<DIR, CloseListing> closing(listing);
      while (const dirent* entry = ::readdir(listing)) {
        const std::string_view name = entry->d_name;
        if (name != "." && name != "..") names.emplace_back(name);
      }
    }
    for (const std::string& name : names) {
      const std::string child = path.empty() ? name : path + "/" + name;
      if (made_.contains(child)) {
        RemoveEarlier(child);
        continue;
      }
      const auto folder = OpenBelow(root_, path, O_PATH | O_DIRECTORY, OnTheWay());
      if (!folder) throw Failure(folder.error());
      RemoveTree(folder->get(), name, stop_);
    }
  }

  static void MarkOpaque(int folder) {
    Check(::fsetxattr(folder, "trusted.overlay.opaque", "y", 1, 0), "mark the folder as opaque");
  }

  void TakeHardLink(int parent, const std::string& leaf, const std::string& target) {
    auto parts = SplitPath(target, options_.path_bytes_max);
    if (!parts) {
      throw Failure(Error(parts.error()).Context("hard link to '" + target.substr(0, 200) + "'"));
    }
    if (parts->empty()) throw Failure(ErrorKind::kInvalid, "hard link to the root");
    const std::string name = parts->back();
    parts->pop_back();
    std::string path;
    for (const std::string& part : *parts)
      path += (path.empty() ? "" : "/") + part;
    auto folder = OpenBelow(root_, path, O_PATH | O_DIRECTORY, OnTheWay());
    if (!folder) {
      throw Failure(Error(folder.error()).Context("hard link to '" + target.substr(0, 200) + "'"));
    }
    struct stat from{};
    struct stat to{};
    Check(::fstatat(folder->get(), name.c_str(), &from, AT_SYMLINK_NOFOLLOW),
          "hard link to '" + target.substr(0, 200) + "'");
    if (::fstatat(parent, leaf.c_str(), &to, AT_SYMLINK_NOFOLLOW) == 0 &&
        from.st_dev == to.st_dev && from.st_ino == to.st_ino) {
      return;  // it is that link already
    }
    MakeWay(parent, leaf);
    Check(::linkat(folder->get(), name.c_str(), parent, leaf.c_str(), 0),
          "hard link to '" + target.substr(0, 200) + "'");
  }

  void TakeFolder(int parent, const std::string& leaf, std::string path) {
    struct stat info{};
    bool replaced_whiteout = false;
    if (::fstatat(parent, leaf.c_str(), &info, AT_SYMLINK_NOFOLLOW) != 0 ||
        !S_ISDIR(info.st_mode)) {
      replaced_whiteout = MakeWay(parent, leaf);
      Check(::mkdirat(parent, leaf.c_str(), 0700), "make the folder");
    }
    SetMetadata(parent, leaf, true);
    if (replaced_whiteout && options_.oci_whiteouts) {
      const FileHandle folder(
          ::openat(parent, leaf.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
      if (folder) MarkOpaque(folder.get());
    }
    folders_.push_back({std::move(path), Times()});
  }

  void TakeFile(int parent, const std::string& leaf) {
    MakeWay(parent, leaf);
    const FileHandle file(
        ::openat(parent, leaf.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    Check(file.get(), "create the file");
    try {
      WriteContent(file.get());
    } catch (...) {
      ::unlinkat(parent, leaf.c_str(), 0);  // no file that looks whole and is not
      throw;
    }
    if (set_owners_) {
      Check(::fchown(file.get(), Owner(::archive_entry_uid(entry_)),
                     Owner(::archive_entry_gid(entry_))),
            "set the owner");
    }
    Check(::fchmod(file.get(), ::archive_entry_perm(entry_) & 07777), "set the mode");
    SetAttributes(file.get());
    const auto times = Times();
    ::futimens(file.get(), times.data());
  }

  void WriteContent(int file) {
    const void* block = nullptr;
    std::size_t size = 0;
    la_int64_t offset = 0;
    for (;;) {
      if (stop_.stop_requested()) throw Cancelled();
      const int status = ::archive_read_data_block(handle_.get(), &block, &size, &offset);
      if (status == ARCHIVE_EOF) break;
      if (status != ARCHIVE_OK) ThrowTar(name_);
      done_.bytes += size;
      if (done_.bytes > options_.bytes_max) {
        throw Failure(ErrorKind::kTooLarge, "the archive's content passes the limit of " +
                                                std::to_string(options_.bytes_max) + " bytes");
      }
      const char* bytes = static_cast<const char*>(block);
      while (size > 0) {
        const ssize_t written = ::pwrite(file, bytes, size, offset);
        if (written < 0 && errno == EINTR) continue;
        Check(static_cast<int>(written < 0 ? -1 : 0), "write the file");
        bytes += written;
        size -= static_cast<std::size_t>(written);
        offset += written;
      }
    }
    // A hole at the end has no block.
    Check(::ftruncate(file, ::archive_entry_size(entry_)), "set the file's size");
  }

  void TakeSymlink(int parent, const std::string& leaf) {
    const char* target = ::archive_entry_symlink(entry_);
    if (!target || !*target) throw Failure(ErrorKind::kInvalid, "the symbolic link has no target");
    MakeWay(parent, leaf);
    Check(::symlinkat(target, parent, leaf.c_str()), "make the symbolic link");
    SetMetadata(parent, leaf, false);
  }

  std::uint32_t Owner(la_int64_t id) const {
    if (id < 0 || id >= static_cast<la_int64_t>(options_.id_count)) id = kNobody;
    return static_cast<std::uint32_t>(id) + options_.id_offset;
  }

  std::array<timespec, 2> Times() const {
    const timespec now{0, UTIME_NOW};
    if (!::archive_entry_mtime_is_set(entry_)) return {now, now};
    const timespec modified{::archive_entry_mtime(entry_), ::archive_entry_mtime_nsec(entry_)};
    return {modified, modified};
  }

  // Owner, mode and times of a folder (name "" for the root itself), a link or a FIFO.
  void SetMetadata(int parent, const std::string& leaf, bool folder) {
    const int flags = leaf.empty() ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
    if (set_owners_) {
      Check(::fchownat(parent, leaf.c_str(), Owner(::archive_entry_uid(entry_)),
                       Owner(::archive_entry_gid(entry_)), flags),
            "set the owner");
    }
    if (::archive_entry_filetype(entry_) == AE_IFLNK) {
      const auto times = Times();
      ::utimensat(parent, leaf.c_str(), times.data(), AT_SYMLINK_NOFOLLOW);
      return;
    }
    if (!folder) {
      // The name was just made by us in a folder that a container may see: do not follow a link.
      const FileHandle file(
          ::openat(parent, leaf.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
      Check(file.get(), "open it");
      Check(::fchmod(file.get(), ::archive_entry_perm(entry_) & 07777), "set the mode");
      return;
    }
    const FileHandle opened(::openat(parent, leaf.empty() ? "." : leaf.c_str(),
                                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    Check(opened.get(), "open the folder");
    Check(::fchmod(opened.get(), ::archive_entry_perm(entry_) & 07777), "set the mode");
    SetAttributes(opened.get());
  }

  void SetAttributes(int file) {
    ::archive_entry_xattr_reset(entry_);
    const char* name = nullptr;
    const void* value = nullptr;
    std::size_t size = 0;
    while (::archive_entry_xattr_next(entry_, &name, &value, &size) == ARCHIVE_OK) {
      if (!name || !value) continue;
      const std::string_view attribute(name);
      std::string content(static_cast<const char*>(value), size);
      if (attribute == "security.capability") {
        if (!set_owners_) continue;
        ShiftCapability(content);
      } else if (!attribute.starts_with("user.")) {
        continue;
      }
      // Not every file system takes them; a file without is the best there can be then.
      if (::fsetxattr(file, name, content.data(), content.size(), 0) != 0 && errno != ENOTSUP &&
          errno != EPERM && errno != EINVAL && errno != E2BIG) {
        throw Failure(SystemError("set the attribute " + std::string(attribute), errno));
      }
    }
  }

  // In a folder with shifted ids a capability must name the root user it is for.
  void ShiftCapability(std::string& content) const {
    vfs_ns_cap_data capability{};
    if (options_.id_offset == 0 || content.size() < XATTR_CAPS_SZ_2) return;
    std::memcpy(&capability, content.data(), XATTR_CAPS_SZ_2);
    capability.magic_etc =
        (capability.magic_etc & ~std::uint32_t{VFS_CAP_REVISION_MASK}) | VFS_CAP_REVISION_3;
    capability.rootid = options_.id_offset;
    content.assign(reinterpret_cast<const char*>(&capability), sizeof(capability));
  }

  // Writing into a folder changes its time, so times of folders come last.
  void FinishFolders() {
    for (auto folder = folders_.rbegin(); folder != folders_.rend(); ++folder) {
      auto opened = OpenBelow(root_, folder->path, O_RDONLY | O_DIRECTORY, OnTheWay());
      if (opened) ::futimens(opened->get(), folder->times.data());
    }
  }

  struct Folder {
    std::string path;
    std::array<timespec, 2> times;
  };

  Utf8Locale locale_;
  Input input_;
  int root_;
  const UnpackOptions& options_;
  const std::stop_token& stop_;
  std::unique_ptr<::archive, FreeRead> handle_;
  ::archive_entry* entry_ = nullptr;
  std::string name_;
  bool set_owners_ = false;
  FileHandle parent_;
  std::string parent_path_;
  bool parent_stale_ = false;
  std::vector<Folder> folders_;
  std::unordered_set<std::string> made_;  // with apply_whiteouts: what this archive has brought
  Unpacked done_;
};

}  // namespace

Unpacked Unpack(ByteSource& tar, int root, const UnpackOptions& options,
                const std::stop_token& stop) {
  return Unpacker(tar, root, options, stop).Run();
}

}  // namespace pinion::archive
