#include "worker/containers/cpu_watch.h"

#include "base/text.h"
#include "worker/containers/testing.h"

namespace pinion::worker {
namespace {

using Changes = std::map<std::string, bool>;

TEST(RankTest, WhoUsesMoreThanHisFairPartGoesBehind) {
  EXPECT_EQ(ChangesOfRank({{.handle = "hog", .cpus = 1.33}, {.handle = "one", .cpus = 0.67}}, 2),
            (Changes{{"hog", true}}));
  EXPECT_EQ(ChangesOfRank({{.handle = "hog", .cpus = 1.95}}, 2), (Changes{{"hog", true}}))
      << "before somebody else comes";
  EXPECT_EQ(
      ChangesOfRank(
          {{.handle = "wide", .cpus = 9}, {.handle = "a", .cpus = 4}, {.handle = "b", .cpus = 3}},
          16),
      (Changes{{"wide", true}}));
}

TEST(RankTest, WhoUsesNoMoreThanOneCpuStays) {
  EXPECT_EQ(ChangesOfRank({{.handle = "a", .cpus = 1},
                           {.handle = "b", .cpus = 0.9},
                           {.handle = "c", .cpus = 0.1},
                           {.handle = "d", .cpus = 0.1}},
                          2),
            Changes{});
}

TEST(RankTest, WhoAskedForMoreHasALargerPart) {
  const CpuUse small{.handle = "small", .cpus = 2, .weight = 512};
  EXPECT_EQ(ChangesOfRank({{.handle = "large", .cpus = 5, .weight = 4096}, small}, 8),
            (Changes{{"small", true}}));
  EXPECT_EQ(ChangesOfRank({{.handle = "large", .cpus = 5, .weight = 1024}, small}, 8),
            (Changes{{"large", true}, {"small", true}}));
}

TEST(RankTest, WhoIsBehindComesBackWhenHeGetsTooLittleOfWhatOthersMayHave) {
  const CpuUse starved{.handle = "hog", .cpus = 0.1, .lowered = true};
  EXPECT_EQ(ChangesOfRank({starved, {.handle = "a", .cpus = 1}, {.handle = "b", .cpus = 1}}, 2),
            (Changes{{"hog", false}}));
  EXPECT_EQ(ChangesOfRank({starved}, 2), (Changes{{"hog", false}})) << "it wants no more";
}

TEST(RankTest, TwoThatWantEverythingEndUpSideBySide) {
  const CpuUse behind{.handle = "first", .cpus = 0.06, .lowered = true};
  EXPECT_EQ(ChangesOfRank({behind, {.handle = "second", .cpus = 1.94}}, 2),
            (Changes{{"second", true}}))
      << "and the first stays where it is, or they would take turns";
  EXPECT_EQ(ChangesOfRank({{.handle = "first", .cpus = 1, .lowered = true},
                           {.handle = "second", .cpus = 1, .lowered = true}},
                          2),
            Changes{});
}

TEST(RankTest, WhoIsBehindAndStillHasHisPartStaysBehind) {
  EXPECT_EQ(
      ChangesOfRank({{.handle = "hog", .cpus = 1, .lowered = true}, {.handle = "a", .cpus = 1}}, 2),
      Changes{});
}

class CpuWatchTest : public testing::ContainersFixture {
 protected:
  void Start(const std::string& handle, const std::string& script) {
    auto container = Create(Spec(handle));
    loop().RunUntilDone(container->Run(Shell(script), {}));
  }
  std::string Weight(const std::string& handle) {
    const Launcher& launcher = worker_->containers().launcher();
    const auto folder = *launcher.cgroups().Controller("cpu") / launcher.CgroupOf(handle);
    return std::string(
        Trim(ReadFile(folder / (launcher.cgroups().unified() ? "cpu.weight" : "cpu.shares"))
                 .value_or("")));
  }
  std::unique_ptr<CpuWatch> Watch() {
    // The machine is taken for a small one: the hog needs not fill it.
    return std::make_unique<CpuWatch>(loop().executor(), worker_->timers(), worker_->pool(),
                                      worker_->log(), worker_->containers(),
                                      CpuWatchOptions{.cpus = 0.5, .always = 0.1});
  }
};

TEST_F(CpuWatchTest, WritesTheWeightOfWhoIsBehindAndGivesItBack) {
  Start("hog", "for i in 1 2 3 4; do while :; do :; done & done; sleep 1000");
  Start("neighbour", "sleep 1000");
  const std::string normal = Weight("hog");
  auto watch = Watch();
  const auto wait_for = [&](bool lowered) {
    for (int i = 0; i < 100 && watch->Lowered().empty() == lowered; ++i) {
      loop().RunUntilDone(worker_->timers().Sleep(std::chrono::milliseconds(200), {}));
      loop().RunUntilDone(watch->Look());
    }
  };
  wait_for(true);
  ASSERT_EQ(watch->Lowered(), std::vector<std::string>{"hog"});
  EXPECT_NE(Weight("hog"), normal);
  EXPECT_EQ(Weight("neighbour"), normal);
  // The next life of the worker knows what it finds.
  watch = Watch();
  loop().RunUntilDone(watch->Look());
  EXPECT_EQ(watch->Lowered(), std::vector<std::string>{"hog"});
  loop().RunUntilDone(watch->Shutdown());
  EXPECT_EQ(Weight("hog"), normal);
}

}  // namespace
}  // namespace pinion::worker
