#include <malloc.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <array>
#include <csignal>
#include <cstdio>

#include "app/commands.h"
#include "app/requirements.h"
#include "app/server.h"
#include "app/upstream_options.h"
#include "linux/readiness.h"

namespace pinion::app {
namespace {

constexpr int kUsageExit = 2;

/// SIGINT and SIGTERM as something to wait for.
class StopSignals {
 public:
  StopSignals() {
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    // Every thread inherits the mask, so only this descriptor hears of them.
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    fd_ = ::signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
  }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals() { ::close(fd_); }
  int fd() const { return fd_; }

 private:
  int fd_ = -1;
};

/// The first start says how to get a user; a server that nobody can log in to is no use.
void SayHowToAddUsers(const ServerOptions& options, const std::string& url) {
  if (!options.local_users.empty()) return;
  std::fprintf(stderr,
               "Nobody can log in yet. Start it with a user:\n"
               "  pinion quickstart --add-local-user NAME:PASSWORD --main-team-local-user NAME\n"
               "then: fly -t pinion login -c %s -u NAME -p PASSWORD\n",
               url.c_str());
}

Task<int> Serve(Loop& loop, Logger log, const ServerOptions& options, StopSignals& signals) {
  Server server(loop, log, options);
  Result<void> started;
  try {
    started = co_await server.Start();
  } catch (...) {
    // What was started before must be shut down all the same.
    started = std::unexpected(CurrentError());
  }
  if (!started) {
    std::fprintf(stderr, "pinion: %s\n", started.error().message.c_str());
  } else {
    const std::string url = options.ExternalUrl(server.port());
    log.Info("ready", {{"url", url}});
    std::fprintf(stderr, "Pinion is running: %s\n", url.c_str());
    SayHowToAddUsers(options, url);
    linux::WatchedFd watched(loop.executor(), linux::UniqueFd(::dup(signals.fd())));
    co_await watched.Readable({});
    log.Info("stopping");
  }
  co_await server.Shutdown();
  co_return started ? 0 : 1;
}

/// What both commands do with their words. An exit status: nothing more is to be done.
std::optional<int> ReadOptions(const std::vector<std::string>& words, const std::string& usage,
                               ServerOptions& options) {
  Options declared;
  options.Declare(declared);
  declared.Ignore(UpstreamOptions());
  bool help = false;
  declared.Add({.name = "help", .doc = "show this help", .short_name = 'h'}, help);
  std::vector<std::string> warnings;
  const auto parsed = declared.Parse(words, ReadEnvironment(), warnings);
  if (help) {
    std::printf("%s\n\n%s", usage.c_str(), declared.Help().c_str());
    return 0;
  }
  for (const std::string& warning : warnings) {
    std::fprintf(stderr, "pinion: warning: %s\n", warning.c_str());
  }
  if (parsed) {
    options.ResolveFolders();
    return std::nullopt;
  }
  std::fprintf(stderr, "pinion: %s\n", parsed.error().message.c_str());
  return kUsageExit;
}

}  // namespace

int RunQuickstart(const std::vector<std::string>& words) {
  // By default some forty threads get sixteen arenas here, and what bursts leave free in each stays
  // resident.
  ::mallopt(M_ARENA_MAX, 2);
  ServerOptions options;
  if (const auto status = ReadOptions(
          words, "Usage: pinion quickstart [options]\n\nRuns a server with a local worker.",
          options)) {
    return *status;
  }
  const auto level = ParseLogLevel(options.log_level);
  if (!level) {
    std::fprintf(stderr, "pinion: --log-level: %s\n", level.error().message.c_str());
    return kUsageExit;
  }
  bool met = true;
  for (const Requirement& requirement : CheckRequirements(options)) {
    if (requirement.met) continue;
    met = false;
    std::fprintf(stderr, "pinion: %s. Cure: %s\n", requirement.detail.c_str(),
                 requirement.cure.c_str());
  }
  if (!met) return 1;

  StopSignals signals;
  SystemClock clock;
  const Logger log(std::make_shared<FdLogSink>(), clock, *level);
  Loop loop("pinion");
  try {
    return loop.RunUntilDone(Serve(loop, log, options, signals));
  } catch (...) {
    std::fprintf(stderr, "pinion: %s\n", CurrentError().message.c_str());
    return 1;
  }
}

int RunDoctor(const std::vector<std::string>& words) {
  ServerOptions options;
  if (const auto status =
          ReadOptions(words,
                      "Usage: pinion doctor [options]\n\nSays what this machine lacks "
                      "for `pinion quickstart` with the same options.",
                      options)) {
    return *status;
  }
  bool met = true;
  for (const Requirement& requirement : CheckRequirements(options)) {
    met = met && requirement.met;
    std::printf("%-8s%-18s%s%s%s\n", requirement.met ? "ok" : "MISSING", requirement.name.c_str(),
                requirement.detail.c_str(),
                requirement.met ? "" : ". Cure: ", requirement.cure.c_str());
  }
  return met ? 0 : 1;
}

}  // namespace pinion::app
