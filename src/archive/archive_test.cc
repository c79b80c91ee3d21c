#include <archive.h>
#include <archive_entry.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "archive/pack.h"
#include "archive/tar_text.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "base/files.h"

namespace pinion::archive {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class ArchiveTest : public testing::Test {
 protected:
  ArchiveTest() {
    fs::create_directory(inside());
    std::ofstream(folder_.path() / "secret") << "secret";
  }
  fs::path inside() const { return folder_.path() / "inside"; }

  Unpacked Put(const std::string& tar, const UnpackOptions& options = {}) {
    TextSource source(tar);
    return Unpack(source, OpenFolder(inside()).get(), options);
  }
  std::string Refused(const std::string& tar, const UnpackOptions& options = {}) {
    try {
      Put(tar, options);
    } catch (const Failure& failure) {
      return failure.what();
    }
    return "accepted";
  }
  std::string Take(const std::string& path = "", const PackOptions& options = {}) {
    TextSink sink;
    Pack(OpenFolder(inside()).get(), path, sink, options);
    return sink.text();
  }
  std::string Content(const std::string& path) { return ReadFile(inside() / path).value_or("-"); }

  TemporaryFolder folder_{"archive"};
};

TEST_F(ArchiveTest, KeepsContentModesLinksAndTimes) {
  Put(Tar({{"./", '5', "", "", 0750},
           {"./bin/", '5', "", "", 0755},
           {"./bin/tool", '0', "#!/bin/sh\n", "", 04755},
           {"./bin/same", '1', "", "bin/tool"},
           {"./bin/link", '2', "", "tool"},
           {"./pipe", '6', "", "", 0600}}));
  struct stat info{};
  ASSERT_EQ(::stat((inside() / "bin/tool").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 04755U);
  EXPECT_EQ(info.st_nlink, 2U);
  EXPECT_EQ(info.st_mtime, 1'700'000'000);
  EXPECT_EQ(Content("bin/link"), "#!/bin/sh\n");
  ASSERT_EQ(::stat((inside() / "bin").c_str(), &info), 0);
  EXPECT_EQ(info.st_mtime, 1'700'000'000);
  ASSERT_EQ(::stat(inside().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0750U);
}

TEST_F(ArchiveTest, PackedAndUnpackedAgainIsTheSame) {
  const std::string long_name(200, 'n');
  const std::string latin("caf\xe9");
  Put(Tar({{"a/", '5'},
           {"a/x", '0', std::string(3'000'000, 'z'), "", 0600, 7},
           {"a/y", '1', "", "a/x"}}));
  for (const std::string& name : {long_name, std::string("naïve-ü"), latin}) {
    std::ofstream(inside() / name) << name;
  }
  const std::string first = Take();
  EXPECT_EQ(first, Take());
  RemoveTree(inside());
  fs::create_directory(inside());
  const Unpacked done = Put(first);
  EXPECT_EQ(done.entries, 7U);
  EXPECT_EQ(Content(long_name), long_name);
  EXPECT_EQ(Content("naïve-ü"), "naïve-ü");
  EXPECT_EQ(Content(latin), latin);
  EXPECT_EQ(Content("a/y").size(), 3'000'000U);
  EXPECT_EQ(first, Take());
}

TEST_F(ArchiveTest, ASingleFileIsOneEntryWithItsOwnName) {
  Put(Tar({{"a/b/file.txt", '0', "hello"}}));
  const std::string tar = Take("a/b/file.txt");
  EXPECT_TRUE(tar.starts_with(std::string("file.txt\0", 9)));
  EXPECT_THAT([&] { Take("a/none"); },
              testing::Throws<Failure>(testing::Property(
                  &Failure::error, testing::Field(&Error::kind, ErrorKind::kNotFound))));
}

TEST_F(ArchiveTest, RefusesPathsWithDotDotAndTakesAbsoluteOnesRelative) {
  EXPECT_THAT(Refused(Tar({{"../evil", '0', "x"}})),
              testing::AllOf(HasSubstr("../evil"), HasSubstr("'..'")));
  EXPECT_THAT(Refused(Tar({{"a/../../evil", '0', "x"}})), HasSubstr("'..'"));
  EXPECT_FALSE(fs::exists(folder_.path() / "evil"));
  Put(Tar({{"//etc//passwd", '0', "x"}}));
  EXPECT_EQ(Content("etc/passwd"), "x");
}

TEST_F(ArchiveTest, FollowsNoLinkOutOfTheFolder) {
  const std::string out = folder_.path().string();
  EXPECT_THAT(Refused(Tar({{"l", '2', "", ".."}, {"l/secret", '0', "changed"}})),
              testing::AllOf(HasSubstr("l/secret"), HasSubstr("leads out")));
  EXPECT_THAT(Refused(Tar({{"m", '2', "", out}, {"m/secret", '0', "changed"}})),
              HasSubstr("leads out"));
  EXPECT_THAT(Refused(Tar({{"n", '2', "", ".."}, {"n/new/", '5'}})), HasSubstr("leads out"));
  EXPECT_THAT(Refused(Tar({{"o", '2', "", "../secret"}, {"h", '1', "", "o/x"}})), HasSubstr("h"));
  // A file replaces a link instead of writing through it.
  Put(Tar({{"s", '2', "", "../secret"}, {"s", '0', "mine"}}));
  EXPECT_EQ(Content("s"), "mine");
  EXPECT_EQ(ReadFile(folder_.path() / "secret"), "secret");
  // Links that stay inside are followed.
  Put(Tar({{"real/", '5'}, {"way", '2', "", "real"}, {"way/file", '0', "ok"}}));
  EXPECT_EQ(Content("real/file"), "ok");
}

TEST_F(ArchiveTest, HardLinksOnlyToWhatIsInside) {
  EXPECT_THAT(Refused(Tar({{"h", '1', "", "../secret"}})), HasSubstr("../secret"));
  EXPECT_THAT(Refused(Tar({{"h", '1', "", "/etc/passwd"}})), HasSubstr("hard link"));
  EXPECT_THAT(Refused(Tar({{"l", '2', "", ".."}, {"h", '1', "", "l/secret"}})),
              HasSubstr("leads out"));
  // A hard link to a symbolic link is the link, not what it points to.
  Put(Tar({{"t", '2', "", "../secret"}, {"u", '1', "", "t"}}));
  EXPECT_TRUE(fs::is_symlink(inside() / "u"));
  // Writing to a name whose file has another name leaves the other alone.
  Put(Tar({{"one", '0', "1"}, {"two", '1', "", "one"}, {"two", '0', "2"}}));
  EXPECT_EQ(Content("one"), "1");
}

TEST_F(ArchiveTest, RefusesOrSkipsDevices) {
  EXPECT_THAT(Refused(Tar({{"dev/null", '3'}})),
              testing::AllOf(HasSubstr("dev/null"), HasSubstr("device")));
  UnpackOptions options;
  options.devices = UnpackOptions::Devices::kSkip;
  Put(Tar({{"dev/disk", '4'}, {"after", '0', "x"}}), options);
  EXPECT_FALSE(fs::exists(inside() / "dev/disk"));
  EXPECT_EQ(Content("after"), "x");
}

TEST_F(ArchiveTest, HoldsLimitsOnBytesEntriesAndNames) {
  UnpackOptions options;
  options.bytes_max = 10;
  EXPECT_THAT(Refused(Tar({{"a", '0', "12345678"}, {"b", '0', "12345678"}}), options),
              testing::AllOf(HasSubstr("'b'"), HasSubstr("10 bytes")));
  EXPECT_FALSE(fs::exists(inside() / "b"));
  options = {.entries_max = 2};
  EXPECT_THAT(Refused(Tar({{"a"}, {"b"}, {"c"}}), options), HasSubstr("more than 2 entries"));
  options = {.path_bytes_max = 5};
  EXPECT_THAT(Refused(Tar({{"abcdef"}}), options), HasSubstr("longer than 5"));
}

TEST_F(ArchiveTest, DamagedAndCutStreamsAreErrors) {
  const std::string tar = Tar({{"a", '0', std::string(5000, 'x')}});
  EXPECT_THAT(Refused(tar.substr(0, 3000)), HasSubstr("damaged"));
  EXPECT_FALSE(fs::exists(inside() / "a"));
  EXPECT_THAT(Refused(std::string(2000, 'g')), HasSubstr("damaged"));
  std::string flipped = tar;
  flipped[5] ^= 1;
  EXPECT_THAT(Refused(flipped), HasSubstr("damaged"));
}

TEST_F(ArchiveTest, ShowsWhiteoutsAsOverlayDoes) {
  if (::geteuid() != 0) GTEST_SKIP() << "whiteouts need root";
  UnpackOptions options;
  options.oci_whiteouts = true;
  Put(Tar({{"d/", '5'},
           {"d/.wh..wh..opq", '0'},
           {"e/.wh.gone", '0'},
           {"again/", '5'},
           {".wh.again", '0'},
           {".wh..wh.plnk", '0'}}),
      options);
  char value = 0;
  EXPECT_EQ(::getxattr((inside() / "d").c_str(), "trusted.overlay.opaque", &value, 1), 1);
  EXPECT_EQ(value, 'y');
  struct stat info{};
  ASSERT_EQ(::lstat((inside() / "e/gone").c_str(), &info), 0);
  EXPECT_TRUE(S_ISCHR(info.st_mode));
  EXPECT_EQ(info.st_rdev, makedev(0, 0));
  EXPECT_EQ(::getxattr((inside() / "again").c_str(), "trusted.overlay.opaque", &value, 1), 1);
  EXPECT_FALSE(fs::exists(inside() / ".wh.plnk"));
  EXPECT_THAT(Refused(Tar({{"x/.wh...", '0'}}), options), HasSubstr("whiteout"));
}

TEST_F(ArchiveTest, AppliesWhiteoutsToWhatWasThereBefore) {
  UnpackOptions options;
  options.apply_whiteouts = true;
  Put(Tar({{"old/a", '0', "1"},
           {"old/deep/b", '0', "2"},
           {"gone/c", '0', "3"},
           {"kept", '0', "4"},
           {"full/d", '0', "5"},
           {"run", '2', "", "/real"},
           {"real/", '5'}}),
      options);
  Put(Tar({{"old/deep/new", '0', "6"},
           {"old/.wh..wh..opq", '0'},
           {".wh.gone", '0'},
           {".wh.kept", '0'},
           {".wh.never", '0'},
           {"full", '0', "7"},
           {"run/e", '0', "8"},
           {".wh.full", '0'},
           {".wh..wh.plnk", '0'}}),
      options);
  EXPECT_FALSE(fs::exists(inside() / "old/a"));
  EXPECT_FALSE(fs::exists(inside() / "old/deep/b"));
  EXPECT_EQ(Content("old/deep/new"), "6");
  EXPECT_FALSE(fs::exists(inside() / "gone"));
  EXPECT_FALSE(fs::exists(inside() / "kept"));
  EXPECT_EQ(Content("full"), "7");
  EXPECT_EQ(Content("real/e"), "8");
  EXPECT_THAT(Refused(Tar({{"x/.wh...", '0'}}), options), HasSubstr("whiteout"));
  EXPECT_THAT(Refused(Tar({{"../.wh.secret", '0'}}), options), HasSubstr("'..'"));
  EXPECT_EQ(ReadFile(folder_.path() / "secret").value_or(""), "secret");
}

TEST_F(ArchiveTest, AttributesThatSteerOverlaysAreDropped) {
  if (::geteuid() != 0) GTEST_SKIP() << "trusted attributes need root";
  const auto record = [](const std::string& key, const std::string& value) {
    std::string body = " " + key + "=" + value + "\n";
    std::size_t size = body.size() + 2;
    if (std::to_string(size).size() + body.size() != size) ++size;
    return std::to_string(size) + body;
  };
  Put(Block({"pax", 'x',
             record("SCHILY.xattr.trusted.overlay.redirect", "/etc") +
                 record("SCHILY.xattr.user.note", "kept")}) +
      Tar({{"d/", '5'}}));
  char value[16];
  EXPECT_LT(::getxattr((inside() / "d").c_str(), "trusted.overlay.redirect", value, 16), 0);
  EXPECT_EQ(::getxattr((inside() / "d").c_str(), "user.note", value, 16), 4);
}

TEST_F(ArchiveTest, ShiftsIdsBothWaysAndCapsUnknownOnes) {
  if (::geteuid() != 0) GTEST_SKIP() << "owners need root";
  UnpackOptions options;
  options.id_offset = 100'000;
  options.id_count = 65'536;
  Put(Tar({{"a", '0', "x", "", 0644, 5}, {"b", '0', "x", "", 0644, 70'000}}), options);
  struct stat info{};
  ASSERT_EQ(::stat((inside() / "a").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 100'005U);
  ASSERT_EQ(::stat((inside() / "b").c_str(), &info), 0);
  EXPECT_EQ(info.st_uid, 165'534U);
  PackOptions back;
  back.id_offset = 100'000;
  const std::string tar = Take("a", back);
  EXPECT_EQ(tar.substr(108, 6), "000005");
}

TEST_F(ArchiveTest, RemovesTreesThatAreDeeperThanPathsCanBe) {
  FileHandle at = OpenFolder(inside());
  const std::string name(100, 'd');
  for (int depth = 0; depth < 3000; ++depth) {
    ASSERT_EQ(::mkdirat(at.get(), name.c_str(), 0755), 0);
    FileHandle next(::openat(at.get(), name.c_str(), O_RDONLY | O_DIRECTORY));
    ::close(::openat(at.get(), "file", O_CREAT | O_WRONLY, 0644));
    at = std::move(next);
  }
  EXPECT_THROW(Take(), Failure);  // too deep, said so
  RemoveTree(inside());
  EXPECT_FALSE(fs::exists(inside()));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_.path()), fs::directory_iterator()), 1);
}

TEST_F(ArchiveTest, StopsWhenAsked) {
  std::stop_source stop;
  stop.request_stop();
  const std::string tar = Tar({{"a", '0', "x"}});
  TextSource source(tar);
  EXPECT_THROW(Unpack(source, OpenFolder(inside()).get(), {}, stop.get_token()), Cancelled);
  TextSink sink;
  EXPECT_THROW(Pack(OpenFolder(inside()).get(), "", sink, {}, stop.get_token()), Cancelled);
}

}  // namespace
}  // namespace pinion::archive
