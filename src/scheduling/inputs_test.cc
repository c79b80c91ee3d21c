#include "scheduling/inputs.h"

#include <gtest/gtest.h>

#include <chrono>
#include <sstream>

#include "scheduling/graph_testing.h"
#include "store/testing.h"

namespace pinion::scheduling {
namespace {

using testing::ParseGraph;

// One situation: `job` resolves to `expected`.
struct Case {
  const char* name;
  const char* graph;
  const char* expected;
};

// The job in question is always called `job`.
constexpr Case kCases[] = {
    {"LatestVersion", "versions r: 1 2 3\n job job: r", "r=3*"},
    {"NoVersions", "versions r:\n job job: r", "r: latest version of resource not found"},
    {"LatestThatIsNotDisabled", "versions r: 1 2 3\n disable r 3\n job job: r", "r=2*"},
    {"AllDisabled", "versions r: 1\n disable r 1\n job job: r",
     "r: latest version of resource not found"},
    {"KnownVersionIsNoFirstOccurrence", "versions r: 1 2\n job job: r\n build job 1 failed: r@2",
     "r=2"},
    {"OlderBuildHadIt", R"(versions r: 1 2
        job job: r
        build job 1: r@2
        build job 2: r@1)",
     "r=2"},
    {"FirstOccurrenceGoesByTheInputsName", "versions r: 1\n job job: a=r; b=r\n build job 1: a=r@1",
     "a=1 b=1*"},
    {"AnotherJobsBuildsDoNotCount", "versions r: 1\n job job: r\n build other 1: r@1", "r=1*"},
    {"PendingBuildsCount", "versions r: 1\n job job: r\n build job 1 pending: r@1", "r=1"},
    {"Pinned", "versions r: 1 2 3\n job job: r pinned 2", "r=2*"},
    {"PinnedToADisabledVersion", "versions r: 1 2 3\n disable r 2\n job job: r pinned 2", "r=2*"},
    {"PinnedToWhatIsNotThere", "versions r: 1\n job job: r pinned 7",
     "r: pinned version v:7 not found"},

    {"EveryBeginsWithTheLatest", "versions r: 1 2 3\n job job: r every", "r=3*"},
    {"EveryGoesOn", "versions r: 1 2 3 4\n job job: r every\n build job 1: r@1", "r=2* +"},
    {"EveryGoesOnToTheLast", "versions r: 1 2\n job job: r every\n build job 1: r@1", "r=2*"},
    {"EveryHasNothingNew", "versions r: 1 2\n job job: r every\n build job 1: r@2", "r=2"},
    {"EveryPassesDisabledOver",
     "versions r: 1 2 3 4\n disable r 2\n job job: r every\n build job 1: r@1", "r=3* +"},
    {"EveryFallsBackWhenTheUsedOneIsDisabled",
     "versions r: 1 2\n disable r 2\n job job: r every\n build job 1: r@2", "r=1*"},
    {"EveryCountsFromTheNewestUsed", R"(versions r: 1 2 3
        job job: r every
        build job 1: r@2
        build job 2: r@1)",
     "r=3*"},
    {"EveryWithoutVersions", "versions r:\n job job: r every", "r: version of resource not found"},

    {"PassedTakesWhatWentThrough", "versions r: 1 2\n job job: r passed a\n build a 1: r@1",
     "r=1*"},
    {"PassedTakesTheNewestBuild", R"(versions r: 1 2 3
        job job: r passed a
        build a 1: r@2
        build a 2: r@1)",
     "r=1*"},
    {"FailedBuildsPassNothing", R"(versions r: 1 2
        job job: r passed a
        build a 1: r@1
        build a 2 failed: r@2)",
     "r=1*"},
    {"NothingPassed", "versions r: 1\n job job: r passed a",
     "r: no satisfiable builds from passed jobs found for set of inputs"},
    {"PassedMeansAllOfThem", R"(versions r: 1 2 3
        job job: r passed a,b
        build a 1: r@1
        build a 2: r@2
        build a 3: r@3
        build b 4: r@1
        build b 5: r@2)",
     "r=2*"},
    {"PassedJobsHaveNothingInCommon", R"(versions r: 1 2
        job job: r passed a,b
        build a 1: r@1
        build b 2: r@2)",
     "r: no satisfiable builds from passed jobs found for set of inputs"},
    {"PutsPassToo", "versions r: 1\n job job: r passed a\n build a 1: >r@1", "r=1*"},
    {"WhatWasPutCountsBeforeWhatWasGot",
     "versions r: 1 2\n job job: r passed a\n build a 1: r@1 >r@2", "r=2*"},
    {"InputsOfOnePassedJobComeFromOneBuild", R"(versions x: 1 2
        versions y: 1 2
        job job: x passed a; y passed a
        build a 1: x@1 y@2
        build a 2: x@2 y@1)",
     "x=2* y=1*"},
    {"SharedPassedJobsFindACommonBuild", R"(versions x: 1 2
        versions y: 1 2
        job job: x passed a,b; y passed a
        build a 1: x@1 y@1
        build a 2: x@2 y@2
        build b 3: x@1)",
     "x=1* y=1*"},
    {"OverlapCarriesOver", R"(versions x: 1 2
        versions y: 1 2
        versions z: 1 2
        job job: x passed a; y passed a,b; z passed b
        build a 1: x@1 y@1
        build a 2: x@2 y@2
        build b 3: y@2 z@1
        build b 4: y@1 z@2)",
     "x=2* y=2* z=1*"},
    {"UnrelatedGroupsFailApart", R"(versions x: 1
        versions y: 1
        job job: x passed a; y passed b
        build a 1: x@1)",
     "x=1* y: no satisfiable builds from passed jobs found for set of inputs"},
    {"OneGroupFailsTogether", R"(versions x: 1
        versions y: 1
        job job: x passed a; y passed a
        build a 1: x@1)",
     "x: no satisfiable builds from passed jobs found for set of inputs "
     "y: no satisfiable builds from passed jobs found for set of inputs"},
    {"DisabledVersionsDoNotPass", R"(versions r: 1 2
        disable r 2
        job job: r passed a
        build a 1: r@1
        build a 2: r@2)",
     "r=1*"},
    {"PinnedAndPassed", R"(versions r: 1 2 3
        job job: r passed a pinned 2
        build a 1: r@1
        build a 2: r@2
        build a 3: r@3)",
     "r=2*"},
    {"PinnedButNotPassed", R"(versions r: 1 2
        job job: r passed a pinned 2
        build a 1: r@1)",
     "r: no satisfiable builds from passed jobs found for set of inputs"},
    {"PinnedAndPassedToWhatIsNotThere",
     "versions r: 1\n job job: r passed a pinned 9\n build a 1: r@1",
     "r: pinned version v:9 not found"},
    {"APinDrawsTheOtherInputsAlong", R"(versions x: 1 2
        versions y: 1 2
        job job: x passed a pinned 1; y passed a
        build a 1: x@1 y@1
        build a 2: x@2 y@2)",
     "x=1* y=1*"},
    {"PassedAndUnpassedDoNotMix", R"(versions x: 1 2
        versions y: 1 2
        job job: x passed a; y
        build a 1: x@1 y@1)",
     "x=1* y=2*"},
    {"OneResourceTwice", R"(versions r: 1 2
        job job: now=r; tested=r passed a
        build a 1: r@1)",
     "now=2* tested=1*"},

    {"ARerunStandsBesideItsOriginal", R"(versions r: 1 2
        job job: r passed a
        build a 1 failed: r@1
        build a 2: r@2
        build a 3 rerun 1: r@1)",
     "r=2*"},
    {"ARerunPassesWhatItsOriginalDidNot", R"(versions r: 1
        job job: r passed a
        build a 1 failed: r@1
        build a 2 rerun 1: r@1)",
     "r=1*"},

    {"EveryPassedBeginsWithTheNewest", R"(versions r: 1 2
        job job: r passed a every
        build a 1: r@1
        build a 2: r@2)",
     "r=2*"},
    {"EveryPassedGoesOnWithTheOldestUnused", R"(versions r: 1 2 3 4
        job job: r passed a every
        build a 1: r@1
        build a 2: r@2
        build a 3: r@3
        build a 4: r@4
        build job 5: r@1 from 1)",
     "r=2* +"},
    {"EveryPassedHasNothingNew", R"(versions r: 1 2
        job job: r passed a every
        build a 1: r@1
        build a 2: r@2
        build job 3: r@2 from 2)",
     "r=2"},
    {"EveryPassedPassesOverWhatTheOtherJobLacks", R"(versions r: 1 2 3
        job job: r passed a,b every
        build a 1: r@1
        build b 2: r@1
        build job 3: r@1 from 1,2
        build a 4: r@2
        build a 5: r@3
        build b 6: r@3)",
     "r=3* +"},
    {"EveryWithANewPassedJobGoesOnWithTheOld", R"(versions r: 1 2 3
        job job: r passed a,b every
        build b 1: r@1
        build job 2: r@1 from 1
        build b 3: r@2
        build b 4: r@3
        build a 5: r@3
        build a 6: r@2)",
     "r=2* +"},
};

class InputsTest : public ::testing::TestWithParam<Case> {};
INSTANTIATE_TEST_SUITE_P(Cases, InputsTest, ::testing::ValuesIn(kCases),
                         [](const auto& info) { return info.param.name; });

TEST_P(InputsTest, ResolveInMemory) {
  EXPECT_EQ(testing::PlaceInMemory(ParseGraph(GetParam().graph))->Resolve("job"),
            GetParam().expected);
}

TEST_P(InputsTest, ResolveInPagesOfOneBuild) {
  EXPECT_EQ(testing::PlaceInMemory(ParseGraph(GetParam().graph))->Resolve("job", {.page = 1}),
            GetParam().expected);
}

class SqlInputsTest : public store::testing::DatabaseTest {};
PINION_FOR_EACH_DATABASE(SqlInputsTest);

TEST_P(SqlInputsTest, ResolvesEveryCase) {
  for (const Case& test : kCases) {
    SCOPED_TRACE(test.name);
    auto placed = testing::PlaceInDatabase(ParseGraph(test.graph), database(), test.name);
    EXPECT_EQ(placed->Resolve("job"), test.expected);
    EXPECT_EQ(placed->Resolve("job", {.page = 1}), test.expected);
  }
}

TEST(InputLimitsTest, TooManyCombinationsAreGivenUpWithAReason) {
  // Each input alone finds its versions in every build, but no two jobs agree on all.
  std::ostringstream text;
  text << "versions x:";
  for (int i = 1; i <= 60; ++i)
    text << " " << i;
  text << "\nversions y: 1 2\njob job: x passed a,b; y passed a,b\n";
  int number = 0;
  for (int i = 1; i <= 60; ++i) {
    text << "build a " << ++number << ": x@" << i << " y@1\n";
    text << "build b " << ++number << ": x@" << i << " y@2\n";
  }
  auto placed = testing::PlaceInMemory(ParseGraph(text.str()));
  EXPECT_EQ(placed->Resolve("job").find("x: no satisfiable builds"), 0U);
  EXPECT_EQ(placed->Resolve("job", {.builds = 50}).find("x: gave up after trying 51 builds"), 0U);
}

}  // namespace
}  // namespace pinion::scheduling
