#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "supervisor.h"

enum { kReadBytes = 256 << 10, kPipeBytes = 256 << 10, kDrainBytesMax = 2 << 20 };
enum { kGatherBytes = 128 << 10, kGatherMicroseconds = 5000, kFlowMicroseconds = 1000 };

static const char* const kLogNames[kStreams] = {"stdout", "stderr"};

void WriteState(const char* path, const char* text) {
  char temporary[256];
  snprintf(temporary, sizeof temporary, "%s.new", path);
  int file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (file < 0) return;
  const ssize_t length = (ssize_t)strlen(text);
  const ssize_t written = write(file, text, (size_t)length);
  close(file);
  if (written == length) rename(temporary, path);
}

struct Process* OpenProcess(uint32_t number, bool terminal, uid_t uid, gid_t gid,
                            int child_streams[3]) {
  struct Process* process = calloc(1, sizeof *process);
  int ends[3][2] = {{-1, -1}, {-1, -1}, {-1, -1}};
  if (!process) return NULL;
  process->number = number;
  process->terminal = terminal;
  process->input = process->output[0] = process->output[1] = -1;
  process->log[0] = process->log[1] = -1;
  bool good = true;
  for (int stream = 0; good && stream < kStreams; ++stream) {
    char path[64];
    snprintf(path, sizeof path, "state/processes/%u/%s", number, kLogNames[stream]);
    process->log[stream] = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    good = process->log[stream] >= 0;
  }
  const bool has_input = child_streams[0] >= 0;
  if (has_input) good = good && fchown(child_streams[0], uid, gid) == 0;
  for (int number_of = has_input ? 1 : 0; good && !terminal && number_of < 3; ++number_of) {
    good = pipe2(ends[number_of], O_CLOEXEC) == 0;
    /* So that /dev/stdout and its like can be opened inside. */
    good = good && fchown(ends[number_of][0], uid, gid) == 0;
  }
  if (!good) {
    const int error = errno;
    for (int i = 0; i < 3; ++i) {
      if (ends[i][0] >= 0) close(ends[i][0]);
      if (ends[i][1] >= 0) close(ends[i][1]);
    }
    CloseProcess(process);
    errno = error;
    return NULL;
  }
  if (!terminal) {
    if (!has_input) {
      process->input = ends[0][1];
      child_streams[0] = ends[0][0];
      fcntl(process->input, F_SETFL, O_NONBLOCK);
    }
    process->output[0] = ends[1][0];
    process->output[1] = ends[2][0];
    fcntl(process->output[0], F_SETFL, O_NONBLOCK);
    fcntl(process->output[1], F_SETFL, O_NONBLOCK);
    /* What prints a lot is not held up by each turn here. Refused it may be: then it is slower. */
    fcntl(process->output[0], F_SETPIPE_SZ, kPipeBytes);
    fcntl(process->output[1], F_SETPIPE_SZ, kPipeBytes);
    child_streams[1] = ends[1][1];
    child_streams[2] = ends[2][1];
  }
  return process;
}

static void CloseFd(int* fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

void CloseProcess(struct Process* process) {
  CloseFd(&process->input);
  for (int stream = 0; stream < kStreams; ++stream) {
    CloseFd(&process->output[stream]);
    CloseFd(&process->log[stream]);
  }
  free(process);
}

bool WantsOutput(const struct Process* process, int stream, int64_t limit) {
  return process->output[stream] >= 0 &&
         process->size[stream] - process->delivered[stream] < limit;
}

static ssize_t Read(int file, char* bytes, size_t room) {
  ssize_t count;
  do {
    count = read(file, bytes, room);
  } while (count < 0 && errno == EINTR);
  return count;
}

static int64_t Microseconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* A terminal gives a line or some 4 kB at a time. While one piece follows the other, they are
 * gathered for a few milliseconds: each costs a write here and a turn in the worker. */
static ssize_t Gather(struct Process* process, char* bytes) {
  const int64_t begun = Microseconds();
  const bool flows = begun - process->read_at < kFlowMicroseconds;
  ssize_t total = 0;
  for (;;) {
    const ssize_t count = Read(process->output[0], bytes + total, kReadBytes - (size_t)total);
    process->read_at = Microseconds();
    if (count <= 0) return total > 0 ? total : count;
    total += count;
    if (!flows || total >= kGatherBytes || process->read_at - begun >= kGatherMicroseconds) {
      return total;
    }
    struct pollfd wait = {process->output[0], POLLIN, 0};
    if (poll(&wait, 1, 1) <= 0) return total;
  }
}

/* Bytes moved; 0 when nothing is there, and at the end, when the stream is closed. */
ssize_t MoveOutput(struct Process* process, int stream) {
  static char buffer[kReadBytes];
  const int output = process->output[stream];
  const ssize_t count =
      process->terminal ? Gather(process, buffer) : Read(output, buffer, sizeof buffer);
  if (count < 0 && errno == EAGAIN) return 0;
  if (count <= 0) { /* EIO is the end of a terminal */
    CloseFd(&process->output[stream]);
    return 0;
  }
  ssize_t done = 0;
  while (done < count) {
    ssize_t written = write(process->log[stream], buffer + done, (size_t)(count - done));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      /* Disk full: this supervisor has nothing else to do than to wait for room, a little. */
      if (errno != ENOSPC && errno != EDQUOT) break;
      usleep(200 * 1000);
      continue;
    }
    done += written;
    process->size[stream] += written;
  }
  return done;
}

void FinishProcess(struct Process* process, int64_t limit) {
  for (int stream = 0; stream < kStreams; ++stream) {
    for (int64_t moved = 0; process->output[stream] >= 0 && moved < kDrainBytesMax;) {
      if (!WantsOutput(process, stream, limit)) return;
      const ssize_t count = MoveOutput(process, stream);
      if (count <= 0) break;
      moved += count;
    }
  }
  for (int stream = 0; stream < kStreams; ++stream) CloseFd(&process->output[stream]);
  CloseFd(&process->input);
  char path[64];
  char text[kPinionTextBytes + 64];
  snprintf(path, sizeof path, "state/processes/%u/exit", process->number);
  if (process->unexecuted || process->text[0]) {
    snprintf(text, sizeof text, "%s %lld %s", process->unexecuted ? "unexecuted" : "error",
             (long long)process->status, process->text);
  } else {
    snprintf(text, sizeof text, "exit %lld", (long long)process->status);
  }
  WriteState(path, text);
  for (int stream = 0; stream < kStreams; ++stream) CloseFd(&process->log[stream]);
  process->finished = true;
}
