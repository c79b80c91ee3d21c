/* What a hostile task tries, one try for each NAME or NAME=ARGUMENT given: prints the try and "allowed" or
 * "refused: WHY"; hogs print what they got. What a try gets hold of it lets go of at once, and every hog is
 * bounded by its argument: where the protection is off, as in the controls, nothing is harmed. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <dirent.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static int Opens(const char* path, int flags) {
  const int file = open(path, flags | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return -1;
  close(file);
  return 0;
}

/* Runs `try` in a child, for tries that change the process; its errno comes back. */
static int InChild(int (*try)(const char*), const char* argument) {
  const pid_t pid = fork();
  if (pid < 0) return -1;
  if (pid == 0) _exit(try(argument) == 0 ? 0 : errno & 0x7f);
  int status;
  waitpid(pid, &status, 0);
  if (WIFSIGNALED(status)) return errno = EINTR, -1;
  errno = WEXITSTATUS(status);
  return errno ? -1 : 0;
}

/* --- Processes ---------------------------------------------------------------------------------- */

/* Whether a process has the text in its command line; "+" stands for a space, so that this process's own
 * does not count. */
static int Sees(const char* wanted) {
  char text[256];
  snprintf(text, sizeof text, "%s", wanted);
  for (char* at = text; *at; ++at) {
    if (*at == '+') *at = ' ';
  }
  int seen = 0;
  DIR* proc = opendir("/proc");
  if (!proc) return -1;
  for (struct dirent* entry; (entry = readdir(proc));) {
    char path[300];
    char line[4096];
    if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || atoi(entry->d_name) == getpid()) continue;
    snprintf(path, sizeof path, "/proc/%s/cmdline", entry->d_name);
    const int file = open(path, O_RDONLY | O_CLOEXEC);
    const ssize_t count = file < 0 ? -1 : read(file, line, sizeof line - 1);
    if (file >= 0) close(file);
    for (ssize_t i = 0; i < count; ++i) {
      if (!line[i]) line[i] = ' ';
    }
    if (count > 0) line[count] = 0;
    if (count > 0 && strstr(line, text)) ++seen;
  }
  closedir(proc);
  errno = ESRCH;
  return seen > 0 ? 0 : -1;
}

static int Signals(const char* pid) { return kill(atoi(pid), 0); }
static int OpensPid(const char* pid) {
  const int descriptor = (int)syscall(SYS_pidfd_open, atoi(pid), 0);
  return descriptor < 0 ? -1 : close(descriptor);
}
static int Traces(const char* pid) {
  if (ptrace(PTRACE_ATTACH, atoi(pid), NULL, NULL) != 0) return -1;
  int status;
  waitpid(atoi(pid), &status, 0);
  ptrace(PTRACE_DETACH, atoi(pid), NULL, NULL);
  return 0;
}
static int TracesChild(const char* unused) {
  (void)unused;
  const pid_t pid = fork();
  if (pid == 0) {
    for (;;) pause();
  }
  char text[16];
  snprintf(text, sizeof text, "%d", (int)pid);
  const int outcome = Traces(text);
  const int error = errno;
  kill(pid, SIGKILL);
  waitpid(pid, NULL, 0);
  errno = error;
  return outcome;
}
static int ReadsMemory(const char* pid) {
  char byte;
  struct iovec local = {&byte, 1};
  struct iovec remote = {(void*)0x400000, 1};
  if (syscall(SYS_process_vm_readv, (pid_t)atoi(pid), &local, 1, &remote, 1, 0) > 0) return 0;
  char path[64];
  const int error = errno;
  snprintf(path, sizeof path, "/proc/%s/mem", pid);
  if (Opens(path, O_RDWR) == 0) return 0;
  errno = error;
  return -1;
}
static int ListsDescriptors(const char* pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%s/fd/3", pid);
  char target[64];
  if (readlink(path, target, sizeof target) > 0) return 0;
  const int error = errno;
  snprintf(path, sizeof path, "/proc/%s/root/etc", pid);
  if (Opens(path, O_RDONLY) == 0) return 0;
  errno = error;
  return -1;
}
static int KillsAll(const char* unused) {
  (void)unused;
  return kill(-1, SIGKILL);
}

/* --- Files of the host ----------------------------------------------------------------------------- */

/* At least something: a masked file is empty, and so is a masked folder. */
static int Reads(const char* path) {
  DIR* folder = opendir(path);
  if (folder) {
    int entries = 0;
    while (readdir(folder)) ++entries;
    closedir(folder);
    errno = ENODATA;
    return entries > 2 ? 0 : -1;
  }
  const int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (file < 0) return -1;
  char byte;
  errno = ENODATA;
  const ssize_t count = read(file, &byte, 1);
  close(file);
  return count == 1 ? 0 : -1;
}
static int Writes(const char* path) { return Opens(path, O_WRONLY); }

/* The handle of a file of this container, with another file's number in it ("INODE"): the way out that
 * file handles would be. */
static int OpensByHandle(const char* inode) {
  struct {
    struct file_handle head;
    unsigned char bytes[MAX_HANDLE_SZ];
  } handle = {.head = {.handle_bytes = 8, .handle_type = 1 /* inode and generation */}};
  const unsigned int number[2] = {(unsigned int)strtoul(inode, NULL, 10), 0};
  memcpy(handle.head.f_handle, number, sizeof number);
  const int where = open("/hostile", O_RDONLY | O_CLOEXEC);
  const int place = where >= 0 ? where : open("/", O_RDONLY | O_CLOEXEC);
  const int file = open_by_handle_at(place, &handle.head, O_RDONLY | O_PATH);
  const int error = errno;
  if (file >= 0) close(file);
  close(place);
  errno = error;
  /* A number that is not in use any more: the call itself was allowed. */
  return file >= 0 || error == ESTALE || error == EOPNOTSUPP ? 0 : -1;
}

/* --- Network --------------------------------------------------------------------------------------- */

static int Connects(const char* where) { /* ADDRESS:PORT */
  char address[64];
  snprintf(address, sizeof address, "%s", where);
  char* port = strrchr(address, ':');
  if (!port) return errno = EINVAL, -1;
  *port++ = 0;
  struct sockaddr_in target = {.sin_family = AF_INET, .sin_port = htons((unsigned short)atoi(port))};
  inet_pton(AF_INET, address, &target.sin_addr);
  const int stream = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (stream < 0) return -1;
  int error = 0;
  if (connect(stream, (struct sockaddr*)&target, sizeof target) != 0) error = errno;
  if (error == EINPROGRESS) {
    struct pollfd wait = {stream, POLLOUT, 0};
    socklen_t length = sizeof error;
    error = ETIMEDOUT;
    if (poll(&wait, 1, 2000) == 1) getsockopt(stream, SOL_SOCKET, SO_ERROR, &error, &length);
  }
  close(stream);
  errno = error;
  return error ? -1 : 0;
}
static int ConnectsAbstract(const char* name) {
  struct sockaddr_un target = {.sun_family = AF_UNIX};
  snprintf(target.sun_path + 1, sizeof target.sun_path - 1, "%s", name);
  const int stream = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const socklen_t length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name));
  const int outcome = connect(stream, (struct sockaddr*)&target, length);
  const int error = errno;
  close(stream);
  errno = error;
  return outcome;
}

/* --- Kernel ---------------------------------------------------------------------------------------- */

static int Mounts(const char* where) {
  if (mount("tmpfs", where, "tmpfs", 0, NULL) != 0) return -1;
  umount2(where, MNT_DETACH);
  return 0;
}
static int MountsCgroup(const char* where) {
  if (mount("cgroup", where, "cgroup", 0, "pids") != 0) return -1;
  umount2(where, MNT_DETACH);
  return 0;
}
static int Remounts(const char* where) { return mount(NULL, where, NULL, MS_REMOUNT | MS_BIND, NULL); }
static int Unmasks(const char* where) { return umount2(where, MNT_DETACH); }
static int Unshares(const char* unused) {
  (void)unused;
  return unshare(CLONE_NEWUSER);
}
static int UnsharesMounts(const char* unused) {
  (void)unused;
  return unshare(CLONE_NEWNS);
}
static int AddsKey(const char* unused) {
  (void)unused;
  return syscall(SYS_add_key, "user", "pinion-hostile", "x", 1, -2 /* process */) >= 0 ? 0 : -1;
}
static int LoadsBpf(const char* unused) {
  (void)unused;
  char attributes[128] = {0};
  /* BPF_PROG_LOAD of nothing: allowed ones are told that it is wrong. */
  if (syscall(SYS_bpf, 5, attributes, sizeof attributes) >= 0 || errno == EINVAL || errno == E2BIG) return 0;
  return -1;
}
static int SetsHostName(const char* unused) {
  (void)unused;
  char name[65];
  gethostname(name, sizeof name);
  return sethostname(name, strlen(name));
}
static int MakesDevice(const char* path) { /* the kernel's log, as a disk would be */
  unlink(path);
  if (mknod(path, S_IFCHR | 0666, makedev(1, 11)) != 0) return -1;
  const int outcome = Opens(path, O_RDONLY);
  const int error = errno;
  unlink(path);
  errno = error;
  return outcome;
}
static int SaysWho(const char* unused) {
  (void)unused;
  printf("[user %d] ", (int)geteuid());
  fflush(stdout);
  return 0;
}
static int SaysItsScore(const char* unused) {
  (void)unused;
  char text[16] = "";
  const int file = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
  if (file < 0 || read(file, text, sizeof text - 1) < 0) return -1;
  close(file);
  printf("[score %d] ", atoi(text));
  fflush(stdout);
  return 0;
}

/* --- Hogs ------------------------------------------------------------------------------------------ */

/* Forks so many children that wait, and counts them. */
static void Forks(const char* count) {
  const int wanted = atoi(count);
  int made = 0;
  pid_t* children = calloc((size_t)wanted, sizeof *children);
  for (; children && made < wanted; ++made) {
    const pid_t pid = fork();
    if (pid < 0) break;
    if (pid == 0) {
      prctl(PR_SET_PDEATHSIG, SIGKILL);
      for (;;) pause();
    }
    children[made] = pid;
  }
  printf("forks %d of %d\n", made, wanted);
  for (int i = 0; i < made; ++i) kill(children[i], SIGKILL);
  for (int i = 0; i < made; ++i) waitpid(children[i], NULL, 0);
  free(children);
}

static void Takes(const char* megabytes) {
  for (int i = 0; i < atoi(megabytes); ++i) {
    char* part = malloc(1 << 20);
    if (!part) break;
    for (int at = 0; at < 1 << 20; at += 4096) part[at] = (char)(at >> 12 | 1);
  }
  printf("memory %s MB taken\n", megabytes);
}

static void MakesFiles(const char* where) { /* FOLDER:COUNT */
  char folder[256];
  snprintf(folder, sizeof folder, "%s", where);
  char* count = strrchr(folder, ':');
  *count++ = 0;
  int made = 0;
  for (; made < atoi(count); ++made) {
    char path[300];
    snprintf(path, sizeof path, "%s/%d", folder, made);
    const int file = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) break;
    close(file);
  }
  printf("files %d\n", made);
}

static void Prints(const char* megabytes) {
  static char line[1 << 16];
  unsigned int state = 12345;
  for (long long i = 0; i < 16LL * atoi(megabytes); ++i) {
    for (size_t at = 0; at < sizeof line; ++at) { /* compresses badly */
      state = state * 1664525u + 1013904223u;
      line[at] = (char)(at % 128 == 127 ? '\n' : ' ' + (state >> 25) % 94);
    }
    for (size_t done = 0; done < sizeof line;) {
      const ssize_t count = write(1, line + done, sizeof line - done);
      if (count <= 0) return;
      done += (size_t)count;
    }
  }
}

static double Seconds(clockid_t clock) {
  struct timespec now;
  clock_gettime(clock, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* Works for so much CPU time and says how long that took. */
static void Works(const char* milliseconds) {
  const double wanted = atof(milliseconds) / 1000;
  const double start = Seconds(CLOCK_MONOTONIC);
  volatile unsigned long long sum = 0;
  while (Seconds(CLOCK_PROCESS_CPUTIME_ID) < wanted) {
    for (int i = 0; i < 200000; ++i) sum += (unsigned)i;
  }
  printf("work %.3f\n", Seconds(CLOCK_MONOTONIC) - start);
}

/* So many children that work until the time is up. */
static void Spins(const char* what) { /* CHILDREN:MILLISECONDS */
  const int children = atoi(what);
  const double end = Seconds(CLOCK_MONOTONIC) + atof(strchr(what, ':') + 1) / 1000;
  for (int i = 0; i < children; ++i) {
    const pid_t pid = fork();
    if (pid == 0) {
      volatile unsigned long long sum = 0;
      while (Seconds(CLOCK_MONOTONIC) < end) {
        for (int j = 0; j < 200000; ++j) sum += (unsigned)j;
      }
      _exit(0);
    }
  }
  while (wait(NULL) > 0) {
  }
  printf("spun\n");
}

/* --- Which --------------------------------------------------------------------------------------- */

static const struct Try {
  const char* name;
  int (*run)(const char*);
} tries[] = {
    {"sees", Sees},
    {"signals", Signals},
    {"opens-pid", OpensPid},
    {"traces", Traces},
    {"traces-child", TracesChild},
    {"reads-memory", ReadsMemory},
    {"lists-descriptors", ListsDescriptors},
    {"reads", Reads},
    {"writes", Writes},
    {"opens-by-handle", OpensByHandle},
    {"connects", Connects},
    {"connects-abstract", ConnectsAbstract},
    {"mounts", Mounts},
    {"mounts-cgroup", MountsCgroup},
    {"remounts", Remounts},
    {"unmasks", Unmasks},
    {"unshares", Unshares},
    {"unshares-mounts", UnsharesMounts},
    {"adds-key", AddsKey},
    {"loads-bpf", LoadsBpf},
    {"sets-host-name", SetsHostName},
    {"makes-device", MakesDevice},
    {"score", SaysItsScore},
    {"who", SaysWho},
};

static const struct Hog {
  const char* name;
  void (*run)(const char*);
} hogs[] = {{"forks", Forks}, {"takes", Takes}, {"files", MakesFiles},
            {"prints", Prints}, {"works", Works}, {"spins", Spins}};

int main(int count, char** arguments) {
  for (int i = 1; i < count; ++i) {
    char* name = arguments[i];
    char* argument = strchr(name, '=');
    if (argument) *argument++ = 0;
    if (strcmp(name, "kills-all") == 0) {
      printf("kills-all now\n");
      fflush(stdout);
      KillsAll("");
      continue;
    }
    int known = 0;
    for (size_t at = 0; at < sizeof tries / sizeof *tries; ++at) {
      if (strcmp(name, tries[at].name) != 0) continue;
      known = 1;
      errno = 0;
      const int outcome = InChild(tries[at].run, argument ? argument : "");
      const int error = errno;
      printf("%s%s%s ", name, argument ? "=" : "", argument ? argument : "");
      if (outcome == 0) printf("allowed\n");
      if (outcome != 0) printf("refused: %s\n", strerror(error));
      fflush(stdout);
    }
    for (size_t at = 0; at < sizeof hogs / sizeof *hogs; ++at) {
      if (strcmp(name, hogs[at].name) != 0) continue;
      known = 1;
      hogs[at].run(argument ? argument : "");
      fflush(stdout);
    }
    if (!known) {
      printf("%s unknown\n", name);
      return 2;
    }
  }
  return 0;
}
