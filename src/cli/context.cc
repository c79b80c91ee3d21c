#include "cli/context.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <ostream>

#include "base/options.h"
#include "base/text.h"
#include "cli/command.h"
#include "cli/errors.h"

namespace pinion::cli {

std::string Context::Environment(std::string_view name) const {
  const auto found = environment.find(std::string(name));
  return found == environment.end() ? "" : found->second;
}

std::optional<std::string> Context::ReadLine() {
  std::string line;
  for (;;) {
    char c = 0;
    const ssize_t got = ::read(in, &c, 1);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return line.empty() ? std::nullopt : std::optional(line);
    if (c == '\n') return line;
    if (line.size() < (1 << 20)) line += c;
  }
}

Context ProcessContext(std::ostream& out, std::ostream& err, const Clock& clock,
                       std::string program_name) {
  Context context{.out = out, .err = err, .clock = clock, .program_name = std::move(program_name)};
  context.in_is_terminal = ::isatty(0) == 1;
  context.out_is_terminal = ::isatty(1) == 1;
  context.err_is_terminal = ::isatty(2) == 1;
  context.environment = ReadEnvironment();
  winsize size{};
  if (::ioctl(1, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) context.width = size.ws_col;
  context.colours = context.out_is_terminal && context.Environment("NO_COLOR").empty() &&
                    context.Environment("TERM") != "dumb";
  return context;
}

void AddGlobalOptions(Options& options, Context& context) {
  const auto taken = [&options](char name) {
    for (const BoundOption& bound : options.all()) {
      if (bound.option.short_name == name) return true;
    }
    return false;
  };
  const auto letter = [&taken](char name) { return taken(name) ? char{0} : name; };
  const bool shown = options.all().empty();
  options.Add({.name = "target",
               .doc = "Saved target to talk to",
               .short_name = letter('t'),
               .value_name = "NAME",
               .hidden = !shown},
              context.target);
  options.Add({.name = "verbose", .doc = "Print requests and answers", .hidden = !shown},
              context.verbose);
  options.Add({.name = "print-table-headers",
               .doc = "Print the headers of tables also when the output is no terminal",
               .hidden = !shown},
              context.print_table_headers);
  options.Add({.name = "help", .doc = "Show this help", .short_name = letter('h')}, context.help);
}

void ParseWords(Context& context, const Command& command, Options& options,
                const std::vector<std::string>& words) {
  std::vector<std::string> extra;
  const bool takes_words = options.TakesPositional();
  if (!takes_words) options.AddPositional("", "", extra);
  AddGlobalOptions(options, context);
  std::vector<std::string> warnings;
  const auto parsed = options.Parse(words, {}, warnings);
  if (context.help) {
    context.out << "Usage: " << context.program_name << " [-t TARGET] " << command.name
                << " [OPTIONS]\n\n"
                << command.help << ".\n";
    if (!command.alias.empty()) context.out << "Short: " << command.alias << "\n";
    context.out << "\n" << options.Help();
    throw Exit{0};
  }
  if (!parsed) throw CommandError(parsed.error().message);
  for (const std::string& word : extra)
    context.err << "warning: the word '" << word << "' is ignored\n";
}

}  // namespace pinion::cli
