/* The supervisor's own parts: one process record per process of the container, and the loop. */
#ifndef PINION_SUPERVISOR_H
#define PINION_SUPERVISOR_H

#include <stdbool.h>
#include <sys/types.h>

#include "common.h"

enum { kStreams = 2 }; /* stdout, stderr; a terminal has the first only */

struct Process {
  uint32_t number;
  bool terminal;
  int output[kStreams];   /* where its output comes from; -1 at the end */
  int log[kStreams];      /* the log files */
  int64_t size[kStreams]; /* bytes in the log files */
  int64_t delivered[kStreams];
  int64_t read_at; /* when a terminal's output was read last; microseconds */
  int input;       /* where its input goes; -1 when closed */
  bool started;
  int64_t pid;
  bool ended;     /* init told its end; what is in the pipes is still to be read */
  bool finished;  /* its exit file is written */
  int64_t status; /* exit status; an errno when unexecuted */
  bool unexecuted;
  char text[kPinionTextBytes]; /* why there is no exit status; empty otherwise */
  int64_t told_size[kStreams]; /* what the worker knows */
  bool told_started;
  bool told_end;
  bool give_input; /* the worker asked for the input's descriptor */
  struct Process* next;
};

/* Makes a record with pipes and log files in state/processes/NUMBER; NULL and errno on failure.
 * child_streams[0] is the process's input if it is there already, else -1 and a pipe is made. */
struct Process* OpenProcess(uint32_t number, bool terminal, uid_t uid, gid_t gid,
                            int child_streams[3]);
void CloseProcess(struct Process* process);

/* Whether the stream may be read: not at its end, and not too far ahead of its reader. */
bool WantsOutput(const struct Process* process, int stream, int64_t limit);
/* Moves what is there, up to 256 KiB, to the log file; waits while the disk is full. Bytes moved; 0
 * when nothing is there, and at the end, when the stream is closed. */
ssize_t MoveOutput(struct Process* process, int stream);
/* The process has ended: reads what its pipes still hold, then writes its exit file. Does nothing
 * while a stream is held back by the limit. */
void FinishProcess(struct Process* process, int64_t limit);
/* Replaces a file by rename. */
void WriteState(const char* path, const char* text);

#endif
