#include "git/git.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <csignal>

#include "base/text.h"

namespace pinion::resource {
namespace {

constexpr std::size_t kOutputBytesMax = 256 << 20;

struct Pipe {
  int ends[2] = {-1, -1};
  Pipe() {
    if (pipe2(ends, O_CLOEXEC) != 0) throw Failure(SystemError("pipe", errno));
  }
  ~Pipe() {
    Close(0);
    Close(1);
  }
  void Close(int end) {
    if (ends[end] >= 0) ::close(ends[end]);
    ends[end] = -1;
  }
};

/// Feeds `input` and collects output at the same time, so that neither pipe fills up.
void Exchange(Pipe& in, Pipe& out, std::string_view input, std::string& output) {
  if (input.empty()) in.Close(1);
  std::array<char, 65536> buffer;
  for (;;) {
    std::array<pollfd, 2> waits = {pollfd{.fd = out.ends[0], .events = POLLIN},
                                   pollfd{.fd = in.ends[1], .events = POLLOUT}};
    if (poll(waits.data(), waits.size(), -1) < 0) {
      if (errno == EINTR) continue;
      throw Failure(SystemError("poll", errno));
    }
    if (in.ends[1] >= 0 && waits[1].revents != 0) {
      const ssize_t written =
          ::write(in.ends[1], input.data(), std::min<std::size_t>(input.size(), 4096));
      if (written > 0) input.remove_prefix(static_cast<std::size_t>(written));
      if (written < 0 || input.empty()) in.Close(1);
    }
    if (waits[0].revents == 0) continue;
    const ssize_t got = ::read(out.ends[0], buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return;
    output.append(buffer.data(), static_cast<std::size_t>(got));
    if (output.size() > kOutputBytesMax) {
      throw Failure(ErrorKind::kTooLarge, "git printed more than 256 MiB");
    }
  }
}

}  // namespace

int Git::Execute(const std::vector<std::string>& arguments, std::string_view input,
                 std::string& output) const {
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<const char*> argv = {"git", "-C", folder_.c_str()};
  for (const std::string& argument : arguments)
    argv.push_back(argument.c_str());
  argv.push_back(nullptr);
  Pipe in;
  Pipe out;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, in.ends[0], STDIN_FILENO);
  posix_spawn_file_actions_adddup2(&actions, out.ends[1], STDOUT_FILENO);
  pid_t child = 0;
  const int failed = posix_spawnp(&child, "git", &actions, nullptr,
                                  const_cast<char* const*>(argv.data()), environ);
  posix_spawn_file_actions_destroy(&actions);
  if (failed != 0) throw Failure(SystemError("start git", failed));
  in.Close(0);
  out.Close(1);
  Exchange(in, out, input, output);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

std::string Git::Run(const std::vector<std::string>& arguments, std::string_view input) const {
  std::string output;
  const int status = Execute(arguments, input, output);
  if (status != 0) {
    // Only the command's name: arguments may hold a URL with a password.
    throw Failure(ErrorKind::kInternal, "git " + (arguments.empty() ? "" : arguments.front()) +
                                            " failed with status " + std::to_string(status));
  }
  if (output.ends_with('\n')) output.pop_back();
  return output;
}

std::optional<std::string> Git::Try(const std::vector<std::string>& arguments,
                                    std::string_view input) const {
  std::string output;
  if (Execute(arguments, input, output) != 0) return std::nullopt;
  if (output.ends_with('\n')) output.pop_back();
  return output;
}

std::vector<std::string> Git::Lines(const std::vector<std::string>& arguments,
                                    std::string_view input) const {
  const std::string output = Run(arguments, input);
  std::vector<std::string> lines;
  if (output.empty()) return lines;
  for (const std::string_view line : Split(output, '\n'))
    lines.emplace_back(line);
  return lines;
}

std::vector<std::string> Texts(const Json& object, std::string_view name) {
  std::vector<std::string> texts;
  const Json* value = object.Find(name);
  if (!value || value->IsNull()) return texts;
  if (value->IsString()) return {value->AsString()};
  if (!value->IsArray()) {
    throw Failure(ErrorKind::kInvalid, "'" + std::string(name) + "' must be a list of texts");
  }
  for (const Json& item : value->AsArray()) {
    texts.push_back(item.IsString() ? item.AsString() : ToText(item));
  }
  return texts;
}

}  // namespace pinion::resource
