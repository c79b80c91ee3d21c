/* One static program, two halves: `supervise` on the host, `init` in the container. Beside them
 * `runtime`, which runs an OCI runtime's command where it sees the cgroups it can handle, and
 * `namespaces`, which holds new user and network namespaces until the worker has taken them. */
#define _GNU_SOURCE
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common.h"

static int HoldNamespaces(void) {
  char byte = 'x';
  if (unshare(CLONE_NEWUSER | CLONE_NEWNET) != 0) return 1;
  if (write(1, &byte, 1) != 1) return 1;
  while (read(0, &byte, 1) > 0) {
  }
  return 0;
}

int main(int count, char** arguments) {
  if (count == 2 && strcmp(arguments[1], "init") == 0) return InitMain();
  if (count == 2 && strcmp(arguments[1], "namespaces") == 0) return HoldNamespaces();
  if (count > 2 && strcmp(arguments[1], "supervise") == 0) return SuperviseMain(count, arguments);
  if (count > 3 && strcmp(arguments[1], "runtime") == 0) {
    if (EnterCgroupView(arguments[2]) != 0) {
      perror("showing the cgroups");
      return 1;
    }
    execvp(arguments[3], arguments + 3);
    perror(arguments[3]);
    return 127;
  }
  fprintf(stderr, "This program belongs to pinion worker, which starts it by itself.\n");
  return 2;
}
