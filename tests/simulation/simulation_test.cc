#include <gtest/gtest.h>

#include "mutants.h"
#include "runner.h"

namespace pinion::simulation {
namespace {

constexpr std::size_t kAims = 16;

TEST(SimulationTest, ASeedReplaysExactly) {
  const AwaitSites sites = FindAwaitSites(PINION_SOURCE_DIR);
  for (const std::uint64_t seed : {3U, 4U}) {
    const RunOptions options{.seed = seed, .aims = AimsOf(seed, sites.existing, kAims)};
    const RunReport first = RunApart(options);
    const RunReport second = RunApart(options);
    EXPECT_EQ(first.trace_hash, second.trace_hash);
    EXPECT_EQ(first.steps, second.steps);
    EXPECT_NE(first.trace_hash, 0U);
  }
}

TEST(SimulationTest, InvariantsHoldForTheFixedSeeds) {
  Coverage coverage(FindAwaitSites(PINION_SOURCE_DIR));
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    const RunReport report =
        RunApart({.seed = seed, .aims = AimsOf(seed, coverage.sites().existing, kAims)});
    for (const std::string& violation : report.violations)
      ADD_FAILURE() << "seed " << seed << ": " << violation;
    coverage.Add(report);
  }
  std::printf("%s\n", coverage.Text().c_str());
  EXPECT_TRUE(coverage.sites().unused_exclusions.empty());
}

}  // namespace
}  // namespace pinion::simulation
