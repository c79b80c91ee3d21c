/* Process 1 of a container: starts processes when its supervisor asks, reaps, and reports how they
 * ended. It holds the container open while nothing runs in it, and ends with its supervisor: nothing
 * runs without supervision. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "common.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

enum { kGroupsMax = 1024 };

struct Spec {
  char* bytes;
  size_t size;
  size_t at;
  uid_t uid;
  gid_t gid;
  gid_t groups[kGroupsMax];
  size_t group_count;
  struct winsize window;
  int verbatim; /* its terminal adds nothing to what is written */
  const char* folder;
  char** arguments;
  char** environment;
};

struct Child {
  uint32_t number;
  pid_t pid;
  struct Child* next;
};

static struct Child* children;
extern char** environ;

static void Report(uint32_t kind, uint32_t process, int64_t a, const char* text, int descriptor) {
  static struct PinionMessage message;
  memset(&message, 0, sizeof message);
  message.kind = kind;
  message.process = process;
  message.a = a;
  SetText(&message, text);
  /* The supervisor reads all the time; when it cannot, waiting is right: nothing must get lost. */
  while (SendMessage(kPinionControlFd, &message, &descriptor, descriptor >= 0 ? 1 : 0) == 0) {
    struct pollfd wait = {kPinionControlFd, POLLOUT, 0};
    poll(&wait, 1, 1000);
  }
}

/* --- The specification -------------------------------------------------------------------------- */

static char* NextText(struct Spec* spec) {
  if (spec->at >= spec->size) return NULL;
  char* text = spec->bytes + spec->at;
  spec->at += strlen(text) + 1;
  return text;
}

static int NextNumber(struct Spec* spec, unsigned long limit, unsigned long* out) {
  const char* text = NextText(spec);
  if (!text || !*text) return -1;
  char* end;
  *out = strtoul(text, &end, 10);
  return *end || *out > limit ? -1 : 0;
}

static int ReadSpec(int descriptor, struct Spec* spec) {
  struct stat status;
  memset(spec, 0, sizeof *spec);
  if (fstat(descriptor, &status) != 0) return -1;
  if (status.st_size <= 0 || status.st_size > kPinionSpecBytesMax) return errno = E2BIG, -1;
  spec->size = (size_t)status.st_size;
  spec->bytes = calloc(1, spec->size + 1);
  if (!spec->bytes) return -1;
  size_t done = 0;
  while (done < spec->size) {
    ssize_t count = pread(descriptor, spec->bytes + done, spec->size - done, (off_t)done);
    if (count <= 0) return errno = EIO, -1;
    done += (size_t)count;
  }
  unsigned long uid, gid, groups, columns, rows, verbatim, count;
  errno = EINVAL;
  if (NextNumber(spec, UINT32_MAX, &uid) || NextNumber(spec, UINT32_MAX, &gid)) return -1;
  if (NextNumber(spec, kGroupsMax, &groups)) return -1;
  for (size_t i = 0; i < groups; ++i) {
    unsigned long group;
    if (NextNumber(spec, UINT32_MAX, &group)) return -1;
    spec->groups[i] = (gid_t)group;
  }
  spec->uid = (uid_t)uid;
  spec->gid = (gid_t)gid;
  spec->group_count = groups;
  if (NextNumber(spec, UINT16_MAX, &columns) || NextNumber(spec, UINT16_MAX, &rows)) return -1;
  spec->window.ws_col = (unsigned short)columns;
  spec->window.ws_row = (unsigned short)rows;
  if (NextNumber(spec, 1, &verbatim)) return -1;
  spec->verbatim = verbatim != 0;
  spec->folder = NextText(spec);
  if (!spec->folder || NextNumber(spec, spec->size, &count) || count == 0) return -1;
  spec->arguments = calloc(count + 1, sizeof(char*));
  spec->environment = calloc(spec->size + 1 - spec->at, sizeof(char*)); /* at least one byte each */
  if (!spec->arguments || !spec->environment) return errno = ENOMEM, -1;
  for (size_t i = 0; i < count; ++i) {
    if (!(spec->arguments[i] = NextText(spec))) return -1;
  }
  size_t variables = 0;
  for (char* text; (text = NextText(spec));) {
    if (*text) spec->environment[variables++] = text;
  }
  return 0;
}

static void FreeSpec(struct Spec* spec) {
  free(spec->bytes);
  free(spec->arguments);
  free(spec->environment);
}

/* --- The child, until it is the program ---------------------------------------------------------- */

struct Cause {
  int error;
  char text[128];
};

static void Fail(int pipe_fd, const char* text) {
  struct Cause cause = {.error = errno};
  snprintf(cause.text, sizeof cause.text, "%s", text);
  if (write(pipe_fd, &cause, sizeof cause) < 0) _exit(126);
  _exit(127);
}

static int MakeFolder(const char* path) {
  char copy[4096];
  if (strlen(path) >= sizeof copy) return errno = ENAMETOOLONG, -1;
  strcpy(copy, path);
  for (char* at = copy + 1; *at; ++at) {
    if (*at != '/') continue;
    *at = 0;
    if (mkdir(copy, 0777) != 0 && errno != EEXIST) return -1;
    *at = '/';
  }
  return mkdir(copy, 0777) != 0 && errno != EEXIST ? -1 : 0;
}

static void BecomeProgram(struct Spec* spec, const int* streams, int terminal, int cause_fd) {
  sigset_t none;
  sigemptyset(&none);
  for (int number = 1; number < 65; ++number) signal(number, SIG_DFL);
  sigprocmask(SIG_SETMASK, &none, NULL);
  setsid();
  int standard[3] = {streams[0], streams[1], streams[2]};
  if (terminal >= 0) {
    int peer = ioctl(terminal, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (peer < 0) Fail(cause_fd, "opening its terminal");
    if (fchown(peer, spec->uid, (gid_t)-1) != 0) Fail(cause_fd, "owning its terminal");
    if (ioctl(peer, TIOCSCTTY, 0) != 0) Fail(cause_fd, "taking its terminal");
    standard[0] = standard[1] = standard[2] = peer;
  }
  for (int number = 0; number < 3; ++number) {
    if (dup2(standard[number], number) < 0) Fail(cause_fd, "setting its standard streams");
  }
  if (*spec->folder && chdir(spec->folder) != 0) {
    if (MakeFolder(spec->folder) != 0) Fail(cause_fd, "making its working folder");
    if (chdir(spec->folder) != 0) Fail(cause_fd, "entering its working folder");
  }
  if (setgroups(spec->group_count, spec->groups) != 0) Fail(cause_fd, "setting its groups");
  if (setresgid(spec->gid, spec->gid, spec->gid) != 0) Fail(cause_fd, "setting its group");
  if (setresuid(spec->uid, spec->uid, spec->uid) != 0) Fail(cause_fd, "setting its user");
  environ = spec->environment;
  execvp(spec->arguments[0], spec->arguments);
  Fail(cause_fd, "");
}

/* --- Process 1 ----------------------------------------------------------------------------------- */

static int OpenTerminal(const struct Spec* spec) {
  int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  if (terminal < 0) return -1;
  struct winsize window = spec->window;
  if (unlockpt(terminal) != 0) return -1;
  if (window.ws_col && window.ws_row) ioctl(terminal, TIOCSWINSZ, &window);
  struct termios modes;
  if (spec->verbatim && tcgetattr(terminal, &modes) == 0) {
    modes.c_oflag &= ~(tcflag_t)OPOST;
    modes.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
    tcsetattr(terminal, TCSANOW, &modes);
  }
  return terminal;
}

static void Run(const struct PinionMessage* message, const int* descriptors, int count) {
  struct Spec spec;
  int cause_pipe[2] = {-1, -1};
  int terminal = -1;
  struct Child* child = calloc(1, sizeof *child);
  const int wants_terminal = message->a != 0;
  if (!child || count != (wants_terminal ? 1 : 4)) {
    free(child);
    Report(kPinionUnexecuted, message->process, ENOMEM, "the supervisor's request is incomplete", -1);
    return;
  }
  pid_t pid = -1;
  struct Cause cause = {.text = "starting it"};
  if (ReadSpec(descriptors[0], &spec) != 0) {
    snprintf(cause.text, sizeof cause.text, "reading its specification");
  } else if (wants_terminal && (terminal = OpenTerminal(&spec)) < 0) {
    snprintf(cause.text, sizeof cause.text, "making its terminal");
  } else if (pipe2(cause_pipe, O_CLOEXEC) == 0) {
    pid = fork();
    if (pid == 0) BecomeProgram(&spec, descriptors + 1, terminal, cause_pipe[1]);
  }
  cause.error = errno;
  if (pid > 0) {
    close(cause_pipe[1]);
    cause_pipe[1] = -1;
    ssize_t got;
    while ((got = read(cause_pipe[0], &cause, sizeof cause)) < 0 && errno == EINTR) {
    }
    if (got == 0) {
      child->pid = pid;
      child->number = message->process;
      child->next = children;
      children = child;
      Report(kPinionStarted, message->process, pid, "", terminal);
      child = NULL;
    } else {
      waitpid(pid, NULL, 0);
    }
  }
  if (child) Report(kPinionUnexecuted, message->process, cause.error, cause.text, -1);
  free(child);
  FreeSpec(&spec);
  if (terminal >= 0) close(terminal);
  for (int i = 0; i < 2; ++i) {
    if (cause_pipe[i] >= 0) close(cause_pipe[i]);
  }
}

static void Signal(const struct PinionMessage* message) {
  const int number = (int)message->a;
  if (message->process == PINION_ALL_PROCESSES && number == SIGKILL) {
    kill(-1, SIGKILL);
    return;
  }
  for (struct Child* child = children; child; child = child->next) {
    if (message->process == PINION_ALL_PROCESSES || message->process == child->number) {
      kill(child->pid, number);
    }
  }
}

static void Reap(void) {
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    for (struct Child** at = &children; *at; at = &(*at)->next) {
      struct Child* child = *at;
      if (child->pid != pid) continue;
      *at = child->next;
      Report(kPinionExited, child->number,
             WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), "", -1);
      free(child);
      break;
    }
  }
}

int InitMain(void) {
  /* Not even processes of the same user may trace it or look into its descriptors. */
  prctl(PR_SET_DUMPABLE, 0);
  prctl(PR_SET_NAME, "pinion-init");
  umask(022);
  fcntl(kPinionControlFd, F_SETFD, FD_CLOEXEC);
  sigset_t all, child;
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  if (signals < 0) return 1;
  Report(kPinionHello, 0, 0, "", -1);
  for (;;) {
    struct pollfd waits[2] = {{kPinionControlFd, POLLIN, 0}, {signals, POLLIN, 0}};
    if (poll(waits, 2, -1) < 0 && errno != EINTR) return 1;
    if (waits[1].revents) {
      struct signalfd_siginfo info;
      while (read(signals, &info, sizeof info) > 0) {
      }
      Reap();
    }
    if (waits[0].revents) {
      static struct PinionMessage message;
      int descriptors[kDescriptorsMax];
      int count;
      const int got = ReceiveMessage(kPinionControlFd, &message, descriptors, &count);
      if (got < 0) return 0;
      if (got == 0) continue;
      if (message.kind == kPinionRun) Run(&message, descriptors, count);
      if (message.kind == kPinionSignal) Signal(&message);
      for (int i = 0; i < count; ++i) close(descriptors[i]);
    }
  }
}
