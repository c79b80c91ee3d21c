#pragma once

#include <string>
#include <vector>

namespace pinion::cli {

/// The client's command line: `words` without the program's name. Prints to standard output and
/// error and returns the exit status. `program_name` is what people typed, for the commands that
/// messages suggest.
int Main(const std::vector<std::string>& words, std::string program_name);

}  // namespace pinion::cli
