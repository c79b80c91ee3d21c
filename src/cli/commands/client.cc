#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <ostream>

#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/target.h"
#include "protocol/versions.h"

/// Commands about the client itself, and curl.
namespace pinion::cli {
namespace {

/// The server's address with the path and query of `path`.
std::string FullUrl(const std::string& server, const std::string& path) {
  const std::size_t host = server.find("://");
  const std::size_t end = server.find('/', host + 3);
  std::string_view target = std::string_view(path).substr(0, path.find('#'));
  // A whole URL is taken for its path.
  if (const std::size_t scheme = target.find("://"); scheme != std::string_view::npos) {
    const std::size_t slash = target.find('/', scheme + 3);
    target = slash == std::string_view::npos ? "" : target.substr(slash);
  }
  std::string url = server.substr(0, end);
  if (!target.empty() && target.front() != '/' && target.front() != '?') url += '/';
  return url.append(target);
}

std::string Printable(const std::vector<std::string>& arguments) {
  std::vector<std::string> words;
  for (const std::string& argument : arguments) {
    words.push_back(argument.find(' ') == std::string::npos ? argument : "\"" + argument + "\"");
  }
  return Join(words, " ");
}

int RunProgram(const std::vector<std::string>& arguments) {
  std::vector<char*> argv;
  for (const std::string& argument : arguments)
    argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  pid_t child = 0;
  const int failed = ::posix_spawnp(&child, argv[0], nullptr, nullptr, argv.data(), environ);
  if (failed != 0) throw CommandError(SystemError("starting " + arguments[0], failed).message);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR)
      throw CommandError(SystemError("waiting for " + arguments[0], errno).message);
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

}  // namespace

int Curl(Context& context, const Command& command, const Words& words) {
  bool print = false;
  std::vector<std::string> given;
  Options options;
  options.Add({.name = "print-and-exit", .doc = "Print the command line, call nothing"}, print);
  options.AddPositional("PATH [-- CURL-FLAGS]", "path of the API, and flags for curl", given);
  ParseWords(context, command, options, words);
  if (given.empty()) throw CommandError("the path is missing, such as /api/v1/info");
  Target target = OpenTarget(context);
  const auto& token = target.api->token();
  std::vector<std::string> arguments{
      "curl", "-H",
      "Authorization: " + (token ? token->type : "") + " " + (token ? token->value : "")};
  arguments.insert(arguments.end(), given.begin() + 1, given.end());
  arguments.push_back(FullUrl(target.api->url(), given.front()));
  if (print) {
    context.out << Printable(arguments) << '\n';
    return 0;
  }
  context.out << std::flush;
  const int status = RunProgram(arguments);
  if (status != 0) throw CommandError("exit status " + std::to_string(status));
  return 0;
}

int Sync(Context& context, const Command& command, const Words& words) {
  bool force = false, insecure = false;
  std::string url, ca_cert, client_cert, client_key;
  Options options;
  options.Add({.name = "force", .doc = "Also when the versions match", .short_name = 'f'}, force);
  options.Add({.name = "concourse-url", .doc = "URL of the server", .short_name = 'c'}, url);
  options.Add(
      {.name = "insecure", .doc = "Do not check the server's certificate", .short_name = 'k'},
      insecure);
  options.Add({.name = "ca-cert", .doc = "File with CA certificates in PEM"}, ca_cert);
  options.Add({.name = "client-cert", .doc = "File with a client certificate in PEM"}, client_cert);
  options.Add({.name = "client-key", .doc = "File with the client certificate's key"}, client_key);
  ParseWords(context, command, options, words);
  Target target;
  if (!context.target.empty()) {
    target = LoadTarget(context);
  } else {
    if (url.empty()) throw NoTarget();
    target.api = std::make_unique<Api>(
        context, Connection{.url = url,
                            .ca_certificates = ReadPemFile(ExpandPath(ca_cert)),
                            .client_cert_path = ExpandPath(client_cert),
                            .client_key_path = ExpandPath(client_key),
                            .insecure = insecure});
  }
  const std::string theirs(target.Info().StringAt("version"));
  if (!force && theirs == protocol::kConcourseVersion) {
    context.out << "version " << theirs << " already matches; skipping\n";
    return 0;
  }
  throw CommandError(
      "this client is part of the pinion program and is not replaced on its own: install the "
      "server's pinion, or download the server's fly from " +
      target.api->url() + "/api/v1/cli?arch=amd64&platform=linux");
}

int Completion(Context& context, const Command& command, const Words& words) {
  std::string shell;
  Options options;
  options.Add({.name = "shell",
               .doc = "The shell: bash, zsh or fish",
               .value_name = "SHELL",
               .required = true},
              shell);
  ParseWords(context, command, options, words);
  const std::string& program = context.program_name;
  const std::string name = program.substr(program.rfind('/') + 1);
  std::vector<std::string> names;
  for (const Command& known : Commands())
    names.emplace_back(known.name);
  const std::string list = Join(names, " ");
  if (shell == "bash") {
    context.out
        << "_" << name << "_complete() {\n"
        << "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
        << "  if [[ $before == -t || $before == --target ]]; then\n"
        << "    COMPREPLY=($(compgen -W \"$(\"${COMP_WORDS[0]}\" targets | cut -d' ' -f1)\""
           " -- \"$word\"))\n"
        << "  elif [[ $word != -* ]]; then\n"
        << "    COMPREPLY=($(compgen -W \"" << list << "\" -- \"$word\"))\n"
        << "  fi\n}\n"
        << "complete -o default -F _" << name << "_complete " << name << '\n';
  } else if (shell == "zsh") {
    context.out
        << "#compdef " << name << "\n_" << name << "() {\n"
        << "  case \"${words[CURRENT-1]}\" in\n"
        << "    -t|--target) compadd -- ${(f)\"$(${words[1]} targets | cut -d' ' -f1)\"} ;;\n"
        << "    *) [[ \"${words[CURRENT]}\" == -* ]] || compadd -- " << list << " ;;\n"
        << "  esac\n}\ncompdef _" << name << ' ' << name << '\n';
  } else if (shell == "fish") {
    context.out << "complete -c " << name << " -s t -l target -x -a '(" << name
                << " targets | cut -d\" \" -f1)'\n";
    for (const Command& known : Commands()) {
      context.out << "complete -c " << name << " -n __fish_use_subcommand -f -a " << known.name
                  << " -d '" << (known.help.find('\'') == std::string_view::npos ? known.help : "")
                  << "'\n";
    }
  } else {
    throw CommandError("'" + shell + "' is no shell that is known here: bash, zsh or fish");
  }
  return 0;
}

}  // namespace pinion::cli
