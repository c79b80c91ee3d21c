// The floor of a container's start: what the kernel and the OCI runtime take, with nothing around
// them. One line a run: milliseconds to the first byte of output, to the end of the output, and
// until the container is deleted.
//
//   floor RUNTIME CONFIG LOWER FOLDER COUNT [INPUT]
//
// CONFIG is an OCI configuration whose root is "rootfs"; LOWER the image's root file system; FOLDER
// an empty folder on a file system that overlays can stand on; INPUT a file for standard input.
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static void fail(const char *what) {
  fprintf(stderr, "floor: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

static void copy(const char *from, const char *to) {
  char bytes[1 << 16];
  const int in = open(from, O_RDONLY | O_CLOEXEC);
  const int out = open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (in < 0 || out < 0) fail(from);
  ssize_t size;
  while ((size = read(in, bytes, sizeof bytes)) > 0) {
    if (write(out, bytes, (size_t)size) != size) fail(to);
  }
  close(in);
  close(out);
}

/// Starts the runtime; `out` and `in` become its standard output and input.
static void run(const char *const *arguments, int in, int out) {
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (in >= 0) posix_spawn_file_actions_adddup2(&actions, in, 0);
  if (out >= 0) posix_spawn_file_actions_adddup2(&actions, out, 1);
  pid_t child;
  const int error = posix_spawnp(&child, arguments[0], &actions, NULL, (char *const *)arguments, environ);
  posix_spawn_file_actions_destroy(&actions);
  errno = error;
  if (error) fail(arguments[0]);
  int status = 0;
  if (waitpid(child, &status, 0) < 0) fail("waitpid");
  if (status != 0) {
    fprintf(stderr, "floor: %s %s: status %d\n", arguments[0], arguments[2], status);
    exit(1);
  }
}

/// crun refuses machines that have cgroup v2 beside v1: hides v2 from it, in a mount namespace of
/// this process.
static void hide_unified(const char *folder) {
  if (access("/sys/fs/cgroup/unified", F_OK)) return;
  if (unshare(CLONE_NEWNS)) fail("unshare");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL)) fail("private mounts");
  if (mount("tmpfs", folder, "tmpfs", 0, NULL)) fail("mount tmpfs");
  DIR *all = opendir("/sys/fs/cgroup");
  if (!all) fail("/sys/fs/cgroup");
  for (struct dirent *entry; (entry = readdir(all));) {
    if (entry->d_name[0] == '.' || !strcmp(entry->d_name, "unified")) continue;
    char from[PATH_MAX], to[PATH_MAX];
    snprintf(from, sizeof from, "/sys/fs/cgroup/%s", entry->d_name);
    snprintf(to, sizeof to, "%s/%s", folder, entry->d_name);
    if (mkdir(to, 0755)) fail(to);
    if (mount(from, to, NULL, MS_BIND, NULL)) fail(to);
  }
  closedir(all);
  if (mount(folder, "/sys/fs/cgroup", NULL, MS_BIND | MS_REC, NULL)) fail("mount cgroups");
}

int main(int argc, char **argv) {
  if (argc < 6) {
    fprintf(stderr, "usage: floor RUNTIME CONFIG LOWER FOLDER COUNT [INPUT]\n");
    return 2;
  }
  const char *runtime = argv[1];
  const int count = atoi(argv[5]);
  char hidden[PATH_MAX];
  snprintf(hidden, sizeof hidden, "%s/cgroup", argv[4]);
  if (mkdir(hidden, 0755)) fail(hidden);
  hide_unified(hidden);
  for (int i = 0; i < count; ++i) {
    char bundle[PATH_MAX / 2], path[PATH_MAX], options[3 * PATH_MAX], id[64];
    snprintf(bundle, sizeof bundle, "%s/%d", argv[4], i);
    snprintf(id, sizeof id, "floor-%d-%d", (int)getpid(), i);
    if (mkdir(bundle, 0755)) fail(bundle);
    snprintf(path, sizeof path, "%s/config.json", bundle);
    copy(argv[2], path);
    int ends[2];
    if (pipe2(ends, O_CLOEXEC)) fail("pipe");
    const int in = open(argc > 6 ? argv[6] : "/dev/null", O_RDONLY | O_CLOEXEC);
    if (in < 0) fail("input");

    const double started = now();
    for (const char *const *folder = (const char *const[]){"upper", "work", "rootfs", NULL}; *folder; ++folder) {
      snprintf(path, sizeof path, "%s/%s", bundle, *folder);
      if (mkdir(path, 0755)) fail(path);
    }
    snprintf(options, sizeof options, "lowerdir=%s,upperdir=%s/upper,workdir=%s/work", argv[3], bundle, bundle);
    if (mount("overlay", path, "overlay", 0, options)) fail("mount overlay");
    run((const char *const[]){runtime, "--cgroup-manager=cgroupfs", "create", "--bundle", bundle, id, NULL}, in, ends[1]);
    close(ends[1]);
    run((const char *const[]){runtime, "--cgroup-manager=cgroupfs", "start", id, NULL}, -1, -1);
    char bytes[1 << 12];
    if (read(ends[0], bytes, sizeof bytes) < 0) fail("output");
    const double first = now() - started;
    while (read(ends[0], bytes, sizeof bytes) > 0) {
    }
    const double end = now() - started;
    close(ends[0]);
    close(in);
    run((const char *const[]){runtime, "--cgroup-manager=cgroupfs", "delete", "--force", id, NULL}, -1, -1);
    printf("%.3f %.3f %.3f\n", first, end, now() - started);
    if (umount2(path, MNT_DETACH)) fail("umount");
  }
  return 0;
}
