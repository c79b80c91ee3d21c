// One program: the first word says what it is.

#include <csignal>
#include <cstdio>
#include <filesystem>
#include <string>
#include <vector>

#include "app/commands.h"
#include "cli/cli.h"

int main(int argc, char** argv) {
  std::signal(SIGPIPE, SIG_IGN);  // peers that go away are errors of a write, not the end
  const std::string name = std::filesystem::path(argc > 0 ? argv[0] : "pinion").filename().string();
  std::vector<std::string> words(argv + 1, argv + argc);
  if (name != "fly" && !words.empty()) {
    if (const auto* command = pinion::app::FindCommand(words.front())) {
      words.erase(words.begin());
      return command->run(words);
    }
  }
  if (name != "fly" && (words.empty() || words.front() == "--help" || words.front() == "-h" ||
                        words.front() == "help")) {
    std::fputs(pinion::app::Usage().c_str(), stdout);
    return words.empty() ? 2 : 0;
  }
  return pinion::cli::Main(words, name);
}
