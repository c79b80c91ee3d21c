#include "worker/containers/seccomp.h"

#include <seccomp.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <memory>

#include "base/encoding.h"
#include "linux/fd.h"

namespace pinion::worker {
namespace {

constexpr auto kAllowed = std::to_array<const char*>({
    "accept",
    "accept4",
    "access",
    "adjtimex",
    "alarm",
    "arch_prctl",
    "bind",
    "brk",
    "cachestat",
    "capget",
    "capset",
    "chdir",
    "chmod",
    "chown",
    "chown32",
    "chroot",
    "clock_adjtime",
    "clock_adjtime64",
    "clock_getres",
    "clock_getres_time64",
    "clock_gettime",
    "clock_gettime64",
    "clock_nanosleep",
    "clock_nanosleep_time64",
    "close",
    "close_range",
    "connect",
    "copy_file_range",
    "creat",
    "dup",
    "dup2",
    "dup3",
    "epoll_create",
    "epoll_create1",
    "epoll_ctl",
    "epoll_ctl_old",
    "epoll_pwait",
    "epoll_pwait2",
    "epoll_wait",
    "epoll_wait_old",
    "eventfd",
    "eventfd2",
    "execve",
    "execveat",
    "exit",
    "exit_group",
    "faccessat",
    "faccessat2",
    "fadvise64",
    "fadvise64_64",
    "fallocate",
    "fanotify_mark",
    "fchdir",
    "fchmod",
    "fchmodat",
    "fchmodat2",
    "fchown",
    "fchown32",
    "fchownat",
    "fcntl",
    "fcntl64",
    "fdatasync",
    "fgetxattr",
    "flistxattr",
    "flock",
    "fork",
    "fremovexattr",
    "fsetxattr",
    "fstat",
    "fstat64",
    "fstatat64",
    "fstatfs",
    "fstatfs64",
    "fsync",
    "ftruncate",
    "ftruncate64",
    "futex",
    "futex_requeue",
    "futex_time64",
    "futex_wait",
    "futex_waitv",
    "futex_wake",
    "futimesat",
    "get_robust_list",
    "get_thread_area",
    "getcpu",
    "getcwd",
    "getdents",
    "getdents64",
    "getegid",
    "getegid32",
    "geteuid",
    "geteuid32",
    "getgid",
    "getgid32",
    "getgroups",
    "getgroups32",
    "getitimer",
    "getpeername",
    "getpgid",
    "getpgrp",
    "getpid",
    "getppid",
    "getpriority",
    "getrandom",
    "getresgid",
    "getresgid32",
    "getresuid",
    "getresuid32",
    "getrlimit",
    "getrusage",
    "getsid",
    "getsockname",
    "getsockopt",
    "gettid",
    "gettimeofday",
    "getuid",
    "getuid32",
    "getxattr",
    "inotify_add_watch",
    "inotify_init",
    "inotify_init1",
    "inotify_rm_watch",
    "io_cancel",
    "io_destroy",
    "io_getevents",
    "io_pgetevents",
    "io_pgetevents_time64",
    "io_setup",
    "io_submit",
    "ioctl",
    "ioprio_get",
    "ioprio_set",
    "ipc",
    "kill",
    "landlock_add_rule",
    "landlock_create_ruleset",
    "landlock_restrict_self",
    "lchown",
    "lchown32",
    "lgetxattr",
    "link",
    "linkat",
    "listen",
    "listxattr",
    "llistxattr",
    "_llseek",
    "lremovexattr",
    "lseek",
    "lsetxattr",
    "lstat",
    "lstat64",
    "madvise",
    "map_shadow_stack",
    "membarrier",
    "memfd_create",
    "memfd_secret",
    "mincore",
    "mkdir",
    "mkdirat",
    "mknod",
    "mknodat",
    "mlock",
    "mlock2",
    "mlockall",
    "mmap",
    "mmap2",
    "modify_ldt",
    "mprotect",
    "mq_getsetattr",
    "mq_notify",
    "mq_open",
    "mq_timedreceive",
    "mq_timedreceive_time64",
    "mq_timedsend",
    "mq_timedsend_time64",
    "mq_unlink",
    "mremap",
    "msgctl",
    "msgget",
    "msgrcv",
    "msgsnd",
    "msync",
    "munlock",
    "munlockall",
    "munmap",
    "name_to_handle_at",
    "nanosleep",
    "newfstatat",
    "_newselect",
    "open",
    "open_tree",
    "openat",
    "openat2",
    "pause",
    "pidfd_open",
    "pidfd_send_signal",
    "pipe",
    "pipe2",
    "pkey_alloc",
    "pkey_free",
    "pkey_mprotect",
    "poll",
    "ppoll",
    "ppoll_time64",
    "prctl",
    "pread64",
    "preadv",
    "preadv2",
    "prlimit64",
    "process_mrelease",
    "pselect6",
    "pselect6_time64",
    "ptrace",
    "pwrite64",
    "pwritev",
    "pwritev2",
    "read",
    "readahead",
    "readlink",
    "readlinkat",
    "readv",
    "recv",
    "recvfrom",
    "recvmmsg",
    "recvmmsg_time64",
    "recvmsg",
    "remap_file_pages",
    "removexattr",
    "rename",
    "renameat",
    "renameat2",
    "restart_syscall",
    "rmdir",
    "rseq",
    "rt_sigaction",
    "rt_sigpending",
    "rt_sigprocmask",
    "rt_sigqueueinfo",
    "rt_sigreturn",
    "rt_sigsuspend",
    "rt_sigtimedwait",
    "rt_sigtimedwait_time64",
    "rt_tgsigqueueinfo",
    "sched_get_priority_max",
    "sched_get_priority_min",
    "sched_getaffinity",
    "sched_getattr",
    "sched_getparam",
    "sched_getscheduler",
    "sched_rr_get_interval",
    "sched_rr_get_interval_time64",
    "sched_setaffinity",
    "sched_setattr",
    "sched_setparam",
    "sched_setscheduler",
    "sched_yield",
    "seccomp",
    "select",
    "semctl",
    "semget",
    "semop",
    "semtimedop",
    "semtimedop_time64",
    "send",
    "sendfile",
    "sendfile64",
    "sendmmsg",
    "sendmsg",
    "sendto",
    "set_robust_list",
    "set_thread_area",
    "set_tid_address",
    "setfsgid",
    "setfsgid32",
    "setfsuid",
    "setfsuid32",
    "setgid",
    "setgid32",
    "setgroups",
    "setgroups32",
    "setitimer",
    "setpgid",
    "setpriority",
    "setregid",
    "setregid32",
    "setresgid",
    "setresgid32",
    "setresuid",
    "setresuid32",
    "setreuid",
    "setreuid32",
    "setrlimit",
    "setsid",
    "setsockopt",
    "setuid",
    "setuid32",
    "setxattr",
    "shmat",
    "shmctl",
    "shmdt",
    "shmget",
    "shutdown",
    "sigaltstack",
    "signalfd",
    "signalfd4",
    "sigprocmask",
    "sigreturn",
    "socket",
    "socketcall",
    "socketpair",
    "splice",
    "stat",
    "stat64",
    "statfs",
    "statfs64",
    "statx",
    "symlink",
    "symlinkat",
    "sync",
    "sync_file_range",
    "syncfs",
    "sysinfo",
    "syslog",
    "tee",
    "tgkill",
    "time",
    "timer_create",
    "timer_delete",
    "timer_getoverrun",
    "timer_gettime",
    "timer_gettime64",
    "timer_settime",
    "timer_settime64",
    "timerfd_create",
    "timerfd_gettime",
    "timerfd_gettime64",
    "timerfd_settime",
    "timerfd_settime64",
    "times",
    "tkill",
    "truncate",
    "truncate64",
    "ugetrlimit",
    "umask",
    "uname",
    "unlink",
    "unlinkat",
    "utime",
    "utimensat",
    "utimensat_time64",
    "utimes",
    "vfork",
    "vmsplice",
    "wait4",
    "waitid",
    "waitpid",
    "write",
    "writev",
});

/// Flags of clone that make namespaces: CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID,
/// NEWNET.
constexpr std::uint64_t kCloneNamespaces = 0x7C020000;
/// Personalities that change nothing of interest: Linux, 32-bit Linux, and the question which it
/// is.
constexpr std::array<std::uint64_t, 3> kPersonalities = {0, 8, 0xFFFFFFFF};
constexpr int kEnoSys = 38;

Json Rule(JsonArray names, std::string action) {
  return JsonObject{{"names", std::move(names)}, {"action", std::move(action)}};
}

Json Argument(std::uint64_t value, std::string operation) {
  return JsonArray{JsonObject{{"index", 0},
                              {"value", static_cast<long long>(value)},
                              {"valueTwo", 0},
                              {"op", std::move(operation)}}};
}

Error SeccompError(std::string_view what, int code) {
  return SystemError("seccomp filter: " + std::string(what), -code);
}

Result<void> AddRules(scmp_filter_ctx context) {
  for (const char* name : kAllowed) {
    const int number = seccomp_syscall_resolve_name(name);
    if (number == __NR_SCMP_ERROR) continue;  // newer than the library: stays forbidden
    const int code = seccomp_rule_add(context, SCMP_ACT_ALLOW, number, 0);
    if (code != 0) return std::unexpected(SeccompError(name, code));
  }
  for (const std::uint64_t value : kPersonalities) {
    const scmp_arg_cmp equal{0, SCMP_CMP_EQ, value, 0};
    const int code =
        seccomp_rule_add_array(context, SCMP_ACT_ALLOW, SCMP_SYS(personality), 1, &equal);
    if (code != 0) return std::unexpected(SeccompError("personality", code));
  }
  const scmp_arg_cmp no_namespaces{0, SCMP_CMP_MASKED_EQ, kCloneNamespaces, 0};
  int code = seccomp_rule_add_array(context, SCMP_ACT_ALLOW, SCMP_SYS(clone), 1, &no_namespaces);
  if (code != 0) return std::unexpected(SeccompError("clone", code));
  code = seccomp_rule_add(context, SCMP_ACT_ERRNO(kEnoSys), SCMP_SYS(clone3), 0);
  if (code != 0) return std::unexpected(SeccompError("clone3", code));
  return {};
}

}  // namespace

Json SeccompProfile() {
  JsonArray allowed;
  for (const char* name : kAllowed)
    allowed.emplace_back(name);
  JsonArray rules{Rule(std::move(allowed), "SCMP_ACT_ALLOW")};
  for (const std::uint64_t value : kPersonalities) {
    Json rule = Rule({"personality"}, "SCMP_ACT_ALLOW");
    rule.AsObject().Set("args", Argument(value, "SCMP_CMP_EQ"));
    rules.push_back(std::move(rule));
  }
  Json clone = Rule({"clone"}, "SCMP_ACT_ALLOW");
  Json mask = Argument(kCloneNamespaces, "SCMP_CMP_MASKED_EQ");
  clone.AsObject().Set("args", std::move(mask));
  rules.push_back(std::move(clone));
  Json clone3 = Rule({"clone3"}, "SCMP_ACT_ERRNO");
  clone3.AsObject().Set("errnoRet", kEnoSys);
  rules.push_back(std::move(clone3));
#if defined(__x86_64__)
  JsonArray architectures{"SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"};
#else
  JsonArray architectures{"SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"};
#endif
  return JsonObject{{"defaultAction", "SCMP_ACT_ERRNO"},
                    {"architectures", std::move(architectures)},
                    {"syscalls", std::move(rules)}};
}

Result<std::string> CompiledSeccomp() {
  const std::unique_ptr<void, decltype(&seccomp_release)> context(seccomp_init(SCMP_ACT_ERRNO(1)),
                                                                  &seccomp_release);
  if (!context) return Fail(ErrorKind::kInternal, "seccomp filter: no memory");
#if defined(__x86_64__)
  constexpr std::array<std::uint32_t, 2> kBrothers = {SCMP_ARCH_X86, SCMP_ARCH_X32};
#else
  constexpr std::array<std::uint32_t, 1> kBrothers = {SCMP_ARCH_ARM};
#endif
  for (const std::uint32_t architecture : kBrothers) {
    const int code = seccomp_arch_add(context.get(), architecture);
    if (code != 0 && code != -EEXIST) return std::unexpected(SeccompError("architecture", code));
  }
  // A search tree instead of a list: the cost of a call does not depend on its place.
  seccomp_attr_set(context.get(), SCMP_FLTATR_CTL_OPTIMIZE, 2);
  if (auto added = AddRules(context.get()); !added) return std::unexpected(added.error());
  const linux::UniqueFd memory(::memfd_create("seccomp", MFD_CLOEXEC));
  if (!memory) return std::unexpected(SystemError("memfd_create", errno));
  const int code = seccomp_export_bpf(context.get(), memory.get());
  if (code != 0) return std::unexpected(SeccompError("export", code));
  std::string program(static_cast<std::size_t>(::lseek(memory.get(), 0, SEEK_END)), '\0');
  if (::pread(memory.get(), program.data(), program.size(), 0) !=
      static_cast<ssize_t>(program.size())) {
    return std::unexpected(SystemError("reading the compiled seccomp filter", errno));
  }
  return ToBase64(program);
}

}  // namespace pinion::worker
