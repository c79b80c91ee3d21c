#include "worker/containers/capabilities.h"

#include <charconv>

#include "base/files.h"
#include "base/text.h"

namespace pinion::worker {
namespace {

/// By number, as the kernel counts them.
constexpr std::string_view kNames[] = {"CAP_CHOWN",
                                       "CAP_DAC_OVERRIDE",
                                       "CAP_DAC_READ_SEARCH",
                                       "CAP_FOWNER",
                                       "CAP_FSETID",
                                       "CAP_KILL",
                                       "CAP_SETGID",
                                       "CAP_SETUID",
                                       "CAP_SETPCAP",
                                       "CAP_LINUX_IMMUTABLE",
                                       "CAP_NET_BIND_SERVICE",
                                       "CAP_NET_BROADCAST",
                                       "CAP_NET_ADMIN",
                                       "CAP_NET_RAW",
                                       "CAP_IPC_LOCK",
                                       "CAP_IPC_OWNER",
                                       "CAP_SYS_MODULE",
                                       "CAP_SYS_RAWIO",
                                       "CAP_SYS_CHROOT",
                                       "CAP_SYS_PTRACE",
                                       "CAP_SYS_PACCT",
                                       "CAP_SYS_ADMIN",
                                       "CAP_SYS_BOOT",
                                       "CAP_SYS_NICE",
                                       "CAP_SYS_RESOURCE",
                                       "CAP_SYS_TIME",
                                       "CAP_SYS_TTY_CONFIG",
                                       "CAP_MKNOD",
                                       "CAP_LEASE",
                                       "CAP_AUDIT_WRITE",
                                       "CAP_AUDIT_CONTROL",
                                       "CAP_SETFCAP",
                                       "CAP_MAC_OVERRIDE",
                                       "CAP_MAC_ADMIN",
                                       "CAP_SYSLOG",
                                       "CAP_WAKE_ALARM",
                                       "CAP_BLOCK_SUSPEND",
                                       "CAP_AUDIT_READ"};

constexpr std::string_view kUnprivileged[] = {
    "CAP_AUDIT_WRITE", "CAP_CHOWN",   "CAP_DAC_OVERRIDE",     "CAP_FOWNER",    "CAP_FSETID",
    "CAP_KILL",        "CAP_MKNOD",   "CAP_NET_BIND_SERVICE", "CAP_NET_RAW",   "CAP_SETFCAP",
    "CAP_SETGID",      "CAP_SETPCAP", "CAP_SETUID",           "CAP_SYS_CHROOT"};

/// What this process can give away at most; machines in machines often lack some.
std::uint64_t BoundingSet() {
  const auto status = ReadFile("/proc/self/status");
  if (!status) return ~0ULL;
  for (const std::string_view line : Split(*status, '\n')) {
    if (!line.starts_with("CapBnd:")) continue;
    const std::string_view digits = Trim(line.substr(7));
    std::uint64_t set = ~0ULL;
    std::from_chars(digits.data(), digits.data() + digits.size(), set, 16);
    return set;
  }
  return ~0ULL;
}

}  // namespace

Json Capabilities(bool privileged) {
  JsonArray names;
  if (privileged) {
    const std::uint64_t bounding = BoundingSet();
    for (std::size_t i = 0; i < std::size(kNames); ++i) {
      if (bounding >> i & 1) names.emplace_back(kNames[i]);
    }
  } else {
    for (const std::string_view name : kUnprivileged)
      names.emplace_back(name);
  }
  return JsonObject{{"bounding", names},
                    {"effective", names},
                    {"permitted", names},
                    {"inheritable", JsonArray{}},
                    {"ambient", JsonArray{}}};
}

}  // namespace pinion::worker
