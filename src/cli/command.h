#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cli/context.h"

namespace pinion::cli {

/// One command. `run` parses the words that follow the command's name, and returns the exit status.
struct Command {
  std::string_view name;
  std::string_view alias;  ///< empty for none; several are separated by commas
  std::string_view help;   ///< one line
  int (*run)(Context& context, const Command& command, const std::vector<std::string>& words);
};

/// All commands, in the order of the help text.
std::span<const Command> Commands();
/// By name or alias; null if there is none.
const Command* FindCommand(std::string_view name);
/// The overview of all commands.
std::string Overview(const Context& context);
/// Runs one command line against `context`: parse, run, and say what went wrong.
int Run(Context& context, const std::vector<std::string>& words);

}  // namespace pinion::cli
