#include "linux/cgroup.h"

#include <gtest/gtest.h>

namespace pinion::linux {
namespace {

constexpr std::string_view kHybrid =
    "24 1 0:22 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n"
    "25 24 0:23 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "26 24 0:24 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "27 24 0:25 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd\n"
    "28 24 0:26 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n"
    "29 24 0:26 / /mnt/elsewhere rw - cgroup cgroup rw,pids\n";

TEST(CgroupLayout, HybridMachinesHaveTheirControllersOnVersionOne) {
  const auto layout = CgroupLayout::FromMountInfo(kHybrid);
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_FALSE(layout->unified());
  EXPECT_EQ(layout->Controller("cpu"), "/sys/fs/cgroup/cpu,cpuacct");
  EXPECT_EQ(layout->Controller("memory"), "/sys/fs/cgroup/memory");
  EXPECT_EQ(layout->Controller("pids"), std::nullopt);
  EXPECT_EQ(layout->hierarchies().size(), 2u);
  EXPECT_EQ(layout->tracking().size(), 2u);
}

TEST(CgroupLayout, VersionTwoAloneIsUnified) {
  const auto layout = CgroupLayout::FromMountInfo(
      "25 24 0:23 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n");
  ASSERT_TRUE(layout) << layout.error().message;
  EXPECT_TRUE(layout->unified());
  EXPECT_EQ(layout->Controller("memory"), "/sys/fs/cgroup");
}

TEST(CgroupLayout, NoCgroupsIsAnErrorThatNamesTheWayOut) {
  const auto layout = CgroupLayout::FromMountInfo("24 1 0:22 / / rw - ext4 /dev/vda rw\n");
  ASSERT_FALSE(layout);
  EXPECT_NE(layout.error().message.find("mount -t cgroup2"), std::string::npos);
}

}  // namespace
}  // namespace pinion::linux
