#include "app/commands.h"

#include <algorithm>
#include <array>

namespace pinion::app {
namespace {

constexpr std::array<Command, 2> kCommands = {{
    {"quickstart", "run a server with a local worker in one process", RunQuickstart},
    {"doctor", "check whether this machine can run a server, and say what is missing", RunDoctor},
}};

}  // namespace

const Command* FindCommand(std::string_view name) {
  const auto found = std::ranges::find(kCommands, name, &Command::name);
  return found == kCommands.end() ? nullptr : &*found;
}

std::string Usage() {
  std::string text = "Pinion, a CI/CD server that speaks Concourse.\n\nServer commands:\n";
  for (const Command& command : kCommands) {
    std::string line = "  " + std::string(command.name);
    line.resize(16, ' ');
    text += line + std::string(command.doc) + "\n";
  }
  text +=
      "\nClient commands: everything that fly does; `pinion help-client` lists them, and a link "
      "named "
      "fly to\nthis program is the fly command line.\n\nUse `pinion COMMAND --help` for the "
      "options of "
      "a command.\n";
  return text;
}

}  // namespace pinion::app
