#include <gtest/gtest.h>
#include <sys/mount.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <set>

#include "async/loop.h"
#include "async/task_group.h"
#include "base/files.h"
#include "events/log_files.h"
#include "events/log_format.h"
#include "events/log_store.h"

namespace pinion::events {
namespace {

using namespace std::chrono_literals;
namespace fs = std::filesystem;

constexpr BuildId kBuild{1'234'567};

/// Everything a store stands on, and the store itself.
struct House {
  explicit House(fs::path folder, FileLogStoreOptions options = {},
                 std::shared_ptr<LogFiles> files = nullptr) {
    store = MakeFileLogStore(std::move(folder), loop.executor(), *timers, pool, Logger(), options,
                             std::move(files));
  }
  House(const House&) = delete;
  House& operator=(const House&) = delete;
  ~House() {
    loop.RunUntilDone(store->Close());
    store.reset();
  }

  std::unique_ptr<BuildLogWriter> Writer(BuildId build = kBuild) {
    return loop.RunUntilDone(store->OpenWriter(build));
  }
  std::unique_ptr<BuildLogReader> Reader(std::uint64_t from, bool running, BuildId build = kBuild) {
    return loop.RunUntilDone(store->OpenReader(build, from, running));
  }
  EventBatch Next(BuildLogReader& reader) { return loop.RunUntilDone(reader.Next({})); }
  void Flush(BuildLogWriter& writer) { loop.RunUntilDone(writer.Flush()); }
  void Finish(BuildLogWriter& writer) { loop.RunUntilDone(writer.Finish()); }

  /// Every envelope from `from` to the end.
  std::vector<std::string> All(std::uint64_t from, bool running, BuildId build = kBuild) {
    auto reader = Reader(from, running, build);
    std::vector<std::string> envelopes;
    std::uint64_t expected = from;
    for (;;) {
      const EventBatch batch = Next(*reader);
      if (batch.end) return envelopes;
      for (const EventBatch::Item& item : batch.items) {
        EXPECT_EQ(item.id, expected++);
        envelopes.push_back(item.envelope);
      }
    }
  }

  SystemClock clock;
  Loop loop{"test"};
  std::unique_ptr<Timers> timers = MakeSystemTimers(loop.executor(), clock);
  ThreadPool pool{"files", 1, 1000};
  std::unique_ptr<LogStore> store;
};

/// A disk of so many bytes, whose files are real ones.
class SmallDisk final : public LogFiles {
 public:
  struct State {
    std::atomic<std::int64_t> free{0};
    std::atomic<bool> sync_fails{false};
    std::atomic<bool> syncs{true};  ///< false: as if it did, for tests with thousands of stores
  };
  class File final : public LogFile {
   public:
    File(std::shared_ptr<LogFile> real, std::shared_ptr<State> state)
        : real_(std::move(real)), state_(std::move(state)) {}
    void WriteAt(std::uint64_t offset, std::string_view bytes) override {
      const auto room = static_cast<std::size_t>(std::max<std::int64_t>(0, state_->free.load()));
      const std::string_view part = bytes.substr(0, room);
      real_->WriteAt(offset, part);
      state_->free -= static_cast<std::int64_t>(part.size());
      if (part.size() < bytes.size()) {
        throw Failure(ErrorKind::kUnavailable, "write x: No space left on device");
      }
    }
    std::string ReadAt(std::uint64_t offset, std::size_t length) override {
      return real_->ReadAt(offset, length);
    }
    std::uint64_t Size() override { return real_->Size(); }
    void Truncate(std::uint64_t size) override { real_->Truncate(size); }
    void Sync() override {
      if (state_->sync_fails) throw Failure(ErrorKind::kUnavailable, "sync x: I/O error");
      if (state_->syncs) real_->Sync();
    }

   private:
    std::shared_ptr<LogFile> real_;
    std::shared_ptr<State> state_;
  };

  std::shared_ptr<LogFile> Open(const fs::path& path, bool create) override {
    auto real = real_->Open(path, create);
    return real ? std::make_shared<File>(std::move(real), state) : nullptr;
  }
  void Remove(const fs::path& path) override { real_->Remove(path); }
  void SyncFolder(const fs::path& folder) override {
    if (state->syncs) real_->SyncFolder(folder);
  }

  std::shared_ptr<State> state = std::make_shared<State>();

 private:
  std::shared_ptr<LogFiles> real_ = MakeSystemLogFiles();
};

std::shared_ptr<LogFiles> FastDisk() {
  auto disk = std::make_shared<SmallDisk>();
  disk->state->free = std::int64_t{1} << 40;
  disk->state->syncs = false;
  return disk;
}

protocol::Event Line(std::uint64_t number) {
  return protocol::LogEvent({"1", "stdout"}, 1'700'000'000,
                            "line " + std::to_string(number) + "\n");
}

std::uint64_t AppendLine(BuildLogWriter& writer, std::uint64_t number) {
  const std::string payload = "line " + std::to_string(number) + "\n";
  return writer.AppendLog({"1", "stdout"}, 1'700'000'000, payload,
                          Coverage{"1", 1, 1, (number + 1) * 10});
}

fs::path FileOf(const fs::path& folder, std::string_view suffix, BuildId build = kBuild) {
  const std::int64_t id = build.value;
  return folder / std::to_string(id / 1'000'000) / std::to_string(id / 1'000 % 1'000) /
         (std::to_string(id) + std::string(suffix));
}

void CopyLog(const fs::path& from, const fs::path& to, BuildId build = kBuild) {
  fs::create_directories(FileOf(to, "", build).parent_path());
  for (const std::string_view suffix : {".segments", ".journal"}) {
    fs::remove(FileOf(to, suffix, build));
    if (fs::exists(FileOf(from, suffix))) {
      fs::copy(FileOf(from, suffix), FileOf(to, suffix, build));
    }
  }
}

TEST(ChunkTest, WritesLogEventsAsTheJsonTreeWould) {
  const std::vector<std::string> payloads = {"plain\n",     "",         "\x1b[31m<&>\"\\\t\r\n",
                                             "caf\xc3\xa9", "bad \xff", std::string("\0x", 2)};
  for (const protocol::Origin& origin :
       {protocol::Origin{"1", "stdout"}, {"", "stderr"}, {"2", ""}, {"", ""}}) {
    Chunk fast(7);
    Chunk slow(7);
    for (const std::string& payload : payloads) {
      fast.AppendLog(origin, 1'700'000'000, payload, {});
      slow.Append(protocol::LogEvent(origin, 1'700'000'000, payload), {});
    }
    EXPECT_EQ(fast.text(), slow.text());
    EXPECT_EQ(fast.lines(), slow.lines());
    EXPECT_EQ(fast.output_bytes(), slow.output_bytes());
  }
}

TEST(ChunkTest, SurvivesAnyDamageToItsTable) {
  Chunk chunk(0);
  chunk.AppendLog({"1", "stdout"}, 1, "hello\n", Coverage{"1", 1, 1, 6});
  chunk.Append(Line(1), {});
  std::size_t table_bytes = 0;
  const std::string payload = chunk.Payload(table_bytes);
  for (std::size_t i = 0; i < table_bytes; ++i) {
    for (const int value : {0, 1, 127, 255}) {
      std::string broken = payload;
      broken[i] = static_cast<char>(value);
      auto read = Chunk::FromPayload(broken, table_bytes, 2, 0);
      if (!read) continue;
      read->ItemAt(0);
      read->ItemAt(1);
    }
  }
  EXPECT_FALSE(Chunk::FromPayload(payload, table_bytes, 3000, 0));
  EXPECT_FALSE(Chunk::FromPayload(payload, payload.size() + 1, 2, 0));
}

TEST(FileLogStoreTest, GivesBackEveryEventInOrderAndThenTheEnd) {
  TemporaryFolder folder;
  constexpr std::uint64_t kEvents = 100'000;
  House house(folder.path());
  {
    auto writer = house.Writer();
    for (std::uint64_t i = 0; i < kEvents; ++i) {
      ASSERT_EQ(AppendLine(*writer, i), i);
      if (i % 1000 == 0) house.loop.RunUntilDone(writer->Ready({}));
    }
    house.Finish(*writer);
    house.Finish(*writer);
    EXPECT_EQ(writer->Covered("1", 1, 1), kEvents * 10);
    EXPECT_EQ(writer->Covered("1", 1, 2), 0U);
  }
  const auto all = house.All(0, false);
  ASSERT_EQ(all.size(), kEvents);
  for (const std::uint64_t i : {std::uint64_t{0}, std::uint64_t{54'321}, kEvents - 1}) {
    EXPECT_EQ(all[i], protocol::EnvelopeText(Line(i), i));
  }
  EXPECT_FALSE(fs::exists(FileOf(folder.path(), ".journal")));
  EXPECT_LT(fs::file_size(FileOf(folder.path(), ".segments")), 3'000'000U);
}

TEST(FileLogStoreTest, ReadsFromAnyEventOn) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  for (std::uint64_t i = 0; i < 10'000; ++i)
    AppendLine(*writer, i);
  house.Flush(*writer);
  for (std::uint64_t i = 10'000; i < 10'003; ++i)
    AppendLine(*writer, i);
  house.Finish(*writer);
  writer.reset();
  for (const std::uint64_t from : {0, 1, 1'999, 5'000, 9'999, 10'000, 10'002, 10'003, 20'000}) {
    EXPECT_EQ(house.All(from, false).size(), from > 10'003 ? 0 : 10'003 - from) << from;
  }
}

TEST(FileLogStoreTest, TextIsTheEventsAsServerSentEvents) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  writer->Append(protocol::StatusEvent("started", 5));
  AppendLine(*writer, 1);
  auto reader = house.Reader(1, true);
  const EventText text = house.loop.RunUntilDone(reader->NextText({}));
  EXPECT_EQ(text.text, "id: 1\nevent: event\ndata: " + protocol::EnvelopeText(Line(1), 1) + "\n\n");
  EXPECT_EQ(text.next_event, 2U);
  EXPECT_FALSE(text.end);
  house.Finish(*writer);
  EXPECT_TRUE(house.loop.RunUntilDone(reader->NextText({})).end);
}

// The state after kill -9 while the file was being written is the file cut off at any byte.
TEST(FileLogStoreTest, RecoversFromAJournalCutAtAnyByte) {
  TemporaryFolder folder;
  TemporaryFolder copy;
  std::vector<std::uint64_t> flushed_sizes;  // journal size after each flushed event
  House house(folder.path());
  auto writer = house.Writer();
  for (std::uint64_t i = 0; i < 4; ++i) {
    AppendLine(*writer, i);
    house.Flush(*writer);
    flushed_sizes.push_back(fs::file_size(FileOf(folder.path(), ".journal")));
  }
  // Each cut is a build of its own.
  House second(copy.path(), {}, FastDisk());
  House third(copy.path(), {}, FastDisk());
  for (std::uint64_t size = 0; size <= flushed_sizes.back(); ++size) {
    const BuildId build{static_cast<std::int64_t>(size) + 1};
    CopyLog(folder.path(), copy.path(), build);
    fs::resize_file(FileOf(copy.path(), ".journal", build), size);
    const auto kept = static_cast<std::uint64_t>(
        std::ranges::count_if(flushed_sizes, [&](std::uint64_t end) { return end <= size; }));
    {
      auto next = second.Writer(build);
      EXPECT_EQ(next->Covered("1", 1, 1), kept * 10);
      EXPECT_EQ(AppendLine(*next, kept), kept);
      second.Flush(*next);
    }
    const auto all = third.All(0, false, build);
    ASSERT_EQ(all.size(), kept + 1) << "cut at " << size;
    for (std::uint64_t i = 0; i <= kept; ++i) {
      EXPECT_EQ(all[i], protocol::EnvelopeText(Line(i), i));
    }
  }
}

TEST(FileLogStoreTest, RecoversFromSegmentsCutAtAnyByte) {
  TemporaryFolder folder;
  TemporaryFolder copy;
  House house(folder.path());
  auto writer = house.Writer();
  // Long equal lines: few segments of few bytes.
  const std::string payload(200'000, 'x');
  std::vector<std::uint64_t> sizes;
  for (std::uint64_t i = 0; i < 6; ++i) {
    writer->AppendLog({"1", "stdout"}, 1, payload, Coverage{"1", 1, 1, i + 1});
    house.Flush(*writer);
    const fs::path segments = FileOf(folder.path(), ".segments");
    sizes.push_back(fs::exists(segments) ? fs::file_size(segments) : 0);
  }
  house.Finish(*writer);
  const std::uint64_t whole = fs::file_size(FileOf(folder.path(), ".segments"));
  std::set<std::uint64_t> seen;
  House second(copy.path(), {}, FastDisk());
  for (std::uint64_t size = 0; size <= whole; ++size) {
    const BuildId build{static_cast<std::int64_t>(size) + 1};
    CopyLog(folder.path(), copy.path(), build);
    fs::resize_file(FileOf(copy.path(), ".segments", build), size);
    auto next = second.Writer(build);
    const std::uint64_t covered = next->Covered("1", 1, 1);
    EXPECT_EQ(next->AppendLog({"1", "stdout"}, 1, "after", {}), covered) << "cut at " << size;
    seen.insert(covered);
    if (size == whole) {
      EXPECT_EQ(covered, 6U);
    }
    second.Finish(*next);
    next.reset();
    ASSERT_EQ(second.All(0, false, build).size(), covered + 1);
  }
  EXPECT_GE(seen.size(), 3U);
}

TEST(FileLogStoreTest, AFlippedByteCutsTheTailAndNeverGivesWrongText) {
  TemporaryFolder folder;
  TemporaryFolder copy;
  House house(folder.path());
  auto writer = house.Writer();
  for (std::uint64_t i = 0; i < 4; ++i) {
    AppendLine(*writer, i);
    house.Flush(*writer);
  }
  const std::string good = ReadFile(FileOf(folder.path(), ".journal")).value();
  for (std::size_t i = 0; i < good.size(); ++i) {
    CopyLog(folder.path(), copy.path());
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 0x10);
    std::ofstream(FileOf(copy.path(), ".journal"), std::ios::binary) << bad;
    House second(copy.path(), {}, FastDisk());
    const auto all = second.All(0, false);
    ASSERT_LT(all.size(), 4U);
    for (std::uint64_t id = 0; id < all.size(); ++id) {
      EXPECT_EQ(all[id], protocol::EnvelopeText(Line(id), id));
    }
  }
}

TEST(FileLogStoreTest, ASecondLifeOfTheWriterGoesOnWhereTheFirstEnded) {
  TemporaryFolder folder;
  {
    House house(folder.path());
    auto writer = house.Writer();
    for (std::uint64_t i = 0; i < 5'000; ++i)
      AppendLine(*writer, i);
    // No Flush: closing the store in order loses nothing either.
  }
  {
    House house(folder.path());
    auto writer = house.Writer();
    EXPECT_EQ(writer->Covered("1", 1, 1), 50'000U);
    for (std::uint64_t i = 5'000; i < 9'000; ++i)
      ASSERT_EQ(AppendLine(*writer, i), i);
    house.Finish(*writer);
  }
  {
    // Also after the end: the process may die between the log's end and the database's.
    House house(folder.path());
    auto writer = house.Writer();
    EXPECT_EQ(writer->Covered("1", 1, 1), 90'000U);
    ASSERT_EQ(AppendLine(*writer, 9'000), 9'000U);
    house.Finish(*writer);
  }
  House house(folder.path());
  const auto all = house.All(0, false);
  ASSERT_EQ(all.size(), 9'001U);
  for (std::uint64_t i = 0; i < all.size(); i += 500) {
    EXPECT_EQ(all[i], protocol::EnvelopeText(Line(i), i));
  }
}

// Two processes, two stores, one folder.
TEST(SharedLogsTest, WhatAFormerOwnerStillWritesIsLostToTheLog) {
  TemporaryFolder folder;
  House former(folder.path(), {.shared = true});
  House owner(folder.path(), {.shared = true});
  auto paused = former.loop.RunUntilDone(former.store->OpenWriter(kBuild, 5));
  for (std::uint64_t i = 0; i < 40'000; ++i)
    AppendLine(*paused, i);
  former.Flush(*paused);

  auto writer = owner.loop.RunUntilDone(owner.store->OpenWriter(kBuild, 7));
  EXPECT_EQ(writer->Covered("1", 1, 1), 400'000U);
  // Both go on; the former owner does not know yet that it is none.
  for (std::uint64_t i = 40'000; i < 80'000; ++i) {
    paused->AppendLog({"2", "stdout"}, 1, "not to be seen\n");
    AppendLine(*writer, i);
  }
  former.Flush(*paused);
  owner.Finish(*writer);
  writer.reset();
  const auto all = owner.All(0, false);
  ASSERT_EQ(all.size(), 80'000U);
  for (std::uint64_t i = 0; i < all.size(); i += 1000)
    EXPECT_EQ(all[i], protocol::EnvelopeText(Line(i), i));
  EXPECT_THROW(former.loop.RunUntilDone(former.store->OpenWriter(kBuild, 6)), Failure);
  paused.reset();
  EXPECT_THROW(former.loop.RunUntilDone(former.store->OpenWriter(kBuild, 6)), Failure);
  EXPECT_EQ(former.All(0, false).size(), 80'000U);
  EXPECT_EQ(House(folder.path(), {.shared = true}).All(0, false), all);
  former.loop.RunUntilDone(former.store->Remove(kBuild));
  EXPECT_TRUE(fs::is_empty(FileOf(folder.path(), "").parent_path()));
}

TEST(SharedLogsTest, AReaderElsewhereSeesWhatIsWrittenAndTheEnd) {
  TemporaryFolder folder;
  House writing(folder.path(), {.shared = true});
  House reading(folder.path(), {.shared = true, .look_interval = 10ms});
  auto reader = reading.Reader(0, true);
  auto writer = writing.loop.RunUntilDone(writing.store->OpenWriter(kBuild, 3));
  std::uint64_t seen = 0;
  for (int round = 1; round <= 3; ++round) {
    for (std::uint64_t i = 0; i < 20'000; ++i)
      AppendLine(*writer, (round - 1) * 20'000 + i);
    writing.Flush(*writer);
    while (seen < static_cast<std::uint64_t>(round) * 20'000) {
      const EventBatch batch = reading.Next(*reader);
      ASSERT_FALSE(batch.end);
      for (const EventBatch::Item& item : batch.items)
        ASSERT_EQ(item.id, seen++);
    }
  }
  AppendLine(*writer, seen);
  writing.Flush(*writer);
  reading.store->MarkEnded(kBuild);
  EXPECT_EQ(reading.Next(*reader).items.size(), 1U);
  EXPECT_TRUE(reading.Next(*reader).end);
}

TEST(SharedLogsTest, ATakeOverThatDiedInTheMiddleIsDoneAgain) {
  TemporaryFolder folder;
  {
    House first(folder.path(), {.shared = true});
    auto writer = first.loop.RunUntilDone(first.store->OpenWriter(kBuild, 1));
    for (std::uint64_t i = 0; i < 5'000; ++i)
      AppendLine(*writer, i);
  }
  // The journal was copied, half, and the segments not yet.
  ASSERT_TRUE(WriteFile(FileOf(folder.path(), ".e2.journal"), "PNJ1 torn", 0644));
  ASSERT_TRUE(WriteFile(FileOf(folder.path(), ".e2.new"), "torn", 0644));
  House third(folder.path(), {.shared = true});
  EXPECT_EQ(third.All(0, false).size(), 5'000U);
  auto writer = third.loop.RunUntilDone(third.store->OpenWriter(kBuild, 3));
  EXPECT_EQ(AppendLine(*writer, 5'000), 5'000U);
  third.Finish(*writer);
  EXPECT_EQ(third.All(0, false).size(), 5'001U);
}

TEST(FileLogStoreTest, HasOneWriterPerBuild) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  EXPECT_THROW(house.Writer(), Failure);
  writer.reset();
  EXPECT_NO_THROW(house.Writer());
}

Task<void> Follow(LogStore& store, std::uint64_t from, std::string& out, Duration pause,
                  Timers& timers) {
  auto reader = co_await store.OpenReader(kBuild, from, true);
  for (;;) {
    const EventText text = co_await reader->NextText({});
    if (text.end) co_return;
    out += text.text;
    if (pause > 0ns) co_await timers.Sleep(pause, {});
  }
}

Task<void> WriteLines(BuildLogWriter& writer, Timers& timers, std::uint64_t count) {
  for (std::uint64_t i = 0; i < count; ++i) {
    AppendLine(writer, i);
    if (i % 200 == 0) co_await timers.Sleep(1us, {});
    co_await writer.Ready({});
  }
  co_await writer.Finish();
}

TEST(FileLogStoreTest, ManyReadersFastAndSlowSeeTheSameBytes) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  TaskGroup group(house.loop.executor(), Logger(), "readers");
  std::vector<std::string> outputs(60);
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    group.Spawn(Follow(*house.store, 0, outputs[i], i % 4 == 0 ? 5ms : 0ms, *house.timers));
  }
  group.Spawn(WriteLines(*writer, *house.timers, 20'000));
  house.loop.RunUntilDone(group.Join());
  EXPECT_GT(outputs[0].size(), 20'000U * 100);
  EXPECT_EQ(std::ranges::count_if(outputs[0], [](char c) { return c == '\n'; }), 80'000);
  for (const std::string& output : outputs)
    EXPECT_TRUE(output == outputs[0]);
}

/// Reads a text and keeps no more of it than whether it still stands in memory.
Task<void> WatchTexts(LogStore& store, std::vector<std::weak_ptr<const void>>& texts,
                      std::size_t& bytes) {
  auto reader = co_await store.OpenReader(kBuild, 0, true);
  for (;;) {
    const EventText text = co_await reader->NextText({});
    if (text.end) co_return;
    texts.push_back(text.owner);
    bytes += text.text.size();
  }
}

TEST(FileLogStoreTest, AReaderThatStandsStillHoldsNoMoreThanWhatItReads) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  auto stuck = house.Reader(0, true);
  AppendLine(*writer, 0);
  const EventText held = house.loop.RunUntilDone(stuck->NextText({}));
  const std::string copy(held.text);
  TaskGroup group(house.loop.executor(), Logger(), "readers");
  std::vector<std::weak_ptr<const void>> texts;
  std::size_t bytes = 0;
  group.Spawn(WatchTexts(*house.store, texts, bytes));
  for (std::uint64_t i = 1; i < 100'000; ++i) {
    AppendLine(*writer, i);
    if (i % 1'000 == 0) house.loop.RunUntilDone(writer->Flush());
  }
  house.Finish(*writer);
  house.loop.RunUntilDone(group.Join());
  ASSERT_GT(bytes, 10U << 20);
  ASSERT_GT(texts.size(), 60U);
  const auto alive = std::ranges::count_if(texts, [](const auto& text) { return !text.expired(); });
  // A megabyte near the tail, and the decoded segments that readers share.
  EXPECT_LE(alive, 30);
  EXPECT_EQ(held.text, copy);
  std::size_t rest = held.text.size();
  for (;;) {
    const EventText text = house.loop.RunUntilDone(stuck->NextText({}));
    if (text.end) break;
    rest += text.text.size();
  }
  EXPECT_EQ(rest, bytes);
}

TEST(FileLogStoreTest, ReadersShareOneText) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  AppendLine(*writer, 0);
  AppendLine(*writer, 1);
  auto first = house.Reader(0, true);
  auto second = house.Reader(0, true);
  const EventText a = house.loop.RunUntilDone(first->NextText({}));
  const EventText b = house.loop.RunUntilDone(second->NextText({}));
  EXPECT_EQ(a.text.data(), b.text.data());
  EXPECT_EQ(a.next_event, 2U);
  // What was handed out stays as it is when more is appended.
  const std::string copy(a.text);
  for (std::uint64_t i = 2; i < 5'000; ++i)
    AppendLine(*writer, i);
  house.Finish(*writer);
  EXPECT_EQ(a.text, copy);
}

TEST(FileLogStoreTest, WaitingReadersAreWokenByAppendsStopsAndTheEnd) {
  TemporaryFolder folder;
  House house(folder.path());
  auto reader = house.Reader(0, true);  // before there is a writer
  auto read = [](BuildLogReader& from, std::optional<EventBatch>& out,
                 std::stop_token stop) -> Task<void> { out = co_await from.Next(stop); };
  TaskGroup group(house.loop.executor(), Logger(), "readers");
  std::optional<EventBatch> batch;
  group.Spawn(read(*reader, batch, {}));
  house.loop.Poll();
  EXPECT_FALSE(batch);
  auto writer = house.Writer();
  AppendLine(*writer, 0);
  house.loop.RunUntilDone(group.Join());
  ASSERT_TRUE(batch);
  EXPECT_EQ(batch->items.size(), 1U);

  std::stop_source stop;
  std::optional<EventBatch> stopped;
  group.Spawn(read(*reader, stopped, stop.get_token()));
  house.loop.Poll();
  stop.request_stop();
  house.loop.RunUntilDone(group.Join());
  EXPECT_FALSE(stopped);

  group.Spawn(read(*reader, batch, {}));
  house.loop.Poll();
  house.Finish(*writer);
  house.loop.RunUntilDone(group.Join());
  EXPECT_TRUE(batch->end);
}

TEST(FileLogStoreTest, TheLastEventIsShownWhenTheLogIsFinished) {
  TemporaryFolder folder;
  House house(folder.path());
  auto writer = house.Writer();
  auto reader = house.Reader(0, true);
  AppendLine(*writer, 0);
  EXPECT_EQ(writer->AppendLast(Line(1)), 1U);
  house.Flush(*writer);
  EXPECT_EQ(house.Next(*reader).items.size(), 1U);
  auto read = [](BuildLogReader& from, std::optional<EventBatch>& out) -> Task<void> {
    out = co_await from.Next({});
  };
  TaskGroup group(house.loop.executor(), Logger(), "readers");
  std::optional<EventBatch> batch;
  group.Spawn(read(*reader, batch));
  house.loop.Poll();
  EXPECT_FALSE(batch);
  house.Finish(*writer);
  house.loop.RunUntilDone(group.Join());
  ASSERT_TRUE(batch);
  ASSERT_EQ(batch->items.size(), 1U);
  EXPECT_EQ(batch->items[0].id, 1U);
  EXPECT_TRUE(house.Next(*reader).end);
}

TEST(FileLogStoreTest, AReaderOfABuildThatNeverStartedEndsWhenToldSo) {
  TemporaryFolder folder;
  House house(folder.path());
  EXPECT_TRUE(house.All(0, false).empty());
  auto reader = house.Reader(0, true);
  house.store->MarkEnded(kBuild);
  EXPECT_TRUE(house.Next(*reader).end);
}

TEST(FileLogStoreTest, RemoveTakesTheFilesAndEndsReaders) {
  TemporaryFolder folder;
  House house(folder.path());
  {
    auto writer = house.Writer();
    for (std::uint64_t i = 0; i < 5'000; ++i)
      AppendLine(*writer, i);
    house.Finish(*writer);
  }
  auto reader = house.Reader(0, false);
  EXPECT_FALSE(house.Next(*reader).end);
  house.loop.RunUntilDone(house.store->Remove(kBuild));
  EXPECT_FALSE(fs::exists(FileOf(folder.path(), ".segments")));
  EXPECT_TRUE(house.Next(*reader).end);
  EXPECT_TRUE(house.All(0, false).empty());
  house.loop.RunUntilDone(house.store->Remove(kBuild));
}

TEST(FileLogStoreTest, ADamagedSegmentIsAnErrorThatNamesTheBuild) {
  TemporaryFolder folder;
  {
    House house(folder.path());
    auto writer = house.Writer();
    for (std::uint64_t i = 0; i < 5'000; ++i)
      AppendLine(*writer, i);
    house.Finish(*writer);
  }
  std::fstream file(FileOf(folder.path(), ".segments"),
                    std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(200);
  file.put('\x55');
  file.close();
  House house(folder.path());
  try {
    house.All(0, false);
    FAIL() << "damage was not noticed";
  } catch (const Failure& failure) {
    EXPECT_NE(failure.error().message.find("build 1234567"), std::string::npos);
  }
}

TEST(FileLogStoreTest, AFullDiskIsReportedAndEverythingGoesOnWhenThereIsSpace) {
  for (const std::int64_t free : {0, 1, 47, 48, 300, 5'000, 70'000, 100'000}) {
    TemporaryFolder folder;
    auto disk = std::make_shared<SmallDisk>();
    disk->state->free = free;
    FileLogStoreOptions options;
    options.memory_bytes_max = 1 << 20;
    options.retry_interval = 5ms;
    {
      House house(folder.path(), options, disk);
      auto writer = house.Writer();
      std::uint64_t count = 0;
      for (; count < 20'000; ++count)
        ASSERT_EQ(AppendLine(*writer, count), count);
      try {
        house.Flush(*writer);
        FAIL() << "flushed to a full disk of " << free;
      } catch (const Failure& failure) {
        EXPECT_EQ(failure.error().kind, ErrorKind::kUnavailable);
        EXPECT_NE(failure.error().message.find("No space left"), std::string::npos);
        EXPECT_NE(failure.error().message.find("build 1234567"), std::string::npos);
      }
      // There is more in memory than the limit: producers wait, readers do not.
      bool ready = false;
      auto wait = [](BuildLogWriter& w, bool& done) -> Task<void> {
        co_await w.Ready({});
        done = true;
      };
      TaskGroup group(house.loop.executor(), Logger(), "producer");
      group.Spawn(wait(*writer, ready));
      auto reader = house.Reader(19'999, true);
      EXPECT_EQ(house.Next(*reader).items.back().id, 19'999U);
      EXPECT_FALSE(ready);
      disk->state->free = 1 << 30;
      house.loop.RunUntilDone(group.Join());
      EXPECT_TRUE(ready);
      AppendLine(*writer, count++);
      house.Finish(*writer);
    }
    House house(folder.path());
    const auto all = house.All(0, false);
    ASSERT_EQ(all.size(), 20'001U);
    for (std::uint64_t i = 0; i < all.size(); i += 97) {
      ASSERT_EQ(all[i], protocol::EnvelopeText(Line(i), i));
    }
  }
}

TEST(FileLogStoreTest, AFailingSyncIsNoFlush) {
  TemporaryFolder folder;
  auto disk = std::make_shared<SmallDisk>();
  disk->state->free = 1 << 30;
  disk->state->sync_fails = true;
  House house(folder.path(), {}, disk);
  auto writer = house.Writer();
  AppendLine(*writer, 0);
  EXPECT_THROW(house.Flush(*writer), Failure);
  EXPECT_THROW(house.Flush(*writer), Failure);
  disk->state->sync_fails = false;
  house.Flush(*writer);
  house.Finish(*writer);
}

TEST(FileLogStoreTest, ARealFullFileSystem) {
  if (geteuid() != 0) GTEST_SKIP() << "mounting a small tmpfs needs root";
  TemporaryFolder folder;
  if (mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=64k") != 0) {
    GTEST_SKIP() << "no tmpfs can be mounted here";
  }
  {
    FileLogStoreOptions options;
    options.retry_interval = 5ms;
    House house(folder.path(), options);
    auto writer = house.Writer();
    std::ofstream(folder.path() / "filler") << std::string(60'000, 'x');
    std::uint64_t count = 0;
    for (; count < 3'000; ++count)
      AppendLine(*writer, count);
    EXPECT_THROW(house.Flush(*writer), Failure);
    fs::remove(folder.path() / "filler");
    house.Finish(*writer);
    writer.reset();
    EXPECT_EQ(house.All(0, false).size(), 3'000U);
  }
  umount(folder.path().c_str());
}

TEST(FileLogStoreTest, WritesWithinTheIntervalWithoutBeingAsked) {
  TemporaryFolder folder;
  FileLogStoreOptions options;
  options.write_interval = 1ms;
  House house(folder.path(), options);
  auto writer = house.Writer();
  AppendLine(*writer, 0);
  auto wait = [](Timers& timers, fs::path journal) -> Task<void> {
    while (!fs::exists(journal) || fs::file_size(journal) == 0)
      co_await timers.Sleep(1ms, {});
  };
  house.loop.RunUntilDone(wait(*house.timers, FileOf(folder.path(), ".journal")));
}

}  // namespace
}  // namespace pinion::events
