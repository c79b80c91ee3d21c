#define _GNU_SOURCE
#include "common.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

int SendMessage(int socket, const struct PinionMessage* message, const int* descriptors,
                int count) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  } control;
  struct iovec part = {(void*)message, sizeof *message};
  struct msghdr packet = {.msg_iov = &part, .msg_iovlen = 1};
  if (count > 0) {
    memset(&control, 0, sizeof control);
    packet.msg_control = control.bytes;
    packet.msg_controllen = CMSG_SPACE(sizeof(int) * (size_t)count);
    struct cmsghdr* header = CMSG_FIRSTHDR(&packet);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int) * (size_t)count);
    memcpy(CMSG_DATA(header), descriptors, sizeof(int) * (size_t)count);
  }
  for (;;) {
    if (sendmsg(socket, &packet, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return 1;
    if (errno == EINTR) continue;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOBUFS ? 0 : -1;
  }
}

int ReceiveMessage(int socket, struct PinionMessage* message, int* descriptors, int* count) {
  union {
    struct cmsghdr header;
    char bytes[CMSG_SPACE(sizeof(int) * kDescriptorsMax)];
  } control;
  struct iovec part = {message, sizeof *message};
  struct msghdr packet = {.msg_iov = &part,
                          .msg_iovlen = 1,
                          .msg_control = control.bytes,
                          .msg_controllen = sizeof control.bytes};
  *count = 0;
  ssize_t size;
  do {
    size = recvmsg(socket, &packet, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  } while (size < 0 && errno == EINTR);
  if (size < 0) return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : -1;
  for (struct cmsghdr* header = CMSG_FIRSTHDR(&packet); header;
       header = CMSG_NXTHDR(&packet, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    int got = (int)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
    for (int i = 0; i < got; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(header) + sizeof(int) * (size_t)i, sizeof fd);
      if (*count < kDescriptorsMax) {
        descriptors[(*count)++] = fd;
      } else {
        close(fd);
      }
    }
  }
  if (size == 0) return -1;
  if ((size_t)size == sizeof *message) {
    message->text[kPinionTextBytes - 1] = 0;
    return 1;
  }
  for (int i = 0; i < *count; ++i) close(descriptors[i]);
  *count = 0;
  return 0;
}

void SetText(struct PinionMessage* message, const char* text) {
  snprintf(message->text, sizeof message->text, "%s", text);
}

/* "cpu,cpuacct" is found under each of its names. */
static void LinkEachName(const char* name) {
  char copy[256];
  if (!strchr(name, ',') || strlen(name) >= sizeof copy) return;
  strcpy(copy, name);
  for (char* part = strtok(copy, ","); part; part = strtok(NULL, ",")) {
    char path[512];
    snprintf(path, sizeof path, "/sys/fs/cgroup/%s", part);
    if (symlink(name, path) != 0 && errno != EEXIST) return;
  }
}

int EnterCgroupView(const char* hierarchies) {
  enum { kHierarchiesMax = 16 };
  static char copy[4096];
  const char* paths[kHierarchiesMax];
  int folders[kHierarchiesMax];
  int count = 0;
  if (!*hierarchies) return 0;
  if (strlen(hierarchies) >= sizeof copy) return errno = ENAMETOOLONG, -1;
  strcpy(copy, hierarchies);
  /* First the namespace: mounts of another one cannot be bound. */
  if (unshare(CLONE_NEWNS) != 0) return -1;
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0) return -1;
  for (char* path = strtok(copy, ":"); path && count < kHierarchiesMax; path = strtok(NULL, ":")) {
    folders[count] = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (folders[count] < 0) return -1;
    paths[count++] = path;
  }
  if (mount("tmpfs", "/sys/fs/cgroup", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=755") != 0) {
    return -1;
  }
  for (int i = 0; i < count; ++i) {
    char source[64];
    snprintf(source, sizeof source, "/proc/self/fd/%d", folders[i]);
    if (mkdir(paths[i], 0755) != 0) return -1;
    if (mount(source, paths[i], NULL, MS_BIND, NULL) != 0) return -1;
    const char* name = strrchr(paths[i], '/');
    if (name) LinkEachName(name + 1);
    close(folders[i]);
  }
  return 0;
}
