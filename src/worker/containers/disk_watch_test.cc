#include "worker/containers/disk_watch.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "base/text.h"
#include "worker/containers/testing.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using protocol::garden::ContainerSpec;
using protocol::garden::ProcessSpec;

constexpr std::int64_t kMany = 1LL << 40;

TEST(MeasureDiskTest, CountsFilesAndBytesBelowAFolder) {
  TemporaryFolder folder;
  fs::create_directories(folder.path() / "a/b/c");
  ASSERT_TRUE(WriteFile(folder.path() / "a/b/large", std::string(1 << 20, 'x')));
  fs::create_symlink("/usr", folder.path() / "a/link");
  fs::create_hard_link(folder.path() / "a/b/large", folder.path() / "a/again");
  const DiskUse use = MeasureDisk(folder.path(), kMany, kMany);
  EXPECT_EQ(use.files, 6);
  EXPECT_GE(use.bytes, 1 << 20);
  EXPECT_LT(use.bytes, 2 << 20);
  EXPECT_EQ(MeasureDisk(folder.path(), kMany, 2).files, 3) << "goes on past the limit";
  EXPECT_EQ(MeasureDisk(folder.path() / "absent", kMany, kMany).files, 0);
}

TEST(MeasureDiskTest, NestingThatHidesFilesCountsAsTooMany) {
  TemporaryFolder folder;
  int at = ::open(folder.path().c_str(), O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 500; ++i) {
    ASSERT_EQ(::mkdirat(at, "a", 0700), 0);
    const int next = ::openat(at, "a", O_DIRECTORY | O_CLOEXEC);
    ::close(at);
    at = next;
  }
  ::close(at);
  EXPECT_GT(MeasureDisk(folder.path(), kMany, 10'000).files, 10'000);
}

class DiskWatchTest : public testing::ContainersFixture {
 protected:
  void SetUp() override {
    ContainersFixture::SetUp();
    if (IsSkipped()) return;
    for (const char* name : {"hog", "neighbour"}) {
      fs::create_directories(folder_.path() / name);
      ASSERT_EQ(::chown((folder_.path() / name).c_str(), kHostIdBase, kHostIdBase), 0);
    }
  }
  std::shared_ptr<ContainerProcess> Start(const std::string& handle, const std::string& script) {
    ContainerSpec spec = Spec(handle);
    spec.bind_mounts = {{.src_path = folder_.path() / handle, .dst_path = "/out", .mode = 1}};
    auto container = Create(std::move(spec));
    return loop().RunUntilDone(container->Run(Shell(script), {}));
  }
  static Task<void> UntilOutput(std::shared_ptr<ContainerProcess> process) {
    while (process->size[0] == 0 && !process->end)
      co_await process->changed.Wait({});
  }
};

TEST_F(DiskWatchTest, EndsTheContainerThatMakesTooManyFilesAndNoOther) {
  DiskWatch watch(loop().executor(), worker_->timers(), worker_->pool(), worker_->log(),
                  worker_->containers(),
                  {.folder = folder_.path(), .files_max = 300, .own_files = [](const fs::path& at) {
                     return at.filename() == "rootfs" ? fs::path("/nowhere") : at;
                   }});
  auto neighbour = Start("neighbour", "echo up; sleep 1000");
  auto hog = Start("hog",
                   "i=0; while [ $i -lt 200 ]; do : > /out/$i; i=$((i+1)); done; echo up;"
                   "sleep 1000");
  loop().RunUntilDone(UntilOutput(hog));
  loop().RunUntilDone(watch.Look());
  EXPECT_FALSE(hog->end) << "ended below its limit: " << hog->end->error;
  for (int i = 0; i < 200; ++i)
    ASSERT_TRUE(WriteFile(folder_.path() / "hog" / ("more" + std::to_string(i)), ""));
  loop().RunUntilDone(watch.Look());
  loop().RunUntilDone(UntilEnd(hog));
  EXPECT_NE(hog->end->error.find("more than 300 files, its limit"), std::string::npos)
      << hog->end->error;
  EXPECT_FALSE(neighbour->end);
  loop().RunUntilDone(watch.Shutdown());
}

}  // namespace
}  // namespace pinion::worker
