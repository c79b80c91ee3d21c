/* What the worker, a container's supervisor and the container's init tell each other. C, for both
 * sides. Every message is one packet of a SOCK_SEQPACKET socket; descriptors go along with some. */
#ifndef PINION_SUPERVISOR_PROTOCOL_H
#define PINION_SUPERVISOR_PROTOCOL_H

#include <stdint.h>

enum { kPinionTextBytes = 488 };

struct PinionMessage {
  uint32_t kind;
  uint32_t process; /* number of the process in its container: its folder's name */
  int64_t a;
  int64_t b;
  char text[kPinionTextBytes]; /* ends with a NUL */
};

/* Where a process's input comes from. */
enum PinionInputKind {
  kPinionPipedInput = 0,  /* the worker writes it, see kPinionGiveInput */
  kPinionTerminal = 1,    /* a terminal of its own */
  kPinionStoredInput = 2, /* all is in the file input-NUMBER, which is removed once it is open */
};

/* The process number that means all of them. */
#define PINION_ALL_PROCESSES 0xffffffffu

enum PinionKind {
  /* worker -> supervisor */
  kPinionAdopt = 16, /* first of all; text: the container's handle; with its folder's lock */
  kPinionRun = 1,    /* a: a PinionInputKind; b: host's uid << 32 | gid; folder and spec exist */
  kPinionSignal,     /* a: signal number */
  kPinionCloseInput, /* no more input for the process */
  kPinionGiveInput,  /* asks for a descriptor to write input to; answered by kPinionInput */
  kPinionDelivered,  /* a, b: bytes of stdout and stderr that have reached their reader */
  kPinionForget,     /* the ended process's folder is going away */
  kPinionKill,       /* ends the container: everything in it dies, then the supervisor; text: why,
                        for those who wait for its processes */

  /* supervisor -> worker */
  kPinionReady = 32, /* the container runs; a: its init's pid */
  kPinionUnstarted,  /* the runtime could not start it; text: why */
  kPinionStarted,    /* the process runs; a: pid inside the container */
  kPinionUnexecuted, /* the process could not be started; a: errno, 0 if text alone tells; text */
  kPinionOutput,     /* a, b: bytes of stdout and stderr in the log files */
  kPinionExited,     /* a: exit status, or 128 + signal; all output is in the log files */
  kPinionInput,      /* with a descriptor; without one the input is closed already */
  kPinionEnded,      /* the container has died; text: why */

  /* init -> supervisor; kPinionStarted (with the terminal's descriptor), kPinionUnexecuted and
   * kPinionExited go the same way, kPinionRun (with the specification and the three standard
   * streams, or the specification alone for a terminal) and kPinionSignal the other */
  kPinionHello = 64,
};

/* A process's specification: texts, each ended by a NUL, in this order: uid, gid, number of
 * additional groups, those groups, terminal's columns, terminal's rows, whether the terminal is
 * verbatim, working folder, number of arguments, those arguments (the first is the program), the
 * rest: environment. */

enum { kPinionSpecBytesMax = 8 << 20 };

/* Descriptors that the supervisor is started with. */
enum {
  kPinionWorkerFd = 3,  /* its first connection to the worker */
  kPinionRuntimeFd = 4, /* the runtime's program */
};

/* The descriptor of the container's init to its supervisor. */
enum { kPinionControlFd = 3 };

#endif
