#include "base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

#include "base/files.h"

namespace pinion {
namespace {

class Lines final : public LogSink {
 public:
  void Write(std::string_view line) noexcept override { text.append(line); }
  std::string text;
};

class StoppedClock final : public Clock {
 public:
  WallTime Now() const override { return WallTime(std::chrono::milliseconds(1'700'000'000'250)); }
  SteadyTime Steady() const override { return {}; }
};

struct LogTest : testing::Test {
  StoppedClock clock;
  std::shared_ptr<Lines> lines = std::make_shared<Lines>();
  Logger log{lines, clock, LogLevel::kInfo};
};

TEST_F(LogTest, WritesOneObjectALine) {
  log.Info("job \"x\"\nstarted", {{"job", "a"}, {"count", 2}, {"more", JsonArray{true}}});
  EXPECT_EQ(lines->text, R"({"time":"2023-11-14T22:13:20.250000Z","level":"info",)"
                         R"("message":"job \"x\"\nstarted","job":"a","count":2,"more":[true]})"
                         "\n");
  EXPECT_TRUE(ParseJson(lines->text));
}

TEST_F(LogTest, ScopesAddTheirFieldsToEveryLine) {
  const Logger build = log.With({{"build", 7}});
  const Logger step = build.With({{"step", "get"}});
  step.Warn("slow");
  build.LogError("failed");
  log.Info("other");
  EXPECT_NE(lines->text.find(R"("message":"slow","build":7,"step":"get"})"), std::string::npos);
  EXPECT_NE(lines->text.find(R"("message":"failed","build":7})"), std::string::npos);
  EXPECT_NE(lines->text.find(R"("message":"other"})"), std::string::npos);
}

TEST_F(LogTest, TheLevelIsSharedByCopies) {
  const Logger copy = log.With({{"copy", true}});
  copy.Debug("unseen");
  EXPECT_EQ(lines->text, "");
  log.SetLevel(LogLevel::kDebug);
  copy.Debug("seen");
  EXPECT_NE(lines->text.find("seen"), std::string::npos);
  log.SetLevel(LogLevel::kOff);
  lines->text.clear();
  copy.LogError("unseen");
  EXPECT_EQ(lines->text, "");
}

TEST_F(LogTest, ALoggerOfNothingDiscards) {
  const Logger nothing;
  nothing.With({{"a", 1}}).LogError("lost");
  EXPECT_EQ(nothing.level(), LogLevel::kOff);
}

TEST_F(LogTest, LevelsHaveUpstreamsNames) {
  for (const LogLevel level :
       {LogLevel::kDebug, LogLevel::kInfo, LogLevel::kWarn, LogLevel::kError, LogLevel::kOff}) {
    EXPECT_EQ(ParseLogLevel(Name(level)), level);
  }
  EXPECT_EQ(ParseLogLevel("fatal"), LogLevel::kError);
  const auto wrong = ParseLogLevel("loud");
  ASSERT_FALSE(wrong);
  EXPECT_NE(wrong.error().message.find("'loud'"), std::string::npos);
}

TEST_F(LogTest, LinesOfSeveralThreadsStayWhole) {
  const TemporaryFolder folder;
  const std::string path = folder.path() / "log";
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  ASSERT_GE(fd, 0);
  const Logger shared(std::make_shared<FdLogSink>(fd), clock, LogLevel::kInfo);
  {
    std::vector<std::jthread> threads;
    for (int i = 0; i < 4; ++i) {
      threads.emplace_back([&shared, i] {
        for (int n = 0; n < 500; ++n)
          shared.Info("line", {{"thread", i}, {"padding", std::string(300, 'x')}});
      });
    }
  }
  ::close(fd);
  const std::string text = ReadFile(path).value();
  std::size_t count = 0;
  for (std::size_t start = 0; start < text.size(); ++count) {
    const std::size_t end = text.find('\n', start);
    ASSERT_TRUE(ParseJson(std::string_view(text).substr(start, end - start)));
    start = end + 1;
  }
  EXPECT_EQ(count, 2000U);
}

}  // namespace
}  // namespace pinion
