#include "worker/containers/users.h"

#include <gtest/gtest.h>

#include "base/files.h"

namespace pinion::worker {
namespace {

class Users : public ::testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::create_directories(folder_.path() / "etc");
    ASSERT_TRUE(WriteFile(folder_.path() / "etc/passwd",
                          "root:x:0:0:root:/root:/bin/sh\nbroken line\n"
                          "build:x:1000:1001::/home/build:/bin/sh\n"));
    ASSERT_TRUE(WriteFile(folder_.path() / "etc/group",
                          "root:x:0:\nbuild:x:1001:\ndocker:x:999:other,build\n"));
  }
  TemporaryFolder folder_;
};

TEST_F(Users, NamesAreFoundWithTheirGroupsAndHome) {
  const auto user = FindUser(folder_.path(), "build");
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ(user->uid, 1000u);
  EXPECT_EQ(user->gid, 1001u);
  EXPECT_EQ(user->groups, std::vector<std::uint32_t>{999});
  EXPECT_EQ(user->home, "/home/build");
}

TEST_F(Users, GroupsCanBeNamed) {
  const auto user = FindUser(folder_.path(), "build:docker");
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ(user->gid, 999u);
  EXPECT_TRUE(user->groups.empty());
}

TEST_F(Users, NumbersNeedNoEntry) {
  const auto user = FindUser(folder_.path(), "1234:5678");
  ASSERT_TRUE(user) << user.error().message;
  EXPECT_EQ(user->uid, 1234u);
  EXPECT_EQ(user->gid, 5678u);
  EXPECT_EQ(FindUser(folder_.path(), "1000")->home, "/home/build");
}

TEST_F(Users, UnknownOnesAreNamed) {
  const auto user = FindUser(folder_.path(), "nobody-here");
  ASSERT_FALSE(user);
  EXPECT_NE(user.error().message.find("nobody-here"), std::string::npos);
  EXPECT_FALSE(FindUser(folder_.path(), "build:nogroup"));
  EXPECT_FALSE(FindUser(folder_.path(), "4294967295"));
}

TEST_F(Users, RootNeedsNoFilesAndLinksDoNotLeadOut) {
  TemporaryFolder empty;
  EXPECT_TRUE(FindUser(empty.path(), "root"));
  EXPECT_TRUE(FindUser(empty.path(), ""));
  std::filesystem::create_directories(empty.path() / "etc");
  std::filesystem::create_symlink(folder_.path() / "etc/passwd", empty.path() / "etc/passwd");
  EXPECT_FALSE(FindUser(empty.path(), "build"));
}

}  // namespace
}  // namespace pinion::worker
