#include "worker/volumes/volume_store.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <fstream>

#include "archive/pack.h"
#include "archive/tree.h"
#include "archive/unpack.h"
#include "async/loop.h"
#include "base/files.h"
#include "worker/id_mapping.h"
#include "worker/volumes/mounts.h"

namespace pinion::worker {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using archive::Encoding;
using protocol::baggageclaim::Volume;
using protocol::baggageclaim::VolumeRequest;
using testing::ElementsAre;
using testing::HasSubstr;

std::size_t CountEntries(const fs::path& folder) {
  return static_cast<std::size_t>(
      std::distance(fs::directory_iterator(folder), fs::directory_iterator()));
}

class VolumeStoreTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::geteuid() != 0) GTEST_SKIP() << "volumes need root for mounts";
    options_.folder = scratch_.path() / "volumes";
    options_.boot_id = "first";
    OpenStore();
  }
  void TearDown() override {
    CloseStore();
    VolumeStore::UnmountAll(options_.folder);
    archive::RemoveTree(options_.folder);
  }
  void OpenStore() {
    store_ = loop_.RunUntilDone(VolumeStore::Open(loop_.executor(), timers_, Logger(), options_));
  }
  void CloseStore() {
    if (store_) loop_.RunUntilDone(store_->Close());
    store_ = nullptr;
  }
  void Reopen() {
    CloseStore();
    OpenStore();
  }

  Volume Create(const std::string& handle, Json strategy, bool privileged = false) {
    VolumeRequest request;
    request.handle = handle;
    request.strategy = std::move(strategy);
    request.properties = {{"name", handle}};
    request.privileged = privileged;
    return loop_.RunUntilDone(store_->Create(request, {}, {}));
  }
  Volume Empty(const std::string& handle, bool privileged = false) {
    return Create(handle, JsonObject{{"type", "empty"}}, privileged);
  }
  Volume Copy(const std::string& handle, const std::string& parent, bool privileged = false) {
    return Create(handle, JsonObject{{"type", "cow"}, {"volume", parent}}, privileged);
  }
  void Destroy(const std::string& handle) { loop_.RunUntilDone(store_->Destroy(handle)); }

  /// A tar stream of one folder with a file owned by user 5, set-user-id, and a capability.
  std::string SampleTar(Encoding encoding = Encoding::kGzip) {
    const fs::path folder = scratch_.path() / "sample";
    if (!fs::exists(folder)) {
      fs::create_directories(folder / "sub");
      std::ofstream(folder / "sub/file") << "content";
      EXPECT_EQ(::chown((folder / "sub/file").c_str(), 5, 6), 0);
      EXPECT_EQ(::chmod((folder / "sub/file").c_str(), 04755), 0);
      const unsigned char capability[20] = {0, 0, 0, 2, 0, 32};  // cap_net_raw=p
      std::ofstream(folder / "ping") << "x";
      EXPECT_EQ(::setxattr((folder / "ping").c_str(), "security.capability", capability, 20, 0), 0);
    }
    archive::TextSink sink;
    const auto encoder = archive::MakeEncoder(sink, encoding);
    archive::Pack(archive::OpenFolder(folder).get(), "", *encoder, {});
    return sink.text();
  }

  static Task<void> Feed(archive::BytePipe& pipe, std::string bytes, TaskGroup& group) {
    co_await pipe.Write(std::move(bytes), group.stop_token());
    pipe.CloseWrite();
  }
  void StreamIn(const std::string& handle, const std::string& path, std::string bytes,
                Encoding encoding = Encoding::kGzip, std::uint64_t limit = 0) {
    archive::BytePipe pipe;
    TaskGroup group(loop_.executor(), Logger(), "test");
    group.Spawn(Feed(pipe, std::move(bytes), group));
    std::exception_ptr error;
    try {
      loop_.RunUntilDone(store_->StreamIn(handle, path, encoding, limit, pipe, {}));
    } catch (...) {
      error = std::current_exception();
    }
    group.RequestStop();
    loop_.RunUntilDone(group.Join());
    if (error) std::rethrow_exception(error);
  }
  static Task<void> Collect(archive::BytePipe& pipe, std::string& out) {
    for (;;) {
      const std::string chunk = co_await pipe.Read({});
      if (chunk.empty()) co_return;
      out += chunk;
    }
  }
  std::string StreamOut(const std::string& handle, const std::string& path, Encoding encoding) {
    archive::BytePipe pipe;
    std::string out;
    TaskGroup group(loop_.executor(), Logger(), "test");
    group.Spawn(Collect(pipe, out));
    std::exception_ptr error;
    try {
      loop_.RunUntilDone(store_->StreamOut(handle, path, encoding, pipe, {}));
    } catch (...) {
      error = std::current_exception();
    }
    loop_.RunUntilDone(group.Join());
    if (error) std::rethrow_exception(error);
    return out;
  }
  template <class Work>
  std::string Refused(Work work, ErrorKind kind) {
    try {
      work();
    } catch (const Failure& failure) {
      EXPECT_EQ(failure.error().kind, kind) << failure.what();
      return failure.what();
    }
    return "accepted";
  }
  struct stat Look(const fs::path& path) {
    struct stat info{};
    EXPECT_EQ(::lstat(path.c_str(), &info), 0) << path;
    return info;
  }
  fs::path Upper(const std::string& handle) {
    return options_.folder / "live" / handle / "layer/upper";
  }

  TemporaryFolder scratch_{"volumes"};
  Loop loop_{"test"};
  VirtualClock clock_;
  Timers timers_{clock_};
  VolumeStoreOptions options_;
  std::unique_ptr<VolumeStore> store_;
};

TEST_F(VolumeStoreTest, AnUnprivilegedVolumeShowsMappedIdsAndKeepsNaturalOnes) {
  const Volume volume = Empty("one");
  StreamIn("one", "in/here", SampleTar());
  EXPECT_EQ(Look(Upper("one") / "in/here/sub/file").st_uid, 5U);
  const struct stat shown = Look(fs::path(volume.path) / "in/here/sub/file");
  EXPECT_EQ(shown.st_uid, kHostIdBase + 5);
  EXPECT_EQ(shown.st_gid, kHostIdBase + 6);
  EXPECT_EQ(shown.st_mode & 07777, 04755U);
  EXPECT_EQ(Look(volume.path).st_uid, kHostIdBase);
  const MappedCredentials as_root_inside;
  std::ofstream(fs::path(volume.path) / "new") << "x";
  EXPECT_EQ(Look(Upper("one") / "new").st_uid, 0U);
}

TEST_F(VolumeStoreTest, PrivilegedVolumesShowTheIdsOnDiskAndCanChange) {
  const Volume volume = Empty("one", true);
  StreamIn("one", "", SampleTar(Encoding::kZstd), Encoding::kZstd);
  EXPECT_EQ(Look(fs::path(volume.path) / "sub/file").st_uid, 5U);
  EXPECT_EQ(Look(fs::path(volume.path).parent_path()).st_mode & 0777, 0700U);
  loop_.RunUntilDone(store_->SetPrivileged("one", false));
  EXPECT_FALSE(store_->Find("one")->privileged);
  EXPECT_EQ(Look(fs::path(volume.path) / "sub/file").st_uid, kHostIdBase + 5);
  const Volume copy = Copy("two", "one");
  StreamIn("two", "", SampleTar());
  loop_.RunUntilDone(store_->SetPrivileged("two", true));
  EXPECT_EQ(Look(fs::path(copy.path) / "sub/file").st_uid, 5U);
  Reopen();
  EXPECT_TRUE(store_->Find("two")->privileged);
}

TEST_F(VolumeStoreTest, CopiesForAUserAreAllHis) {
  Empty("parent");
  StreamIn("parent", "", SampleTar());
  VolumeRequest request{.handle = "child",
                        .strategy = JsonObject{{"type", "cow"}, {"volume", "parent"}},
                        .uid = 9,
                        .gid = 8};
  const Volume child = loop_.RunUntilDone(store_->Create(std::move(request), {}, {}));
  for (const fs::path& path : {fs::path(child.path), fs::path(child.path) / "sub/file"}) {
    EXPECT_EQ(Look(path).st_uid, kHostIdBase + 9) << path;
    EXPECT_EQ(Look(path).st_gid, kHostIdBase + 8) << path;
  }
  EXPECT_EQ(Look(Upper("parent") / "sub/file").st_uid, 5U);
}

TEST_F(VolumeStoreTest, CopiesSeeTheirParentAndLeaveItAlone) {
  Empty("parent");
  StreamIn("parent", "", SampleTar());
  ASSERT_EQ(::chown(Upper("parent").c_str(), 7, 7), 0);
  ASSERT_EQ(::chmod(Upper("parent").c_str(), 0711), 0);
  const Volume child = Copy("child", "parent");
  const Volume grandchild = Copy("grandchild", "child");
  EXPECT_EQ(Look(child.path).st_uid, kHostIdBase);
  EXPECT_EQ(Look(child.path).st_mode & 07777, 0711U);
  const struct stat file = Look(fs::path(grandchild.path) / "sub/file");
  EXPECT_EQ(file.st_uid, kHostIdBase + 5);
  EXPECT_EQ(file.st_mode & 07777, 04755U);
  StreamIn("grandchild", "more", SampleTar());
  EXPECT_EQ(Look(Upper("grandchild") / "more/sub/file").st_uid, 5U);
  EXPECT_EQ(Look(fs::path(grandchild.path) / "more/sub/file").st_uid, kHostIdBase + 5);
  EXPECT_FALSE(fs::exists(fs::path(child.path) / "more"));
  {
    const MappedCredentials as_root_inside;
    fs::remove(fs::path(child.path) / "ping");
  }
  EXPECT_TRUE(fs::exists(Upper("parent") / "ping"));
  EXPECT_THAT(Refused([&] { Destroy("parent"); }, ErrorKind::kConflict), HasSubstr("copies"));
  Destroy("grandchild");
  Destroy("child");
  Destroy("parent");
  EXPECT_TRUE(store_->List({}).empty());
  Refused([&] { Copy("x", "none"); }, ErrorKind::kNotFound);
}

TEST_F(VolumeStoreTest, StreamsOutNaturalIdsAndCapabilitiesFromEveryKindOfVolume) {
  Empty("plain");
  StreamIn("plain", "", SampleTar());
  Copy("copy", "plain");
  StreamIn("copy", "again", SampleTar(Encoding::kRaw), Encoding::kRaw);
  const std::string want = SampleTar(Encoding::kRaw);
  EXPECT_EQ(StreamOut("plain", "", Encoding::kRaw), want);
  EXPECT_EQ(StreamOut("copy", "again", Encoding::kRaw), want);
  EXPECT_EQ(StreamOut("copy", "again", Encoding::kZstd), SampleTar(Encoding::kZstd));
  const std::string file = StreamOut("copy", "sub/file", Encoding::kRaw);
  EXPECT_TRUE(file.starts_with(std::string("file\0", 5)));
  Refused([&] { StreamOut("copy", "none", Encoding::kRaw); }, ErrorKind::kNotFound);
  Refused([&] { StreamOut("nothing", "", Encoding::kRaw); }, ErrorKind::kNotFound);
}

TEST_F(VolumeStoreTest, LinksInAVolumeNeverLeadToTheHost) {
  const Volume volume = Empty("one");
  std::ofstream(scratch_.path() / "secret") << "secret";
  fs::create_directory_symlink(scratch_.path(), Upper("one") / "way");
  fs::create_symlink(scratch_.path() / "secret", Upper("one") / "direct");
  Refused([&] { StreamOut("one", "way/secret", Encoding::kRaw); }, ErrorKind::kNotFound);
  Refused([&] { StreamOut("one", "direct", Encoding::kRaw); }, ErrorKind::kNotFound);
  Refused([&] { StreamOut("one", "../../../secret", Encoding::kRaw); }, ErrorKind::kNotFound);
  Refused([&] { StreamIn("one", "../x", SampleTar()); }, ErrorKind::kInvalid);
  EXPECT_THROW(StreamIn("one", "way", SampleTar()), Failure);
  EXPECT_FALSE(fs::exists(scratch_.path() / "sub"));
}

TEST_F(VolumeStoreTest, LimitsAndBrokenStreamsAreToldApart) {
  Empty("one");
  EXPECT_THAT(
      Refused([&] { StreamIn("one", "", SampleTar(), Encoding::kGzip, 20); }, ErrorKind::kTooLarge),
      HasSubstr("exceeded volume streaming limit of 20B"));
  const std::string tar = SampleTar();
  Refused([&] { StreamIn("one", "", tar.substr(0, tar.size() - 3)); }, ErrorKind::kInvalid);
  Refused([&] { StreamIn("one", "", "no archive at all"); }, ErrorKind::kInvalid);
}

TEST_F(VolumeStoreTest, DestroyingEndsAStreamThatWaits) {
  Empty("one");
  archive::BytePipe pipe;
  TaskGroup group(loop_.executor(), Logger(), "test");
  std::string ended;
  const auto stream = [](VolumeStore& store, archive::BytePipe& from,
                         std::string& reason) -> Task<void> {
    try {
      co_await store.StreamIn("one", "", Encoding::kRaw, 0, from, {});
    } catch (const Failure& failure) {
      reason = failure.what();
    }
  };
  group.Spawn(stream(*store_, pipe, ended));
  loop_.Poll();
  Destroy("one");
  loop_.RunUntilDone(group.Join());
  EXPECT_THAT(ended, HasSubstr("destroyed"));
}

TEST_F(VolumeStoreTest, KeepsPropertiesAndFindsByThem) {
  Empty("one");
  Empty("two");
  loop_.RunUntilDone(store_->SetProperty("one", "colour", "red"));
  Reopen();
  ASSERT_EQ(store_->List({{"colour", "red"}, {"name", "one"}}).size(), 1U);
  EXPECT_EQ(store_->List({{"colour", "red"}})[0].handle, "one");
  EXPECT_TRUE(store_->List({{"colour", "blue"}}).empty());
  EXPECT_EQ(store_->List({}).size(), 2U);
}

TEST_F(VolumeStoreTest, CreatingTwiceIsTheSameVolume) {
  const Volume first = Empty("one");
  StreamIn("one", "", SampleTar());
  EXPECT_EQ(Empty("one").path, first.path);
  EXPECT_TRUE(fs::exists(fs::path(first.path) / "ping"));
  Refused([&] { Empty("a/b"); }, ErrorKind::kInvalid);
  Refused([&] { Empty(".."); }, ErrorKind::kInvalid);
  Refused([&] { Create("x", JsonObject{{"type", "magic"}}); }, ErrorKind::kInvalid);
}

TEST_F(VolumeStoreTest, TakesUpWhatIsThereAndRemovesWhatIsHalfMade) {
  Empty("parent");
  StreamIn("parent", "", SampleTar());
  const Volume child = Copy("child", "parent");
  StreamIn("child", "own", SampleTar());
  CloseStore();
  VolumeStore::UnmountAll(options_.folder);  // as after a restart of the machine
  fs::create_directories(options_.folder / "init/half/layer/upper");
  fs::create_directories(options_.folder / "dead/old/deep/er");
  fs::create_directories(options_.folder / "live/broken/layer");
  options_.boot_id = "second";
  OpenStore();
  EXPECT_EQ(store_->List({}).size(), 2U);
  EXPECT_EQ(Look(fs::path(child.path) / "sub/file").st_uid, kHostIdBase + 5);
  EXPECT_TRUE(fs::exists(fs::path(child.path) / "own/sub/file"));
  StreamIn("child", "later", SampleTar());
  loop_.RunUntilDone(store_->WaitForRemovals());
  EXPECT_EQ(CountEntries(options_.folder / "init"), 0U);
  EXPECT_EQ(CountEntries(options_.folder / "dead"), 0U);
  EXPECT_THAT(Refused([&] { Destroy("parent"); }, ErrorKind::kConflict), HasSubstr("copies"));
}

TEST_F(VolumeStoreTest, NobodyPassesToUnprivilegedVolumesAndNothingElse) {
  Empty("open");
  Empty("closed", true);
  Reopen();
  for (const char* name : {"", "live", "live/open"}) {
    EXPECT_EQ(Look(options_.folder / name).st_mode & 0777, 0711U) << name;
  }
  for (const char* name : {"init", "dead", "shared", "live/closed", "live/open/layer"}) {
    EXPECT_EQ(Look(options_.folder / name).st_mode & 0777, 0700U) << name;
  }
}

TEST_F(VolumeStoreTest, NothingIsTrustedAfterTheMachineWentDownUncleanly) {
  Empty("one");
  CloseStore();
  const std::string state = *ReadFile(options_.folder / "state.json");
  ASSERT_THAT(state, HasSubstr("\"clean\":true"));
  ASSERT_TRUE(WriteFile(options_.folder / "state.json", R"({"boot_id":"first","map_ids":true})"));
  OpenStore();  // only the process ended: fine
  EXPECT_EQ(store_->List({}).size(), 1U);
  CloseStore();
  ASSERT_TRUE(WriteFile(options_.folder / "state.json", R"({"boot_id":"first","map_ids":true})"));
  VolumeStore::UnmountAll(options_.folder);
  options_.boot_id = "second";
  OpenStore();
  EXPECT_TRUE(store_->List({}).empty());
}

TEST_F(VolumeStoreTest, ASecondStoreOfTheSameFolderIsRefused) {
  EXPECT_THAT(
      Refused(
          [&] {
            loop_.RunUntilDone(VolumeStore::Open(loop_.executor(), timers_, Logger(), options_));
          },
          ErrorKind::kConflict),
      HasSubstr("another process"));
}

TEST_F(VolumeStoreTest, ImportsAnArchiveOnceAndCollectsItWhenUnused) {
  const fs::path archive = scratch_.path() / "rootfs.tgz";
  ASSERT_TRUE(WriteFile(archive, SampleTar()));
  const Json import = JsonObject{{"type", "import"}, {"path", archive.string()}};
  const Volume one = Create("one", import);
  const Volume two = Create("two", import);
  EXPECT_EQ(CountEntries(options_.folder / "shared"), 1U);
  EXPECT_EQ(Look(fs::path(one.path) / "sub/file").st_uid, kHostIdBase + 5);
  StreamIn("one", "mine", SampleTar());
  EXPECT_FALSE(fs::exists(fs::path(two.path) / "mine"));
  ASSERT_TRUE(WriteFile(archive, SampleTar(Encoding::kZstd)));  // newer content, any compression
  Create("three", import);
  EXPECT_EQ(CountEntries(options_.folder / "shared"), 2U);
  Reopen();
  Destroy("one");
  Destroy("two");
  loop_.Poll();
  EXPECT_EQ(CountEntries(options_.folder / "shared"), 2U);
  clock_.Set(clock_.Steady() + 61s);
  timers_.FireDue();
  for (int i = 0; i < 1000 && CountEntries(options_.folder / "shared") > 1; ++i) {
    loop_.Poll();
    ::usleep(1000);
  }
  loop_.Poll();
  loop_.RunUntilDone(store_->WaitForRemovals());
  EXPECT_EQ(CountEntries(options_.folder / "shared"), 1U);
  EXPECT_EQ(CountEntries(options_.folder / "dead"), 0U);
  EXPECT_THAT(Refused([&] { Create("x", JsonObject{{"type", "import"}, {"path", "/none"}}); },
                      ErrorKind::kNotFound),
              HasSubstr("/none"));
  ASSERT_TRUE(WriteFile(archive, "garbage"));
  EXPECT_THAT(Refused([&] { Create("y", import); }, ErrorKind::kInvalid), HasSubstr("rootfs.tgz"));
  EXPECT_EQ(CountEntries(options_.folder / "shared"), 1U);
}

TEST_F(VolumeStoreTest, ImportsFoldersAndFollowsLinksWhenAsked) {
  const fs::path folder = scratch_.path() / "certs";
  fs::create_directories(folder);
  std::ofstream(scratch_.path() / "ca.pem") << "pem";
  fs::create_symlink("../ca.pem", folder / "ca.pem");
  fs::create_symlink("nowhere", folder / "dangling");
  const Volume links = Create("links", JsonObject{{"type", "import"}, {"path", folder.string()}});
  EXPECT_TRUE(fs::is_symlink(fs::path(links.path) / "ca.pem"));
  const Volume files =
      Create("files",
             JsonObject{{"type", "import"}, {"path", folder.string()}, {"follow_symlinks", true}});
  EXPECT_EQ(ReadFile(fs::path(files.path) / "ca.pem"), "pem");
  EXPECT_FALSE(fs::is_symlink(fs::path(files.path) / "ca.pem"));
  EXPECT_FALSE(fs::exists(fs::symlink_status(fs::path(files.path) / "dangling")));
}

TEST_F(VolumeStoreTest, LongChainsOfCopiesBecomeFlat) {
  CloseStore();
  options_.lowers_max = 2;
  OpenStore();
  Empty("v0");
  StreamIn("v0", "", SampleTar());
  for (int i = 1; i <= 5; ++i) {
    const std::string name = "v" + std::to_string(i);
    Copy(name, "v" + std::to_string(i - 1));
    StreamIn(name, name, SampleTar());
  }
  const fs::path last = store_->Find("v5")->path;
  EXPECT_EQ(Look(last / "v3/sub/file").st_uid, kHostIdBase + 5);
  EXPECT_EQ(Look(last / "sub/file").st_uid, kHostIdBase + 5);
  Destroy("v5");
  Destroy("v4");
  Destroy("v3");
  Destroy("v2");
  Destroy("v1");
  Destroy("v0");
}

TEST_F(VolumeStoreTest, LayersAreFilledOnceAndAFailureLeavesNothing) {
  int fills = 0;
  const auto good = [&](int folder, std::stop_token) {
    ++fills;
    ::close(::openat(folder, "file", O_CREAT | O_WRONLY, 0644));
  };
  const auto bad = [](int folder, std::stop_token) {
    ::close(::openat(folder, "file", O_CREAT | O_WRONLY, 0644));
    throw Failure(ErrorKind::kInvalid, "a lie");
  };
  EXPECT_THROW(loop_.RunUntilDone(store_->Layer("a", bad, {})), Failure);
  loop_.RunUntilDone(store_->WaitForRemovals());
  EXPECT_EQ(CountEntries(options_.folder / "shared"), 0U);
  EXPECT_EQ(CountEntries(options_.folder / "dead"), 0U);
  {
    TaskGroup group(loop_.executor(), Logger(), "test");
    std::vector<LayerHold> holds;
    const auto take = [](VolumeStore& store, VolumeStore::Fill fill,
                         std::vector<LayerHold>& out) -> Task<void> {
      out.push_back(co_await store.Layer("a", std::move(fill), {}));
    };
    for (int i = 0; i < 3; ++i)
      group.Spawn(take(*store_, good, holds));
    loop_.RunUntilDone(group.Join());
    EXPECT_EQ(holds.size(), 3U);
    EXPECT_EQ(fills, 1);
  }
}

TEST_F(VolumeStoreTest, DestroyedVolumesLeaveNoMountsAndNoFiles) {
  Empty("a");
  StreamIn("a", "", SampleTar());
  for (int i = 0; i < 20; ++i)
    Copy("c" + std::to_string(i), "a");
  for (int i = 0; i < 20; ++i)
    Destroy("c" + std::to_string(i));
  Destroy("a");
  loop_.RunUntilDone(store_->WaitForRemovals());
  const std::string mounts = *ReadFile("/proc/self/mounts");
  EXPECT_EQ(mounts.find((options_.folder / "live").string()), std::string::npos);
  for (const char* name : {"live", "init", "dead", "shared"}) {
    EXPECT_EQ(CountEntries(options_.folder / name), 0U) << name;
  }
}

}  // namespace
}  // namespace pinion::worker
