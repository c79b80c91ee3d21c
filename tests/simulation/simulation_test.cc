#include <gtest/gtest.h>

#include "mutants.h"
#include "runner.h"

namespace pinion::simulation {
namespace {

constexpr std::uint64_t kSeeds = 24;

TEST(SimulationTest, ASeedReplaysExactly) {
  const AwaitSites sites = FindAwaitSites(PINION_SOURCE_DIR);
  for (const std::uint64_t seed : {3U, 4U}) {
    const RunOptions options = OptionsOf(seed, sites);
    const RunReport first = RunApart(options);
    const RunReport second = RunApart(options);
    EXPECT_EQ(first.trace_hash, second.trace_hash);
    EXPECT_EQ(first.steps, second.steps);
    EXPECT_NE(first.trace_hash, 0U);
  }
}

TEST(SimulationTest, InvariantsHoldForTheFixedSeeds) {
  Coverage coverage(FindAwaitSites(PINION_SOURCE_DIR));
  std::uint64_t next = 1;
  RunMany(
      [&]() -> std::optional<RunOptions> {
        if (next > kSeeds) return std::nullopt;
        return OptionsOf(next++, coverage.sites());
      },
      [&](const RunOptions& options, const RunReport& report) {
        for (const std::string& violation : report.violations)
          ADD_FAILURE() << "seed " << options.seed << ": " << violation;
        coverage.Add(report);
        return true;
      });
  std::printf("%s\n", coverage.Text().c_str());
  EXPECT_TRUE(coverage.sites().unused_exclusions.empty());
}

}  // namespace
}  // namespace pinion::simulation
