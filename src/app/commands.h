#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace pinion::app {

/// A command of the program itself, beside those of the client.
struct Command {
  std::string_view name;
  std::string_view doc;
  int (*run)(const std::vector<std::string>& words);
};

/// Null if there is none of that name.
const Command* FindCommand(std::string_view name);
/// What `pinion --help` prints.
std::string Usage();

int RunQuickstart(const std::vector<std::string>& words);
int RunDoctor(const std::vector<std::string>& words);

}  // namespace pinion::app
