#pragma once

#include <filesystem>
#include <iosfwd>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "cli/style.h"

namespace pinion {
class Options;
}

namespace pinion::cli {

struct Command;

/// What a command may touch of the world around it: tests give it another one.
struct Context {
  std::ostream& out;
  std::ostream& err;
  int in = 0;  ///< descriptor of the standard input
  bool in_is_terminal = false;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  int width = 80;        ///< columns of the terminal
  bool colours = false;  ///< of what goes to `out`: a terminal, and nobody asked for none
  std::map<std::string, std::string> environment;
  const Clock& clock;
  std::string program_name;

  // Options of all commands.
  std::string target;
  bool verbose = false;
  bool print_table_headers = false;
  bool version = false;
  bool help = false;

  std::string Environment(std::string_view name) const;
  /// Text in bold when the output is a terminal.
  std::string Bold(std::string_view text) const { return Paint(style::kBold, text, colours); }
  /// For the standard error.
  std::string Warn(std::string_view text) const {
    return Paint(style::kFailed, text, colours && err_is_terminal);
  }
  /// A line without its end; nothing at the end of the input. Reads byte by byte, so that whoever
  /// comes next gets the rest.
  std::optional<std::string> ReadLine();
};

/// The context of this process.
Context ProcessContext(std::ostream& out, std::ostream& err, const Clock& clock,
                       std::string program_name);

/// Adds the options that every command has, unless a command's own option has that name.
void AddGlobalOptions(Options& options, Context& context);

/// Reads a command's words. Prints help and throws Exit for --help; CommandError for wrong words.
/// Words that are no options are ignored with a warning unless `options` takes them.
void ParseWords(Context& context, const Command& command, Options& options,
                const std::vector<std::string>& words);

}  // namespace pinion::cli
