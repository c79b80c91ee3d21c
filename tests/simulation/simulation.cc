#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>

#include "mutants.h"
#include "runner.h"

/// simulation --seed N | --seeds FROM TO | --minutes M   [--mutant NAME] [--trace FILE] [--log]
///            | --mutants   (every mutant must be found)
namespace pinion::simulation {
namespace {

constexpr std::uint64_t kMutantSeeds = 200;

struct Arguments {
  std::uint64_t from = 1;
  std::uint64_t to = 0;
  double minutes = 0;
  bool mutants = false;
  RunOptions run;
};

Arguments Parse(int argc, char** argv) {
  Arguments arguments;
  const std::vector<std::string> words(argv + 1, argv + argc);
  for (std::size_t i = 0; i < words.size(); ++i) {
    const auto value = [&]() -> std::string { return i + 1 < words.size() ? words[++i] : ""; };
    if (words[i] == "--seed") arguments.from = arguments.to = std::stoull(value());
    if (words[i] == "--seeds") {
      arguments.from = std::stoull(value());
      arguments.to = std::stoull(value());
    }
    if (words[i] == "--minutes") arguments.minutes = std::stod(value());
    if (words[i] == "--mutant") SetMutant(value());
    if (words[i] == "--mutants") arguments.mutants = true;
    if (words[i] == "--trace") arguments.run.trace_file = value();
    if (words[i] == "--log") arguments.run.log = true;
  }
  return arguments;
}

void Print(std::uint64_t seed, const RunReport& report) {
  std::printf("seed %llu: %lld builds, %lld kills, %lld steps, trace %016llx%s\n",
              static_cast<unsigned long long>(seed), static_cast<long long>(report.builds),
              static_cast<long long>(report.kills), static_cast<long long>(report.steps),
              static_cast<unsigned long long>(report.trace_hash),
              report.violations.empty() ? "" : ": FAILED");
  for (const std::string& text : report.violations)
    std::printf("  %s\n", text.c_str());
  if (!report.violations.empty()) {
    std::printf("  replay: simulation --seed %llu --trace /tmp/trace\n",
                static_cast<unsigned long long>(seed));
  }
  std::fflush(stdout);
}

bool RunSeeds(const Arguments& arguments) {
  Coverage coverage(FindAwaitSites(PINION_SOURCE_DIR));
  const auto begun = std::chrono::steady_clock::now();
  bool good = true;
  const auto time_left = [&] {
    return std::chrono::steady_clock::now() - begun <
           std::chrono::duration<double>(arguments.minutes * 60);
  };
  std::uint64_t seed = arguments.from;
  RunMany(
      [&]() -> std::optional<RunOptions> {
        if (seed > arguments.to && !time_left()) return std::nullopt;
        RunOptions options = OptionsOf(seed++, coverage.sites());
        options.trace_file = arguments.run.trace_file;
        options.log = arguments.run.log;
        return options;
      },
      [&](const RunOptions& options, const RunReport& report) {
        coverage.Add(report);
        good = good && report.violations.empty();
        Print(options.seed, report);
        return good || arguments.minutes == 0;
      });
  std::printf("%s\n", coverage.Text().c_str());
  return good;
}

bool FindMutants() {
  const AwaitSites sites = FindAwaitSites(PINION_SOURCE_DIR);
  bool all = true;
  for (const std::string_view mutant : kMutants) {
    SetMutant(mutant);
    bool found = false;
    std::uint64_t seed = 1;
    RunMany(
        [&]() -> std::optional<RunOptions> {
          if (found || seed > kMutantSeeds) return std::nullopt;
          return OptionsOf(seed++, sites);
        },
        [&](const RunOptions& options, const RunReport& report) {
          if (found || report.violations.empty()) return !found;
          found = true;
          std::printf("mutant %s: found by seed %llu: %s\n", std::string(mutant).c_str(),
                      static_cast<unsigned long long>(options.seed),
                      report.violations.front().substr(0, 300).c_str());
          return false;
        });
    if (!found) std::printf("mutant %s: NOT FOUND\n", std::string(mutant).c_str());
    std::fflush(stdout);
    all = all && found;
  }
  return all;
}

}  // namespace
}  // namespace pinion::simulation

int main(int argc, char** argv) {
  using namespace pinion::simulation;  // NOLINT
  const Arguments arguments = Parse(argc, argv);
  if (arguments.mutants) return FindMutants() ? 0 : 1;
  return RunSeeds(arguments) ? 0 : 1;
}
