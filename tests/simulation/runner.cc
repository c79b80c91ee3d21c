#include "runner.h"

#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <deque>
#include <thread>

#include "base/json.h"

namespace pinion::simulation {
namespace {

// A run takes seconds; one that takes this long hangs.
constexpr unsigned kSecondsMax = 300;

void WriteAll(int fd, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(fd, text.data(), text.size());
    if (written <= 0) return;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
}

std::string ToLine(const RunReport& report) {
  JsonArray violations;
  for (const std::string& text : report.violations)
    violations.emplace_back(text);
  JsonArray hit;
  for (const AwaitSite& site : report.hit)
    hit.emplace_back(site);
  return ToText(JsonObject{{"violations", std::move(violations)},
                           {"hit", std::move(hit)},
                           {"hash", std::to_string(report.trace_hash)},
                           {"kills", report.kills},
                           {"builds", report.builds},
                           {"steps", report.steps},
                           {"pipeline", report.pipeline}});
}

RunReport FromLine(const std::string& line, int status) {
  RunReport report;
  const auto json = ParseJson(line);
  if (!json) {
    report.violations.push_back(WIFSIGNALED(status)
                                    ? "the run died of signal " + std::to_string(WTERMSIG(status))
                                    : "the run ended with " + std::to_string(WEXITSTATUS(status)) +
                                          " and without a report");
    return report;
  }
  for (const Json& text : json->Find("violations")->AsArray())
    report.violations.push_back(text.AsString());
  for (const Json& site : json->Find("hit")->AsArray())
    report.hit.insert(site.AsString());
  report.trace_hash = std::stoull(std::string(json->StringAt("hash")));
  report.kills = json->IntegerAt("kills");
  report.builds = json->IntegerAt("builds");
  report.steps = json->IntegerAt("steps");
  report.pipeline = json->StringAt("pipeline");
  return report;
}

[[noreturn]] void Child(const RunOptions& options, int fd) {
  alarm(kSecondsMax);
  RunReport report;
  try {
    auto* world = new World(options);  // goes with the process
    report = world->Run();
  } catch (const std::exception& error) {
    report.violations.push_back(std::string("the run threw: ") + error.what());
  }
  WriteAll(fd, ToLine(report));
  _exit(0);
}

struct Started {
  pid_t child = 0;
  int fd = -1;
};

Started Start(const RunOptions& options) {
  std::array<int, 2> pipe_ends{};
  if (pipe(pipe_ends.data()) != 0) throw Failure(ErrorKind::kInternal, "no pipe");
  const pid_t child = fork();
  if (child < 0) throw Failure(ErrorKind::kInternal, "no process for the run");
  if (child == 0) {
    close(pipe_ends[0]);
    Child(options, pipe_ends[1]);
  }
  close(pipe_ends[1]);
  return {child, pipe_ends[0]};
}

RunReport Finish(const Started& run) {
  std::string text;
  std::array<char, 65536> buffer{};
  for (ssize_t got = 0; (got = read(run.fd, buffer.data(), buffer.size())) > 0;)
    text.append(buffer.data(), static_cast<std::size_t>(got));
  close(run.fd);
  int status = 0;
  waitpid(run.child, &status, 0);
  return FromLine(text, status);
}

}  // namespace

void RunMany(const std::function<std::optional<RunOptions>()>& next,
             const std::function<bool(const RunOptions&, const RunReport&)>& ended) {
  const std::size_t at_once = std::max(1U, std::thread::hardware_concurrency());
  std::deque<std::pair<RunOptions, Started>> running;
  bool more = true;
  while (more || !running.empty()) {
    while (more && running.size() < at_once) {
      auto options = next();
      more = options.has_value();
      if (!options) break;
      const Started started = Start(*options);
      running.emplace_back(std::move(*options), started);
    }
    if (running.empty()) break;
    const auto [options, started] = std::move(running.front());
    running.pop_front();
    if (!ended(options, Finish(started))) more = false;
  }
}

RunReport RunApart(const RunOptions& options) {
  return Finish(Start(options));
}

RunOptions OptionsOf(std::uint64_t seed, const AwaitSites& sites) {
  constexpr std::size_t kAims = 16;
  RunOptions options{.seed = seed};
  for (std::size_t i = 0; i < kAims && !sites.existing.empty(); ++i)
    options.aims.push_back(sites.existing[(seed * kAims + i) % sites.existing.size()]);
  return options;
}

std::vector<AwaitSite> Coverage::Missed() const {
  std::vector<AwaitSite> missed;
  for (const AwaitSite& site : sites_.existing) {
    if (!hit_.contains(site)) missed.push_back(site);
  }
  return missed;
}

double Coverage::Share() const {
  if (sites_.existing.empty()) return 0;
  return 1 - static_cast<double>(Missed().size()) / static_cast<double>(sites_.existing.size());
}

std::string Coverage::Text() const {
  const auto missed = Missed();
  const std::size_t all = sites_.existing.size();
  std::string text = std::to_string(all - missed.size()) + " of " + std::to_string(all) +
                     " await points hit by kills (" +
                     std::to_string(static_cast<int>(Share() * 100)) + " %), " +
                     std::to_string(sites_.excluded.size()) + " excluded with a reason";
  for (const AwaitSite& site : missed)
    text += "\n  missed " + site;
  for (const std::string& unused : sites_.unused_exclusions)
    text += "\n  an exclusion that excludes nothing: " + unused;
  return text;
}

}  // namespace pinion::simulation
