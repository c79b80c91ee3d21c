#include "worker/containers/bundle.h"

#include "worker/containers/capabilities.h"
#include "worker/containers/devices.h"
#include "worker/containers/limits.h"
#include "worker/containers/seccomp.h"
#include "worker/id_mapping.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using protocol::garden::BindMount;
using protocol::garden::ContainerSpec;

/// In the runtime's own tmpfs, so that nothing of it is left in the root file system.
constexpr const char* kInitPath = "/dev/.pinion-init";

constexpr int kOutOfMemoryScore = 500;

Json Mount(std::string destination, std::string type, std::string source, JsonArray options) {
  return JsonObject{{"destination", std::move(destination)},
                    {"type", std::move(type)},
                    {"source", std::move(source)},
                    {"options", std::move(options)}};
}

Json Bind(std::string source, std::string destination, bool writable) {
  return Mount(std::move(destination), "bind", std::move(source),
               {"rbind", writable ? "rw" : "ro"});
}

JsonArray SystemMounts(bool privileged, const linux::CgroupLayout& cgroups) {
  JsonArray system{"nosuid", "noexec", "nodev"};
  if (!privileged) system.push_back("ro");
  const std::string cgroup = cgroups.unified() ? "cgroup2" : "cgroup";
  return {
      Mount("/proc", "proc", "proc", {"nosuid", "noexec", "nodev"}),
      Mount("/dev", "tmpfs", "tmpfs", {"nosuid", "strictatime", "mode=755", "size=65536k"}),
      Mount("/dev/pts", "devpts", "devpts",
            {"nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"}),
      Mount("/dev/shm", "tmpfs", "shm", {"nosuid", "noexec", "nodev", "mode=1777"}),
      Mount("/dev/mqueue", "mqueue", "mqueue", {"nosuid", "noexec", "nodev"}),
      Mount("/sys", "sysfs", "sysfs", system),
      Mount("/sys/fs/cgroup", cgroup, cgroup, system),
  };
}

Result<void> AppendBinds(const std::vector<BindMount>& binds, JsonArray& mounts) {
  for (const BindMount& bind : binds) {
    if (!bind.src_path.starts_with('/') || !bind.dst_path.starts_with('/')) {
      return Fail(ErrorKind::kInvalid, "bind mount of \"" + bind.src_path + "\" at \"" +
                                           bind.dst_path + "\": both must be absolute paths");
    }
    if (bind.origin != 0 || (bind.mode != 0 && bind.mode != 1)) {
      return Fail(ErrorKind::kInvalid, "bind mount at " + bind.dst_path + ": unknown origin " +
                                           std::to_string(bind.origin) + " or mode " +
                                           std::to_string(bind.mode));
    }
    mounts.push_back(Bind(bind.src_path, bind.dst_path, bind.mode == 1));
  }
  return {};
}

Json Namespace(std::string type, const std::string& path) {
  JsonObject result{{"type", std::move(type)}};
  if (!path.empty()) result.Set("path", path);
  return result;
}

Json Process(bool privileged) {
  return JsonObject{
      {"terminal", false},
      {"user", JsonObject{{"uid", 0}, {"gid", 0}}},
      {"args", JsonArray{kInitPath, "init"}},
      {"env", JsonArray{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}},
      {"cwd", "/"},
      {"capabilities", Capabilities(privileged)},
      {"noNewPrivileges", false},  // sudo and its like work in tasks
      // Where the machine's memory ends, tasks go before the server and the supervisors.
      {"oomScoreAdj", kOutOfMemoryScore}};
}

Result<Json> LinuxSection(const ContainerSpec& spec, const BundleContext& context) {
  auto resources = LimitResources(spec.limits, context.processes_max, *context.cgroups);
  if (!resources) return resources;
  resources->AsObject().Set("devices", DeviceRules(spec.privileged));
  if (context.write_rate > 0) {
    auto writes = LimitWrites(context.work_dir, context.write_rate, *context.cgroups);
    if (!writes) return writes;
    resources->AsObject().Set("blockIO", std::move(*writes));
  }
  JsonArray namespaces{Namespace("pid", ""), Namespace("ipc", ""), Namespace("uts", ""),
                       Namespace("mount", ""), Namespace("network", context.network_namespace)};
  JsonObject section{{"resources", std::move(*resources)},
                     {"cgroupsPath", "/" + context.cgroup},
                     {"devices", DeviceNodes(spec.privileged)}};
  if (!spec.privileged) {
    namespaces.push_back(Namespace("cgroup", ""));
    namespaces.push_back(Namespace("user", context.user_namespace));
    const JsonArray mapping{
        JsonObject{{"containerID", 0}, {"hostID", kHostIdBase}, {"size", kIdCount}}};
    section.Set("uidMappings", mapping);
    section.Set("gidMappings", mapping);
    section.Set("maskedPaths",
                JsonArray{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
                          "/proc/timer_list", "/proc/sched_debug", "/proc/scsi", "/sys/firmware"});
    section.Set("readonlyPaths", JsonArray{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys",
                                           "/proc/sysrq-trigger"});
    if (context.compiled_seccomp.empty()) section.Set("seccomp", SeccompProfile());
  }
  section.Set("namespaces", std::move(namespaces));
  return section;
}

}  // namespace

Result<fs::path> RootfsFolder(const ContainerSpec& spec) {
  const std::string& text = spec.rootfs.empty() ? spec.image.uri : spec.rootfs;
  constexpr std::string_view kScheme = "raw://";
  if (!text.starts_with(kScheme) || !text.substr(kScheme.size()).starts_with('/')) {
    return Fail(ErrorKind::kInvalid,
                "rootfs \"" + text + "\" is refused: it must be raw:// and an absolute path");
  }
  fs::path folder = text.substr(kScheme.size());
  std::error_code error;
  if (!fs::is_directory(folder, error)) {
    return Fail(ErrorKind::kNotFound, "rootfs " + folder.string() + " is no folder");
  }
  return folder;
}

Result<Json> MakeBundle(const ContainerSpec& spec, const BundleContext& context) {
  auto rootfs = RootfsFolder(spec);
  if (!rootfs) return std::unexpected(std::move(rootfs).error());
  auto section = LinuxSection(spec, context);
  if (!section) return section;
  JsonArray mounts = SystemMounts(spec.privileged, *context.cgroups);
  mounts.push_back(Mount(kInitPath, "bind", context.supervisor, {"bind", "ro", "nosuid", "nodev"}));
  for (const char* name : {"hosts", "resolv.conf"}) {
    mounts.push_back(Bind(context.folder / name, std::string("/etc/") + name, true));
  }
  if (auto added = AppendBinds(spec.bind_mounts, mounts); !added) {
    return std::unexpected(std::move(added).error());
  }
  JsonObject bundle{{"ociVersion", "1.0.2"},
                    {"process", Process(spec.privileged)},
                    {"root", JsonObject{{"path", rootfs->string()}, {"readonly", false}}},
                    {"hostname", spec.handle.substr(0, 64)},
                    {"mounts", std::move(mounts)},
                    {"linux", std::move(*section)}};
  if (!spec.privileged && !context.compiled_seccomp.empty()) {
    bundle.Set("annotations", JsonObject{{"run.oci.seccomp_bpf_data", context.compiled_seccomp}});
  }
  return bundle;
}

}  // namespace pinion::worker
