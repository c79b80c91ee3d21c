#include "worker/network/resolver_config.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace pinion::worker {
namespace {

TEST(ResolverConfig, LoopbackServersOfTheHostAreLeftOut) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFile(folder.path() / "host",
                        "search example.org\nnameserver 127.0.0.53\nnameserver\t192.0.2.7\n"));
  EXPECT_EQ(MakeResolverConfig({}, folder.path() / "host", folder.path() / "none"),
            "search example.org\nnameserver\t192.0.2.7\n");
}

TEST(ResolverConfig, WithLoopbackAloneThoseBehindItAreTaken) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFile(folder.path() / "host", "nameserver 127.0.0.53\nnameserver ::1\n"));
  ASSERT_TRUE(WriteFile(folder.path() / "upstream", "nameserver 192.0.2.9\n"));
  const std::string config =
      MakeResolverConfig({}, folder.path() / "host", folder.path() / "upstream");
  EXPECT_EQ(config, "nameserver 192.0.2.9\n");
  EXPECT_EQ(NameServers(config), std::vector<std::string>{"192.0.2.9"});
}

TEST(ResolverConfig, GivenServersWin) {
  EXPECT_EQ(MakeResolverConfig({"1.1.1.1", "8.8.8.8"}), "nameserver 1.1.1.1\nnameserver 8.8.8.8\n");
}

}  // namespace
}  // namespace pinion::worker
