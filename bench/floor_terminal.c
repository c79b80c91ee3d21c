// The floor of a task's log: a program that writes to a terminal in the mode that tasks have, read
// as fast as it can be and written to a file, and nothing else. One line: milliseconds.
//
//   floor_terminal FILE PROGRAM [ARGUMENT]...
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

static void check(int good, const char *what) {
  if (good) return;
  fprintf(stderr, "floor_terminal: %s: %s\n", what, strerror(errno));
  exit(1);
}

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec * 1e3 + (double)time.tv_nsec / 1e6;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: floor_terminal FILE PROGRAM [ARGUMENT]...\n");
    return 2;
  }
  static char bytes[1 << 18];
  const int terminal = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
  check(terminal >= 0 && unlockpt(terminal) == 0, "terminal");
  struct termios modes;
  check(tcgetattr(terminal, &modes) == 0, "modes");
  modes.c_oflag &= ~(tcflag_t)OPOST;
  modes.c_lflag &= ~(tcflag_t)(ECHO | ECHONL);
  check(tcsetattr(terminal, TCSANOW, &modes) == 0, "modes");
  const int inside = open(ptsname(terminal), O_RDWR | O_NOCTTY | O_CLOEXEC);
  const int out = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  check(inside >= 0 && out >= 0, argv[1]);
  const double started = now();
  const pid_t child = fork();
  check(child >= 0, "fork");
  if (child == 0) {
    dup2(inside, 1);
    execvp(argv[2], argv + 2);
    check(0, argv[2]);
  }
  close(inside);
  ssize_t size;
  while ((size = read(terminal, bytes, sizeof bytes)) > 0) {
    check(write(out, bytes, (size_t)size) == size, argv[1]);
  }
  int status = 0;
  check(waitpid(child, &status, 0) == child && status == 0, argv[2]);
  printf("%.3f\n", now() - started);
  return 0;
}
