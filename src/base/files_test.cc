#include "base/files.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

namespace pinion {
namespace {

namespace fs = std::filesystem;

TEST(FilesTest, WritesAndReadsWholeFiles) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file";
  const std::string content(200'000, '\0');
  ASSERT_TRUE(WriteFile(file, content, 0600));
  EXPECT_EQ(ReadFile(file).value(), content);
  struct stat info{};
  ASSERT_EQ(::stat(file.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600U);
  ASSERT_TRUE(WriteFile(file, "new"));
  EXPECT_EQ(ReadFile(file).value(), "new");
  // No temporary file stays beside it.
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(FilesTest, ReadersKeepWhatTheyOpened) {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "file";
  ASSERT_TRUE(WriteFile(file, "old"));
  fs::create_hard_link(file, folder.path() / "opened before");
  ASSERT_TRUE(WriteFile(file, "new"));
  EXPECT_EQ(ReadFile(folder.path() / "opened before").value(), "old");
}

TEST(FilesTest, FailuresNameThePathAndLeaveTheOldContent) {
  const TemporaryFolder folder;
  const auto missing = ReadFile(folder.path() / "missing");
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().kind, ErrorKind::kNotFound);
  EXPECT_NE(missing.error().message.find("missing"), std::string::npos);
  EXPECT_FALSE(ReadFile(folder.path()));
  const auto nowhere = WriteFile(folder.path() / "no folder/file", "x");
  ASSERT_FALSE(nowhere);
  EXPECT_NE(nowhere.error().message.find("no folder/file"), std::string::npos);
  fs::create_directory(folder.path() / "taken");
  EXPECT_FALSE(WriteFile(folder.path() / "taken", "x"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder.path()), fs::directory_iterator()), 1);
}

TEST(FilesTest, TooLargeFilesAreRefused) {
  const TemporaryFolder folder;
  ASSERT_TRUE(WriteFile(folder.path() / "file", "12345"));
  EXPECT_EQ(ReadFile(folder.path() / "file", 5).value(), "12345");
  EXPECT_EQ(ReadFile(folder.path() / "file", 4).error().kind, ErrorKind::kTooLarge);
  // A file that says it is empty can have no end.
  EXPECT_EQ(ReadFile("/dev/zero", 1000).error().kind, ErrorKind::kTooLarge);
}

TEST(FilesTest, TemporaryFoldersGoWithTheirContent) {
  fs::path path;
  {
    const TemporaryFolder folder("words");
    path = folder.path();
    EXPECT_NE(path.filename().string().find("words"), std::string::npos);
    fs::create_directories(path / "a/b");
    ASSERT_TRUE(WriteFile(path / "a/b/c", "x"));
  }
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace pinion
