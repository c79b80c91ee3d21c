/* Supervises one container: starts it through the OCI runtime, appends the output of its processes
 * to files, writes their exit statuses, and tells the worker while there is one. It outlives the
 * worker. Its working folder is the container's, on a file system in memory: what dies with the
 * machine. Through the link "state" it reaches what does not. */
#define _GNU_SOURCE
#include "supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kOrphanCheckMilliseconds = 60 * 1000 };
enum { kProcessesMax = 512, kPollMax = 4 + kProcessesMax * kStreams };

static struct {
  char id[256];
  const char* runtime; /* its name: it is run from kPinionRuntimeFd */
  const char* runtime_root;
  const char* hierarchies;
  int64_t limit;
  int listener;
  int worker;    /* the connection to the worker; -1 while there is none */
  int init;      /* the connection to the container's init; -1 at its end */
  int init_side; /* init's end until the runtime has it */
  int signals;
  pid_t runtime_pid; /* the runtime while it starts the container */
  pid_t init_pid;
  bool ready; /* init has said hello */
  bool told_ready;
  bool killing;
  char kill_text[kPinionTextBytes]; /* why, if its killer said so */
  bool init_silent; /* its connection has ended, its death is near */
  bool send_blocked;
  char end_text[kPinionTextBytes]; /* why the container is no more; ends the loop */
  uint32_t end_kind;
  struct Process* processes;
  size_t process_count;
} self;

static struct Process* FindProcess(uint32_t number) {
  for (struct Process* at = self.processes; at; at = at->next) {
    if (at->number == number) return at;
  }
  return NULL;
}

/* --- To the worker -------------------------------------------------------------------------------- */

static void DropWorker(void) {
  if (self.worker < 0) return;
  close(self.worker);
  self.worker = -1;
  self.told_ready = false;
  for (struct Process* at = self.processes; at; at = at->next) {
    at->told_started = at->told_end = at->give_input = false;
    at->told_size[0] = at->told_size[1] = 0;
    /* Nobody can say any more that the input is complete. */
    if (!at->terminal && at->input >= 0) {
      close(at->input);
      at->input = -1;
    }
  }
}

/* True if the message is on its way. */
static bool Tell(uint32_t kind, uint32_t process, int64_t a, int64_t b, const char* text, int fd) {
  if (self.worker < 0 || self.send_blocked) return false;
  struct PinionMessage message = {.kind = kind, .process = process, .a = a, .b = b};
  SetText(&message, text);
  const int sent = SendMessage(self.worker, &message, &fd, fd >= 0 ? 1 : 0);
  if (sent < 0) DropWorker();
  if (sent == 0) self.send_blocked = true;
  return sent > 0;
}

static void TellProcess(struct Process* process) {
  if (process->started && !process->told_started) {
    process->told_started = Tell(kPinionStarted, process->number, process->pid, 0, "", -1);
  }
  if (process->give_input &&
      Tell(kPinionInput, process->number, 0, 0, "", process->input)) {
    process->give_input = false;
  }
  if ((process->told_size[0] != process->size[0] || process->told_size[1] != process->size[1]) &&
      Tell(kPinionOutput, process->number, process->size[0], process->size[1], "", -1)) {
    process->told_size[0] = process->size[0];
    process->told_size[1] = process->size[1];
  }
  if (process->finished && !process->told_end && process->told_size[0] == process->size[0] &&
      process->told_size[1] == process->size[1]) {
    process->told_end = Tell(process->unexecuted ? kPinionUnexecuted : kPinionExited,
                             process->number, process->status, 0, process->text, -1);
  }
}

static void TellAll(void) {
  if (self.ready && !self.told_ready) {
    self.told_ready = Tell(kPinionReady, 0, self.init_pid, 0, "", -1);
  }
  for (struct Process* at = self.processes; at; at = at->next) TellProcess(at);
}

/* --- From the worker ------------------------------------------------------------------------------ */

static void ToInit(uint32_t kind, uint32_t process, int64_t a) {
  struct PinionMessage message = {.kind = kind, .process = process, .a = a};
  if (self.init >= 0) SendMessage(self.init, &message, NULL, 0);
}

/* The process will not run: says why, by its exit file and to the worker. */
static void GiveUp(struct Process* process, int64_t error, const char* text) {
  process->ended = process->unexecuted = true;
  process->status = error;
  snprintf(process->text, sizeof process->text, "%s", text);
}

/* The file with all of a process's input; its name goes. -1 and errno if there is none. */
static int TakeStoredInput(uint32_t number) {
  char path[64];
  snprintf(path, sizeof path, "input-%u", number);
  const int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  if (file >= 0) unlink(path);
  return file;
}

static void RunProcess(const struct PinionMessage* request) {
  if (FindProcess(request->process)) return;
  int descriptors[kDescriptorsMax] = {-1, -1, -1, -1};
  const bool terminal = request->a == kPinionTerminal;
  const bool stored = request->a == kPinionStoredInput;
  const uid_t uid = (uid_t)((uint64_t)request->b >> 32);
  const gid_t gid = (gid_t)((uint64_t)request->b & 0xffffffffu);
  char path[64];
  snprintf(path, sizeof path, "spec-%u", request->process);
  if (stored) descriptors[1] = TakeStoredInput(request->process);
  if (!stored || descriptors[1] >= 0) errno = EMFILE;
  struct Process* process =
      self.process_count < kProcessesMax && (!stored || descriptors[1] >= 0)
          ? OpenProcess(request->process, terminal, uid, gid, descriptors + 1)
          : NULL;
  if (!process) {
    Tell(kPinionUnexecuted, request->process, errno, 0, "making its pipes and log files", -1);
    if (descriptors[1] >= 0) close(descriptors[1]);
    return;
  }
  process->next = self.processes;
  self.processes = process;
  ++self.process_count;
  descriptors[0] = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
  struct PinionMessage message = {
      .kind = kPinionRun, .process = request->process, .a = terminal ? 1 : 0};
  if (descriptors[0] < 0) {
    GiveUp(process, errno, "opening its specification");
  } else if (self.init < 0 ||
             SendMessage(self.init, &message, descriptors, terminal ? 1 : 4) != 1) {
    GiveUp(process, EAGAIN, "the container's init does not answer");
  }
  for (int i = 0; i < kDescriptorsMax; ++i) {
    if (descriptors[i] >= 0) close(descriptors[i]);
  }
}

static void ForgetProcess(uint32_t number) {
  for (struct Process** at = &self.processes; *at; at = &(*at)->next) {
    struct Process* process = *at;
    if (process->number != number) continue;
    if (!process->finished) return;
    *at = process->next;
    --self.process_count;
    CloseProcess(process);
    return;
  }
}

static void KillChildren(void) {
  char text[4096];
  char path[64];
  snprintf(path, sizeof path, "/proc/self/task/%d/children", (int)getpid());
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
  ssize_t count = read(file, text, sizeof text - 1);
  close(file);
  text[count > 0 ? count : 0] = 0;
  for (char* word = strtok(text, " "); word; word = strtok(NULL, " ")) {
    const pid_t pid = (pid_t)atoi(word);
    if (pid > 1) kill(pid, SIGKILL);
  }
}

static void KillContainer(void) {
  self.killing = true;
  if (self.runtime_pid > 0) kill(self.runtime_pid, SIGKILL);
  if (self.init_pid > 0) kill(self.init_pid, SIGKILL);
  if (self.runtime_pid <= 0 && self.init_pid <= 0) KillChildren();
}

static void HandleWorker(void) {
  struct PinionMessage message;
  int descriptors[kDescriptorsMax];
  int count;
  const int got = ReceiveMessage(self.worker, &message, descriptors, &count);
  if (got < 0) DropWorker();
  if (got <= 0) return;
  for (int i = 0; i < count; ++i) close(descriptors[i]);
  struct Process* process = FindProcess(message.process);
  switch (message.kind) {
    case kPinionRun:
      RunProcess(&message);
      break;
    case kPinionSignal:
      ToInit(kPinionSignal, message.process, message.a);
      break;
    case kPinionCloseInput:
      if (process && process->input >= 0) {
        close(process->input);
        process->input = -1;
      }
      break;
    case kPinionGiveInput:
      if (process) process->give_input = true;
      break;
    case kPinionDelivered:
      if (process && message.a > process->delivered[0]) process->delivered[0] = message.a;
      if (process && message.b > process->delivered[1]) process->delivered[1] = message.b;
      break;
    case kPinionForget:
      ForgetProcess(message.process);
      break;
    case kPinionKill:
      message.text[kPinionTextBytes - 1] = 0;
      if (!self.killing) memcpy(self.kill_text, message.text, sizeof self.kill_text);
      KillContainer();
      break;
  }
}

/* --- From init and the runtime -------------------------------------------------------------------- */

static void HandleInit(void) {
  struct PinionMessage message;
  int descriptors[kDescriptorsMax];
  int count;
  const int got = ReceiveMessage(self.init, &message, descriptors, &count);
  if (got < 0) {
    close(self.init);
    self.init = -1;
    self.init_silent = true;
  }
  if (got <= 0) return;
  struct Process* process = FindProcess(message.process);
  if (message.kind == kPinionHello) self.ready = true;
  if (process && message.kind == kPinionStarted && !process->started) {
    process->started = true;
    process->pid = message.a;
    if (process->terminal && count == 1) {
      fcntl(descriptors[0], F_SETFL, O_RDWR | O_NONBLOCK);
      process->output[0] = descriptors[0];
      process->input = fcntl(descriptors[0], F_DUPFD_CLOEXEC, 0);
      count = 0;
    }
  }
  if (process && !process->ended && message.kind == kPinionUnexecuted) {
    GiveUp(process, message.a, message.text);
  }
  if (process && !process->ended && message.kind == kPinionExited) {
    process->ended = true;
    process->status = message.a;
  }
  for (int i = 0; i < count; ++i) close(descriptors[i]);
}

static void ReadRuntimeLog(char* text, size_t room) {
  int file = open("runtime.log", O_RDONLY | O_CLOEXEC);
  ssize_t count = -1;
  if (file >= 0) {
    struct stat status;
    if (fstat(file, &status) == 0 && status.st_size >= (off_t)room) {
      lseek(file, status.st_size - (off_t)room + 1, SEEK_SET);
    }
    count = read(file, text, room - 1);
    close(file);
  }
  text[count > 0 ? count : 0] = 0;
  for (char* at = text; *at; ++at) {
    if (*at == '\n') *at = ' ';
  }
}

static pid_t ReadPid(void) {
  char text[32] = "";
  int file = open("pid", O_RDONLY | O_CLOEXEC);
  if (file < 0) return 0;
  if (read(file, text, sizeof text - 1) <= 0) text[0] = 0;
  close(file);
  return (pid_t)atoi(text);
}

static void End(uint32_t kind, const char* text) {
  if (self.end_kind) return;
  self.end_kind = kind;
  snprintf(self.end_text, sizeof self.end_text, "%s", text);
}

static void InitEnded(int status) {
  char text[kPinionTextBytes];
  if (self.killing) {
    snprintf(text, sizeof text, "%s",
             self.kill_text[0] ? self.kill_text : "the container was destroyed");
  } else if (WIFSIGNALED(status)) {
    snprintf(text, sizeof text, "the container's init was killed by signal %d%s", WTERMSIG(status),
             WTERMSIG(status) == SIGKILL ? ", perhaps for lack of memory" : "");
  } else {
    snprintf(text, sizeof text, "the container's init ended with status %d", WEXITSTATUS(status));
  }
  End(kPinionEnded, text);
}

static void RuntimeEnded(int status) {
  self.runtime_pid = 0;
  self.init_pid = ReadPid();
  if (WIFEXITED(status) && WEXITSTATUS(status) == 0 && self.init_pid > 0) {
    /* It can have ended already; or it is not this process's child yet, and lives. */
    int init_status = 0;
    const pid_t reaped = waitpid(self.init_pid, &init_status, WNOHANG);
    if (reaped > 0 || (reaped < 0 && kill(self.init_pid, 0) != 0)) InitEnded(init_status);
    if (self.killing) KillContainer();
    return;
  }
  char text[400];
  ReadRuntimeLog(text, sizeof text);
  if (!*text) {
    snprintf(text, sizeof text, "%s ended with wait status %d and said nothing", self.runtime, status);
  }
  KillChildren();
  End(kPinionUnstarted, text);
}

static void HandleSignals(void) {
  struct signalfd_siginfo info;
  while (read(self.signals, &info, sizeof info) > 0) {
  }
  int status;
  pid_t pid;
  while ((pid = waitpid(-1, &status, WNOHANG)) > 0) {
    if (pid == self.runtime_pid) {
      RuntimeEnded(status);
    } else if (pid == self.init_pid || (self.init_pid == 0 && pid == ReadPid())) {
      InitEnded(status);
    }
  }
}

/* --- Start and end -------------------------------------------------------------------------------- */

extern char** environ;

static pid_t StartRuntime(char* const* arguments, int control) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, NULL);
  int log = open("runtime.log", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  if (log >= 0) {
    dup2(log, 1);
    dup2(log, 2);
  }
  if (control >= 0) dup2(control, kPinionControlFd);
  if (EnterCgroupView(self.hierarchies) != 0) {
    perror("showing the runtime its cgroups in a mount namespace");
    _exit(1);
  }
  /* The container's own view of its cgroup is made by the runtime and meant to be read. */
  umask(022);
  /* A sealed copy in memory: crun, which protects itself from its containers, need not make one. */
  fexecve(kPinionRuntimeFd, arguments, environ);
  perror(arguments[0]);
  _exit(127);
}

static void StartContainer(void) {
  char* arguments[] = {(char*)self.runtime, "--root",         (char*)self.runtime_root,
                       "run",               "--detach",       "--no-new-keyring",
                       "--preserve-fds",    "1",              "--pid-file",
                       "pid",               "--bundle",       ".",
                       self.id,             NULL};
  unlink("pid");
  self.runtime_pid = StartRuntime(arguments, self.init_side);
  close(self.init_side);
  self.init_side = -1;
  if (self.runtime_pid < 0) End(kPinionUnstarted, "the supervisor could not fork");
}

static bool IsOrphan(void);

/* Nothing of the container lives: its runtime need not be started again, in a mount namespace of its
 * own, only to take away its two files. The cgroups go with the container's folder. */
static bool RemoveRuntimeState(void) {
  char path[4096];
  if (snprintf(path, sizeof path, "%s/%s", self.runtime_root, self.id) >= (int)sizeof path) return false;
  DIR* folder = opendir(path);
  if (!folder) return errno == ENOENT;
  bool removed = true;
  for (struct dirent* entry; (entry = readdir(folder));) {
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
    if (unlinkat(dirfd(folder), entry->d_name, 0) != 0) removed = false;
  }
  closedir(folder);
  return removed && rmdir(path) == 0;
}

static void DeleteContainer(void) {
  const bool ended = self.end_kind == kPinionEnded && self.runtime_pid == 0;
  if (ended && !IsOrphan() && RemoveRuntimeState()) return;
  char* arguments[] = {(char*)self.runtime, "--root", (char*)self.runtime_root,
                       "delete",            "--force", self.id, NULL};
  const pid_t pid = StartRuntime(arguments, -1);
  int status;
  while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
}

static void JoinCgroups(char* files) {
  for (char* path = strtok(files, ":"); path; path = strtok(NULL, ":")) {
    int file = open(path, O_WRONLY | O_CLOEXEC);
    if (file < 0) continue;
    if (write(file, "0", 1) < 0) { /* the service manager's stop may reach this process, no more */
    }
    close(file);
  }
}

static int Listen(void) {
  struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "control"};
  int listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  unlink("control");
  if (listener < 0 || bind(listener, (struct sockaddr*)&address, sizeof address) != 0) return -1;
  return listen(listener, 4) == 0 ? listener : -1;
}

/* What can be done before it is known for which container: so much of a start's time is saved. */
static int Prepare(int count, char** arguments) {
  sigset_t all, child;
  self.worker = self.init = self.init_side = self.listener = -1;
  if (count != 8 || chdir(arguments[2]) != 0) return -1;
  self.runtime = arguments[3];
  self.runtime_root = arguments[4];
  self.hierarchies = arguments[5];
  JoinCgroups(arguments[6]);
  self.limit = atoll(arguments[7]);
  umask(077);
  prctl(PR_SET_NAME, "pinion-supervis");
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  sigfillset(&all);
  sigprocmask(SIG_SETMASK, &all, NULL);
  sigemptyset(&child);
  sigaddset(&child, SIGCHLD);
  self.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
  self.worker = kPinionWorkerFd;
  fcntl(kPinionWorkerFd, F_SETFD, FD_CLOEXEC);
  fcntl(kPinionRuntimeFd, F_SETFD, FD_CLOEXEC);
  return self.signals >= 0 ? 0 : -1;
}

/* Waits for its container. 0 when it has one, 1 when the worker went away without. */
static int Adopt(void) {
  struct PinionMessage message;
  int descriptors[kDescriptorsMax];
  int count = 0;
  int got;
  int pair[2];
  do {
    struct pollfd wait = {self.worker, POLLIN, 0};
    if (poll(&wait, 1, -1) < 0) return -1;
    got = ReceiveMessage(self.worker, &message, descriptors, &count);
    if (got < 0) return 1;
  } while (got == 0);
  /* The lock is held as long as its descriptor, which is never closed. */
  if (message.kind != kPinionAdopt || count != 1 || strlen(message.text) >= sizeof self.id) return -1;
  strcpy(self.id, message.text);
  if (chdir(self.id) != 0) return -1;
  self.listener = Listen();
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) return -1;
  self.init = pair[0];
  self.init_side = pair[1];
  return self.listener >= 0 ? 0 : -1;
}

static void AcceptWorker(void) {
  int worker = accept4(self.listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (worker < 0) return;
  DropWorker();
  self.worker = worker;
  self.send_blocked = false;
}

/* Whether no worker will ever come for this container: its folder on disk is gone. */
static bool IsOrphan(void) {
  return self.worker < 0 && access("state/spec.json", F_OK) != 0 && errno == ENOENT;
}

static int Patience(void) {
  /* Who dies without being a child here tells nobody: looked for, once it is silent. */
  if (self.init_silent) return 100;
  return self.worker < 0 ? kOrphanCheckMilliseconds : -1;
}

/* Waits for something to do, and does it. */
static void Turn(void) {
  static struct pollfd waits[kPollMax];
  static struct Process* owners[kPollMax];
  static int streams[kPollMax];
  const short worker_events = (short)(POLLIN | (self.send_blocked ? POLLOUT : 0));
  waits[0] = (struct pollfd){self.signals, POLLIN, 0};
  waits[1] = (struct pollfd){self.listener, POLLIN, 0};
  waits[2] = (struct pollfd){self.worker, worker_events, 0};
  waits[3] = (struct pollfd){self.init, POLLIN, 0};
  nfds_t count = 4;
  for (struct Process* at = self.processes; at; at = at->next) {
    for (int stream = 0; stream < kStreams; ++stream) {
      if (!WantsOutput(at, stream, self.limit)) continue;
      waits[count] = (struct pollfd){at->output[stream], POLLIN, 0};
      owners[count] = at;
      streams[count++] = stream;
    }
  }
  if (poll(waits, count, Patience()) < 0) return;
  if (self.init_silent && self.init_pid > 0 && kill(self.init_pid, 0) != 0) InitEnded(0);
  for (nfds_t i = 4; i < count; ++i) {
    if (waits[i].revents) MoveOutput(owners[i], streams[i]);
  }
  if (waits[3].revents) HandleInit();
  if (waits[0].revents) HandleSignals();
  if (waits[2].revents & POLLOUT) self.send_blocked = false;
  if (waits[2].revents & (POLLIN | POLLHUP | POLLERR)) HandleWorker();
  if (waits[1].revents) AcceptWorker();
  for (struct Process* at = self.processes; at; at = at->next) {
    if (at->ended && !at->finished) FinishProcess(at, self.limit);
  }
  TellAll();
  if (!self.killing && IsOrphan()) KillContainer();
}

/* Removes the folder in memory; for orphans, whom no worker cleans up. */
static void RemoveRunFolder(void) {
  DIR* folder = opendir(".");
  if (!folder) return;
  for (struct dirent* entry; (entry = readdir(folder));) unlink(entry->d_name);
  closedir(folder);
  if (chdir("..") == 0) rmdir(self.id);
}

/* The container is no more: what its processes have printed is saved, each gets an end. */
static void Finish(void) {
  /* Init's last messages are still to be read: its side is closed, so the end comes after them. */
  for (int i = 0; self.init >= 0 && i < 2 * kProcessesMax; ++i) HandleInit();
  for (struct Process* at = self.processes; at; at = at->next) {
    if (at->finished) continue;
    if (!at->ended) snprintf(at->text, sizeof at->text, "%s", self.end_text);
    FinishProcess(at, INT64_MAX);
  }
  WriteState("state/ended", self.end_text);
  DeleteContainer();
  TellAll();
  Tell(self.end_kind, 0, 0, 0, self.end_text, -1);
  if (IsOrphan()) RemoveRunFolder();
}

int SuperviseMain(int count, char** arguments) {
  int adopted = Prepare(count, arguments);
  if (adopted == 0) adopted = Adopt();
  if (adopted > 0) return 0;
  if (adopted < 0) {
    Tell(kPinionUnstarted, 0, 0, 0, strerror(errno), -1);
    return 1;
  }
  StartContainer();
  while (!self.end_kind) Turn();
  Finish();
  return 0;
}
