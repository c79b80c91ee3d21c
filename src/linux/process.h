#pragma once

#include <sys/types.h>

#include <chrono>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/error.h"
#include "linux/fd.h"

namespace pinion::linux {

/// What to start. Nothing of the parent is inherited but what is named here, standard error and the
/// environment.
struct SpawnSpec {
  std::vector<std::string> arguments;  ///< [0] is the program's path, or its name to find in PATH
  /// {descriptor here, number there}; 0, 1 and 2 are /dev/null unless named.
  std::vector<std::pair<int, int>> descriptors;
  bool new_session = false;
  bool keep_standard_error = false;
};

/// Starts the program by posix_spawn: its costs do not grow with this process's memory. The caller
/// must wait for the child. Blocks for about a millisecond.
Result<pid_t> Spawn(const SpawnSpec& spec);

struct CommandOutcome {
  int exit_status = 0;  ///< 128 + signal when it was killed
  std::string output;   ///< standard output and error, its first 64 KiB
};

/// Runs a program to its end with `input` as its standard input; kills it at the time limit
/// (kTimeout). The Error is about starting it, not about its exit status. Blocks.
Result<CommandOutcome> RunCommand(const std::vector<std::string>& arguments, std::string_view input,
                                  std::chrono::milliseconds limit);

}  // namespace pinion::linux
