#include "app/requirements.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>

#include "app/resource_types.h"
#include "base/encoding.h"
#include "base/files.h"
#include "base/text.h"
#include "store/database.h"

namespace pinion::app {
namespace {

namespace fs = std::filesystem;

Requirement Met(std::string name, std::string detail) {
  return {.name = std::move(name), .met = true, .detail = std::move(detail)};
}

Requirement Missing(std::string name, std::string detail, std::string cure) {
  return {.name = std::move(name), .detail = std::move(detail), .cure = std::move(cure)};
}

std::string FindProgram(std::string_view name) {
  const char* path = std::getenv("PATH");
  for (const std::string_view folder :
       Split(path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    const std::string candidate = std::string(folder) + "/" + std::string(name);
    if (::access(candidate.c_str(), X_OK) == 0) return candidate;
  }
  return "";
}

bool FileSays(const fs::path& path, std::string_view word) {
  const auto text = ReadFile(path, 1 << 20);
  return text && text->contains(word);
}

Requirement Root() {
  if (::geteuid() == 0) return Met("root", "running as root");
  return Missing("root", "containers need root", "run this command as root, for example with sudo");
}

Requirement Cgroups() {
  for (const char* folder : {"/sys/fs/cgroup/memory", "/sys/fs/cgroup"}) {
    const fs::path procs = fs::path(folder) / "cgroup.procs";
    if (!fs::exists(procs)) continue;
    if (::access(folder, W_OK) == 0) {
      return Met("cgroups", std::string(folder) == "/sys/fs/cgroup" ? "version 2" : "version 1");
    }
    return Missing("cgroups", std::string(folder) + " is read-only",
                   "mount -o remount,rw /sys/fs/cgroup (in a container: start it privileged)");
  }
  return Missing("cgroups", "no control groups are mounted",
                 "mount -t cgroup2 none /sys/fs/cgroup");
}

Requirement Overlay() {
  if (FileSays("/proc/filesystems", "\toverlay\n")) return Met("overlayfs", "in this kernel");
  return Missing("overlayfs", "this kernel has no overlay file system", "modprobe overlay");
}

Requirement UserNamespaces() {
  const auto text = ReadFile("/proc/sys/user/max_user_namespaces", 64);
  if (text && Trim(*text) != "0") return Met("user namespaces", "allowed");
  return Missing("user namespaces", "user namespaces are switched off",
                 "sysctl -w user.max_user_namespaces=15000");
}

Requirement Runtime(const ServerOptions& options) {
  if (!options.worker_runtime.empty()) {
    const std::string program = FindProgram(options.worker_runtime);
    if (!program.empty()) return Met("runtime", program);
    return Missing("runtime", options.worker_runtime + " is not on the PATH",
                   "apt-get install " + options.worker_runtime);
  }
  for (const char* name : {"crun", "runc"}) {
    const std::string program = FindProgram(name);
    if (!program.empty()) return Met("runtime", program);
  }
  return Missing("runtime", "neither crun nor runc is on the PATH", "apt-get install crun");
}

Requirement Firewall() {
  const std::string program = FindProgram("nft");
  if (!program.empty()) return Met("nftables", program);
  return Missing("nftables", "nft is not on the PATH", "apt-get install nftables");
}

Requirement ResourceTypes(const ServerOptions& options) {
  const std::string folder = ResourceTypesFolder(options);
  if (folder.empty()) {
    return Missing("resource types", "no folder of resource types was found",
                   "build them (make build), or name one by --worker-resource-types");
  }
  return Met("resource types", folder);
}

Requirement StateFolder(const ServerOptions& options) {
  std::error_code error;
  fs::create_directories(options.state_dir, error);
  const fs::path probe = fs::path(options.state_dir) / ".probe";
  if (!fs::is_directory(options.state_dir)) {
    return Missing("state folder", options.state_dir + " is no folder and cannot be made one",
                   "name a folder that can be written to by --state-dir");
  }
  if (const auto written = WriteFile(probe, "x"); !written) {
    return Missing("state folder",
                   "cannot write to " + options.state_dir + ": " + written.error().message,
                   "name a folder that can be written to by --state-dir");
  }
  fs::remove(probe, error);
  return Met("state folder", options.state_dir);
}

/// Binds the address and lets go of it: an errno, or 0. What a server was about to start when it
/// was killed holds that server's sockets until its own program runs, so a moment is waited.
int TryToBind(const sockaddr* address, socklen_t size) {
  constexpr int kTries = 50;
  constexpr useconds_t kPause = 20'000;
  for (int i = 1;; ++i) {
    const int fd = ::socket(address->sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int one = 1;
    ::setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    const int failed = ::bind(fd, address, size) == 0 ? 0 : errno;
    ::close(fd);
    if (failed != EADDRINUSE || i == kTries) return failed;
    ::usleep(kPause);
  }
}

/// Whether the address can be bound. Port 0 always can.
Requirement Port(const ServerOptions& options) {
  const std::string where = options.bind_ip + ":" + std::to_string(options.bind_port);
  sockaddr_in6 address6{.sin6_family = AF_INET6,
                        .sin6_port = htons(static_cast<std::uint16_t>(options.bind_port))};
  sockaddr_in address4{.sin_family = AF_INET,
                       .sin_port = htons(static_cast<std::uint16_t>(options.bind_port))};
  const bool is4 = inet_pton(AF_INET, options.bind_ip.c_str(), &address4.sin_addr) == 1;
  if (!is4 && inet_pton(AF_INET6, options.bind_ip.c_str(), &address6.sin6_addr) != 1) {
    return Missing("port", "'" + options.bind_ip + "' is no IP address", "mend --bind-ip");
  }
  const auto* address = is4 ? reinterpret_cast<const sockaddr*>(&address4)
                            : reinterpret_cast<const sockaddr*>(&address6);
  const int failed = TryToBind(address, is4 ? sizeof address4 : sizeof address6);
  if (failed == 0) return Met("port", where + " is free");
  const std::string cure = failed == EADDRINUSE
                               ? "stop what listens there (ss -ltnp), or choose another --bind-port"
                               : "choose an address of this machine by --bind-ip";
  return Missing("port", SystemError("listen on " + where, failed).message, cure);
}

/// Whether the database answers and is not of a newer release. One that is still to be made is
/// fine.
Requirement Database(const ServerOptions& options) {
  const std::string url = options.DatabaseUrl();
  const bool sqlite = url.starts_with("sqlite:");
  if (sqlite && !fs::exists(url.substr(7))) return Met("database", "will be made");
  const SystemClock clock;
  const auto opened = store::Database::Open(
      {.url = url, .connect_timeout = std::chrono::seconds(3), .retries = 0, .migrate = false},
      clock, Logger());
  if (opened) return Met("database", sqlite ? url : "PostgreSQL");
  const bool newer = opened.error().kind == ErrorKind::kConflict;
  return Missing("database", opened.error().message,
                 newer ? "use the newer release" : "mend it, or name another by --database-url");
}

}  // namespace

std::vector<Requirement> CheckRequirements(const ServerOptions& options) {
  return {
      Root(),    StateFolder(options), Database(options), Port(options), Cgroups(),
      Overlay(), UserNamespaces(),     Runtime(options),  Firewall(),    ResourceTypes(options)};
}

}  // namespace pinion::app
