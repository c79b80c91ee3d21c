#include "archive/pack.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "archive/tar_library.h"
#include "archive/tree.h"

namespace pinion::archive {
namespace {

constexpr std::uint32_t kNobody = 65534;

// Takes libarchive's output; an exception of the sink is kept and thrown after it has returned.
struct Output {
  ByteSink& sink;
  std::exception_ptr error;

  static la_ssize_t Write(::archive* handle, void* data, const void* bytes, std::size_t size) {
    auto* self = static_cast<Output*>(data);
    if (self->error) return ARCHIVE_FATAL;
    try {
      self->sink.Write(std::string_view(static_cast<const char*>(bytes), size));
      return static_cast<la_ssize_t>(size);
    } catch (...) {
      self->error = std::current_exception();
      ::archive_set_error(handle, EIO, "the stream broke off");
      return ARCHIVE_FATAL;
    }
  }
};

class Packer {
 public:
  Packer(ByteSink& to, const PackOptions& options, const std::stop_token& stop)
      : output_{to, nullptr}, options_(options), stop_(stop), handle_(::archive_write_new()) {
    if (!handle_) throw Failure(ErrorKind::kInternal, "no memory to write an archive");
    ::archive_write_set_format_pax_restricted(handle_.get());
    ::archive_write_set_bytes_per_block(handle_.get(), 64 << 10);
    ::archive_write_set_bytes_in_last_block(handle_.get(), 1);  // no padding behind the end
    Check(::archive_write_open(handle_.get(), &output_, nullptr, &Output::Write, nullptr), "");
  }

  Packed Run(int root, const std::string& path) {
    auto opened = OpenBelow(root, path, O_PATH, Links::kInRoot);
    if (!opened) throw Failure(opened.error());
    struct stat info{};
    if (::fstat(opened->get(), &info) != 0) throw Failure(SystemError("look at " + path, errno));
    if (S_ISDIR(info.st_mode)) {
      auto folder = OpenBelow(root, path, O_RDONLY | O_DIRECTORY, Links::kInRoot);
      if (!folder) throw Failure(folder.error());
      PackFolder(std::move(*folder), info, "./", 0);
    } else if (S_ISREG(info.st_mode)) {
      auto file = OpenBelow(root, path, O_RDONLY | O_NONBLOCK, Links::kInRoot);
      if (!file) throw Failure(file.error());
      PackFile(std::move(*file), info, path.substr(path.find_last_of('/') + 1));
    } else {
      throw Failure(ErrorKind::kInvalid, "'" + path + "' is neither a folder nor a file");
    }
    Check(::archive_write_close(handle_.get()), "the end");
    output_.sink.Finish();
    return done_;
  }

 private:
  void Check(int status, const std::string& name) {
    if (output_.error) std::rethrow_exception(output_.error);
    // A warning is about a detail such as a name that is no UTF-8, which goes as raw bytes.
    if (status >= ARCHIVE_WARN) return;
    throw Failure(ErrorKind::kInternal, "pack '" + name + "': " + TarError(handle_.get()));
  }

  std::uint32_t Owner(std::uint32_t id) const {
    return id < options_.id_offset ? kNobody : id - options_.id_offset;
  }

  std::unique_ptr<::archive_entry, FreeEntry> Describe(const struct stat& info,
                                                       const std::string& name) {
    if (stop_.stop_requested()) throw Cancelled();
    std::unique_ptr<::archive_entry, FreeEntry> entry(::archive_entry_new());
    if (!entry) throw Failure(ErrorKind::kInternal, "no memory to write an archive");
    ::archive_entry_copy_pathname(entry.get(), name.c_str());
    ::archive_entry_set_mode(entry.get(), info.st_mode);
    ::archive_entry_set_uid(entry.get(), Owner(info.st_uid));
    ::archive_entry_set_gid(entry.get(), Owner(info.st_gid));
    if (options_.fixed_time >= 0) {
      ::archive_entry_set_mtime(entry.get(), options_.fixed_time, 0);
    } else {
      ::archive_entry_set_mtime(entry.get(), info.st_mtim.tv_sec, info.st_mtim.tv_nsec);
    }
    ++done_.entries;
    return entry;
  }

  // True, and the entry is written, if an earlier name leads to the same file.
  bool PackHardLink(::archive_entry* entry, const struct stat& info, const std::string& name) {
    if (info.st_nlink < 2) return false;
    const auto [known, added] = linked_.try_emplace({info.st_dev, info.st_ino}, name);
    if (added) return false;
    ::archive_entry_copy_hardlink(entry, known->second.c_str());
    ::archive_entry_set_size(entry, 0);
    Check(::archive_write_header(handle_.get(), entry), name);
    return true;
  }

  void AddAttributes(::archive_entry* entry, int file) {
    std::vector<char> names(4096);
    ssize_t size = ::flistxattr(file, names.data(), names.size());
    if (size < 0 && errno == ERANGE) {
      names.resize(64 << 10);
      size = ::flistxattr(file, names.data(), names.size());
    }
    std::vector<std::string> sorted;
    for (ssize_t at = 0; at < size;) {
      sorted.emplace_back(names.data() + at);
      at += static_cast<ssize_t>(sorted.back().size()) + 1;
    }
    std::sort(sorted.begin(), sorted.end());
    std::vector<char> value(64 << 10);
    for (const std::string& name : sorted) {
      if (name != "security.capability" && !name.starts_with("user.")) continue;
      const ssize_t length = ::fgetxattr(file, name.c_str(), value.data(), value.size());
      if (length < 0) continue;
      std::string content(value.data(), static_cast<std::size_t>(length));
      if (name == "security.capability") UnshiftCapability(content);
      ::archive_entry_xattr_add_entry(entry, name.c_str(), content.data(), content.size());
    }
  }

  // In a folder with shifted ids a capability names the root user it is for; archives do not.
  void UnshiftCapability(std::string& content) const {
    vfs_ns_cap_data capability{};
    if (content.size() != sizeof(capability)) return;
    std::memcpy(&capability, content.data(), sizeof(capability));
    if (capability.rootid != options_.id_offset) return;
    capability.magic_etc =
        (capability.magic_etc & ~std::uint32_t{VFS_CAP_REVISION_MASK}) | VFS_CAP_REVISION_2;
    content.assign(reinterpret_cast<const char*>(&capability), XATTR_CAPS_SZ_2);
  }

  void PackFile(FileHandle file, const struct stat& info, const std::string& name) {
    auto entry = Describe(info, name);
    if (PackHardLink(entry.get(), info, name)) return;
    ::archive_entry_set_size(entry.get(), info.st_size);
    AddAttributes(entry.get(), file.get());
    Check(::archive_write_header(handle_.get(), entry.get()), name);
    std::int64_t left = info.st_size;
    while (left > 0) {
      if (stop_.stop_requested()) throw Cancelled();
      const std::size_t want =
          std::min<std::size_t>(buffer_.size(), static_cast<std::size_t>(left));
      const ssize_t got = ::read(file.get(), buffer_.data(), want);
      if (got < 0 && errno == EINTR) continue;
      if (got < 0) throw Failure(SystemError("read '" + name + "'", errno));
      if (got == 0) {
        throw Failure(ErrorKind::kConflict, "'" + name + "' became shorter while it was read");
      }
      const la_ssize_t written =
          ::archive_write_data(handle_.get(), buffer_.data(), static_cast<std::size_t>(got));
      Check(written < 0 ? static_cast<int>(written) : ARCHIVE_OK, name);
      left -= got;
      done_.bytes += static_cast<std::uint64_t>(got);
    }
    Check(::archive_write_finish_entry(handle_.get()), name);
  }

  void PackFolder(FileHandle folder, const struct stat& info, const std::string& name,
                  std::size_t depth) {
    if (depth > options_.depth_max) {
      throw Failure(ErrorKind::kTooLarge, "'" + name.substr(0, 200) + "…' lies more than " +
                                              std::to_string(options_.depth_max) + " folders deep");
    }
    {
      auto entry = Describe(info, name);
      AddAttributes(entry.get(), folder.get());
      Check(::archive_write_header(handle_.get(), entry.get()), name);
    }
    for (const std::string& child : Children(folder.get(), name)) {
      PackChild(folder.get(), child, name + child, depth);
    }
  }

  static std::vector<std::string> Children(int folder, const std::string& name) {
    const int copy = ::openat(folder, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (copy < 0) throw Failure(SystemError("open '" + name + "'", errno));
    const std::unique_ptr<DIR, int (*)(DIR*)> stream(::fdopendir(copy), &::closedir);
    if (!stream) {
      const int reason = errno;
      ::close(copy);
      throw Failure(SystemError("read '" + name + "'", reason));
    }
    std::vector<std::string> children;
    errno = 0;
    while (const dirent* entry = ::readdir(stream.get())) {
      const std::string_view child = entry->d_name;
      if (child != "." && child != "..") children.emplace_back(child);
      errno = 0;
    }
    if (errno != 0) throw Failure(SystemError("read '" + name + "'", errno));
    std::sort(children.begin(), children.end());
    return children;
  }

  void PackChild(int folder, const std::string& child, const std::string& name, std::size_t depth) {
    struct stat info{};
    const bool follow = options_.follow_links;
    if (::fstatat(folder, child.c_str(), &info, follow ? 0 : AT_SYMLINK_NOFOLLOW) != 0) {
      if (errno == ENOENT) return;  // it went away meanwhile
      throw Failure(SystemError("look at '" + name + "'", errno));
    }
    if (S_ISLNK(info.st_mode)) {
      PackSymlink(folder, child, info, name);
    } else if (S_ISFIFO(info.st_mode)) {
      auto entry = Describe(info, name);
      if (PackHardLink(entry.get(), info, name)) return;
      Check(::archive_write_header(handle_.get(), entry.get()), name);
    } else if (S_ISREG(info.st_mode) || S_ISDIR(info.st_mode)) {
      FileHandle opened(::openat(folder, child.c_str(),
                                 O_RDONLY | O_NONBLOCK | O_CLOEXEC | (follow ? 0 : O_NOFOLLOW)));
      if (!opened) {
        if (errno == ENOENT || errno == ELOOP) return;  // replaced meanwhile
        throw Failure(SystemError("open '" + name + "'", errno));
      }
      // What was opened counts, not what was looked at.
      if (::fstat(opened.get(), &info) != 0) throw Failure(SystemError("look at " + name, errno));
      if (S_ISDIR(info.st_mode)) {
        PackFolder(std::move(opened), info, name + "/", depth + 1);
      } else if (S_ISREG(info.st_mode)) {
        PackFile(std::move(opened), info, name);
      }
    }
  }

  void PackSymlink(int folder, const std::string& child, const struct stat& info,
                   const std::string& name) {
    std::vector<char> target(static_cast<std::size_t>(PATH_MAX) + 1);
    const ssize_t length = ::readlinkat(folder, child.c_str(), target.data(), target.size() - 1);
    if (length < 0) throw Failure(SystemError("read the link '" + name + "'", errno));
    auto entry = Describe(info, name);
    if (PackHardLink(entry.get(), info, name)) return;
    ::archive_entry_copy_symlink(entry.get(), target.data());
    Check(::archive_write_header(handle_.get(), entry.get()), name);
  }

  Utf8Locale locale_;
  Output output_;
  const PackOptions& options_;
  const std::stop_token& stop_;
  std::unique_ptr<::archive, FreeWrite> handle_;
  std::map<std::pair<dev_t, ino_t>, std::string> linked_;
  std::vector<char> buffer_ = std::vector<char>(256 << 10);
  Packed done_;
};

}  // namespace

Packed Pack(int root, const std::string& path, ByteSink& to, const PackOptions& options,
            const std::stop_token& stop) {
  return Packer(to, options, stop).Run(root, path);
}

}  // namespace pinion::archive
