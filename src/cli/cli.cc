#include "cli/cli.h"
#include "protocol/versions.h"

#include <csignal>
#include <iostream>

#include "base/options.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/target.h"

namespace pinion::cli {
namespace {

/// How many words stand before the command: options of all commands, with their values.
std::size_t LeadingOptions(const std::vector<std::string>& words) {
  std::size_t at = 0;
  while (at < words.size() && words[at].starts_with('-') && words[at] != "--") {
    at += words[at] == "-t" || words[at] == "--target" ? 2 : 1;
  }
  return std::min(at, words.size());
}

std::string UnknownCommand(const std::string& word) {
  std::vector<std::string_view> names;
  for (const Command& command : Commands())
    names.push_back(command.name);
  const std::string_view nearest = Nearest(word, names);
  std::string text = "unknown command '" + word + "'";
  text += nearest.empty() ? ": the command help lists them all"
                          : ": did you mean " + std::string(nearest) + "?";
  return text;
}

int RunCommand(Context& context, const std::vector<std::string>& words) {
  const std::size_t leading = LeadingOptions(words);
  Options options;
  options.Add({.name = "version", .doc = "", .short_name = 'v'}, context.version);
  AddGlobalOptions(options, context);
  std::vector<std::string> warnings;
  const auto parsed = options.Parse(
      {words.begin(), words.begin() + static_cast<std::ptrdiff_t>(leading)}, {}, warnings);
  if (!parsed) throw CommandError(parsed.error().message);
  if (context.version) {
    context.out << protocol::kConcourseVersion << '\n';
    return 0;
  }
  if (context.help || leading == words.size()) {
    context.out << Overview(context);
    return 0;
  }
  const std::string& name = words[leading];
  const Command* command = FindCommand(name);
  if (!command) throw CommandError(UnknownCommand(name));
  const std::vector<std::string> rest(words.begin() + static_cast<std::ptrdiff_t>(leading) + 1,
                                      words.end());
  try {
    return command->run(context, *command, rest);
  } catch (const NotAuthorized&) {
    if (!context.in_is_terminal || !context.out_is_terminal) throw;
  }
  context.err << "could not find a valid token.\n";
  if (const int status = Login(context, *FindCommand("login"), {}); status != 0) return status;
  return command->run(context, *command, rest);
}

}  // namespace

int Run(Context& context, const std::vector<std::string>& words) {
  std::ostream& err = context.err;
  try {
    const int status = RunCommand(context, words);
    context.out << std::flush;
    return status;
  } catch (const Exit& exit) {
    context.out << std::flush;
    return exit.status;
  } catch (const NotAuthorized&) {
    err << "not authorized. run the following to log in:\n\n    "
        << context.Bold(context.program_name + " -t " + context.target + " login") << "\n\n";
  } catch (const NoTarget&) {
    err << "no target specified. specify the target with " << context.Bold("-t")
        << " or log in like so:\n\n    "
        << context.Bold(context.program_name + " -t (alias) login -c (concourse url)") << "\n\n";
  } catch (const VersionDiffers& differs) {
    err << differs.what() << '\n'
        << context.Warn("cowardly refusing to run due to significant version discrepancy") << '\n';
  } catch (const Unreachable& unreachable) {
    err << "could not reach the Concourse server called " << context.Bold(context.target)
        << ":\n\n    " << context.Bold(unreachable.what())
        << "\n\nis the server running, and is the target's URL right?\n";
  } catch (const PlainError& error) {
    err << error.what() << '\n';
  } catch (const std::exception& error) {
    err << "error: " << error.what() << '\n';
  }
  context.out << std::flush;
  return 1;
}

int Main(const std::vector<std::string>& words, std::string program_name) {
  // Output into a pipe that nobody reads any more ends the client, as in `... watch | head`.
  std::signal(SIGPIPE, SIG_DFL);
  const SystemClock clock;
  Context context = ProcessContext(std::cout, std::cerr, clock, std::move(program_name));
  return Run(context, words);
}

int Help(Context& context, const Command&, const Words& words) {
  if (!words.empty()) {
    const Command* asked = FindCommand(words.front());
    if (!asked) throw CommandError(UnknownCommand(words.front()));
    return asked->run(context, *asked, {"--help"});
  }
  context.out << Overview(context);
  return 0;
}

}  // namespace pinion::cli
