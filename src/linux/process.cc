#include "linux/process.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

namespace pinion::linux {
namespace {

constexpr std::size_t kOutputBytesMax = 64 << 10;

class FileActions {
 public:
  FileActions() { ::posix_spawn_file_actions_init(&actions_); }
  FileActions(const FileActions&) = delete;
  FileActions& operator=(const FileActions&) = delete;
  ~FileActions() { ::posix_spawn_file_actions_destroy(&actions_); }
  posix_spawn_file_actions_t* get() { return &actions_; }

 private:
  posix_spawn_file_actions_t actions_;
};

class Attributes {
 public:
  explicit Attributes(bool new_session) {
    ::posix_spawnattr_init(&attributes_);
    // The child starts with every signal at its default and none blocked, whatever this process
    // does.
    sigset_t all;
    sigset_t none;
    ::sigfillset(&all);
    ::sigemptyset(&none);
    ::posix_spawnattr_setsigdefault(&attributes_, &all);
    ::posix_spawnattr_setsigmask(&attributes_, &none);
    int flags = POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK;
    if (new_session) flags |= POSIX_SPAWN_SETSID;
    ::posix_spawnattr_setflags(&attributes_, static_cast<short>(flags));
  }
  Attributes(const Attributes&) = delete;
  Attributes& operator=(const Attributes&) = delete;
  ~Attributes() { ::posix_spawnattr_destroy(&attributes_); }
  posix_spawnattr_t* get() { return &attributes_; }

 private:
  posix_spawnattr_t attributes_;
};

int StatusOf(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

}  // namespace

Result<pid_t> Spawn(const SpawnSpec& spec) {
  FileActions actions;
  Attributes attributes(spec.new_session);
  // Two steps: first above every number that is used there, then down, so that none overwrites a
  // descriptor that is still to be moved. dup2 clears close-on-exec; the copies above are closed.
  int free_number = 64;
  for (const auto& [from, to] : spec.descriptors) {
    free_number = std::max({free_number, from + 1, to + 1});
  }
  std::vector<std::pair<int, int>> raised;
  for (const auto& [from, to] : spec.descriptors) {
    ::posix_spawn_file_actions_adddup2(actions.get(), from, free_number);
    raised.emplace_back(free_number++, to);
  }
  for (int number = 0; number < 3; ++number) {
    const bool named =
        std::ranges::any_of(raised, [&](auto& pair) { return pair.second == number; });
    if (named || (number == 2 && spec.keep_standard_error)) continue;
    ::posix_spawn_file_actions_addopen(actions.get(), number, "/dev/null", O_RDWR, 0);
  }
  int last = 2;
  for (const auto& [from, to] : raised) {
    ::posix_spawn_file_actions_adddup2(actions.get(), from, to);
    last = std::max(last, to);
  }
  // Libraries open descriptors without close-on-exec, and this process may have inherited some:
  // what outlives it must not hold them.
  for (int number = 3; number < last; ++number) {
    const bool named =
        std::ranges::any_of(raised, [&](auto& pair) { return pair.second == number; });
    if (!named) ::posix_spawn_file_actions_addclose(actions.get(), number);
  }
  ::posix_spawn_file_actions_addclosefrom_np(actions.get(), last + 1);
  std::vector<char*> arguments;
  for (const std::string& argument : spec.arguments) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);
  pid_t pid = 0;
  const int error = ::posix_spawnp(&pid, arguments[0], actions.get(), attributes.get(),
                                   arguments.data(), environ);
  if (error != 0) return std::unexpected(SystemError("start " + spec.arguments[0], error));
  return pid;
}

Result<CommandOutcome> RunCommand(const std::vector<std::string>& arguments, std::string_view input,
                                  std::chrono::milliseconds limit) {
  int in[2];
  int out[2];
  if (::pipe2(in, O_CLOEXEC) != 0) return std::unexpected(SystemError("pipe", errno));
  UniqueFd child_in(in[0]);
  UniqueFd to_child(in[1]);
  if (::pipe2(out, O_CLOEXEC) != 0) return std::unexpected(SystemError("pipe", errno));
  UniqueFd from_child(out[0]);
  UniqueFd child_out(out[1]);
  auto pid =
      Spawn({.arguments = arguments,
             .descriptors = {{child_in.get(), 0}, {child_out.get(), 1}, {child_out.get(), 2}}});
  if (!pid) return std::unexpected(std::move(pid).error());
  child_in.Reset();
  child_out.Reset();
  ::fcntl(to_child.get(), F_SETFL, O_NONBLOCK);
  if (input.empty()) to_child.Reset();

  CommandOutcome outcome;
  bool timed_out = false;
  const auto deadline = std::chrono::steady_clock::now() + limit;
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    pollfd waits[2] = {{from_child.get(), POLLIN, 0}, {to_child.get(), POLLOUT, 0}};
    const int ready = ::poll(waits, 2, std::max<int>(0, static_cast<int>(left.count())));
    if (ready < 0 && errno == EINTR) continue;
    if (ready <= 0) {
      timed_out = true;
      break;
    }
    if (waits[1].revents) {
      const ssize_t written =
          (waits[1].revents & POLLERR) ? -1 : ::write(to_child.get(), input.data(), input.size());
      if (written > 0) input.remove_prefix(static_cast<std::size_t>(written));
      if (written < 0 || input.empty()) to_child.Reset();
    }
    if (waits[0].revents) {
      char buffer[4096];
      const ssize_t count = ::read(from_child.get(), buffer, sizeof buffer);
      if (count <= 0) break;
      const std::size_t room = kOutputBytesMax - std::min(kOutputBytesMax, outcome.output.size());
      outcome.output.append(buffer, std::min(room, static_cast<std::size_t>(count)));
    }
  }
  if (timed_out) ::kill(*pid, SIGKILL);
  int status = 0;
  while (::waitpid(*pid, &status, 0) < 0 && errno == EINTR) {
  }
  if (timed_out) {
    return Fail(ErrorKind::kTimeout, arguments[0] + " did not end within " +
                                         std::to_string(limit.count()) + " ms and was killed");
  }
  outcome.exit_status = StatusOf(status);
  return outcome;
}

}  // namespace pinion::linux
