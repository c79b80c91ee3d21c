/* Shared by the halves of the program: the supervisor on the host and the init in the container. */
#ifndef PINION_SUPERVISOR_COMMON_H
#define PINION_SUPERVISOR_COMMON_H

#include <stddef.h>

#include "protocol.h"

enum { kDescriptorsMax = 4 };

/* Sends one message with `count` descriptors, without waiting. 1 sent, 0 would block, -1 broken. */
int SendMessage(int socket, const struct PinionMessage* message, const int* descriptors, int count);

/* Receives one message without waiting; descriptors come with close-on-exec. 1 received, 0 nothing
 * there, -1 the other side is gone. Packets of another size are skipped (0). */
int ReceiveMessage(int socket, struct PinionMessage* message, int* descriptors, int* count);

/* Copies text, cut to its room, always ended. */
void SetText(struct PinionMessage* message, const char* text);

int SuperviseMain(int count, char** arguments);
int InitMain(void);

/* In a private mount namespace, shows /sys/fs/cgroup with those hierarchies (separated by colons)
 * and nothing else. crun refuses machines whose v2 hierarchy holds stray controllers beside v1; and
 * unmounting v2 instead would leave a stale folder per container in the hidden file system. Nothing
 * is done for empty text. 0 on success, else -1 and errno. */
int EnterCgroupView(const char* hierarchies);

#endif
