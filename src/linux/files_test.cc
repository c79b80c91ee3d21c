#include "linux/files.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/files.h"

namespace pinion::linux {
namespace {

TEST(OpenInRoot, LinksAndDotsStayInsideTheRoot) {
  TemporaryFolder folder;
  const auto root = folder.path() / "root";
  std::filesystem::create_directories(root / "etc");
  ASSERT_TRUE(WriteFile(folder.path() / "passwd", "outside"));
  ASSERT_TRUE(WriteFile(root / "etc/real", "inside"));
  std::filesystem::create_symlink("../../passwd", root / "etc/up");
  std::filesystem::create_symlink(folder.path() / "passwd", root / "etc/absolute");
  std::filesystem::create_symlink("/etc/real", root / "etc/good");

  EXPECT_FALSE(ReadFileInRoot(root, "/etc/up", 100));
  EXPECT_FALSE(ReadFileInRoot(root, "/etc/absolute", 100));
  EXPECT_FALSE(ReadFileInRoot(root, "/../passwd", 100));
  EXPECT_EQ(ReadFileInRoot(root, "/etc/good", 100), "inside");
}

TEST(ReadFileInRoot, RefusesWhatIsTooLargeOrNoFile) {
  TemporaryFolder folder;
  ASSERT_TRUE(WriteFile(folder.path() / "large", std::string(101, 'x')));
  ASSERT_EQ(::mkfifo((folder.path() / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(ReadFileInRoot(folder.path(), "large", 100).error().kind, ErrorKind::kTooLarge);
  EXPECT_EQ(ReadFileInRoot(folder.path(), "fifo", 100).error().kind, ErrorKind::kInvalid);
}

TEST(TryLockFile, TheSecondTakerGetsNothing) {
  TemporaryFolder folder;
  auto first = TryLockFile(folder.path() / "lock");
  ASSERT_TRUE(first && *first);
  auto second = TryLockFile(folder.path() / "lock");
  ASSERT_TRUE(second);
  EXPECT_FALSE(*second);
  first->Reset();
  EXPECT_TRUE(*TryLockFile(folder.path() / "lock"));
}

}  // namespace
}  // namespace pinion::linux
