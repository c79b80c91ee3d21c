#include <gmock/gmock.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>

#include "base/text.h"
#include "cli/testing.h"
#include "linux/process.h"

/// The same command lines through upstream's client and through this one, against one server.
namespace pinion::cli {
namespace {

namespace fs = std::filesystem;

constexpr const char* kData = PINION_SOURCE_DIR "/src/cli/testdata";

fs::path UpstreamClient() {
  const char* home = std::getenv("HOME");
  const char* given = std::getenv("PINION_UPSTREAM_FLY");
  if (given) return given;
  return fs::path(home ? home : "") / ".cache/pinion/upstream/bin/fly";
}

/// Words as a shell splits them, with ' quotes alone.
std::vector<std::string> SplitWords(const std::string& line) {
  std::vector<std::string> words;
  std::string word;
  bool quoted = false, any = false;
  for (const char c : line + " ") {
    if (c == '\'') {
      quoted = !quoted;
      any = true;
    } else if (c == ' ' && !quoted) {
      if (any) words.push_back(std::exchange(word, {}));
      any = false;
    } else {
      word += c;
      any = true;
    }
  }
  return words;
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (std::size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size())
    text.replace(at, from.size(), to);
  return text;
}

std::vector<std::string> CommandLines() {
  std::vector<std::string> lines;
  const auto text = ReadFile(std::string(kData) + "/commands.txt");
  for (const std::string_view line : Split(text.value_or(""), '\n')) {
    if (!line.empty() && line.front() != '#') lines.emplace_back(line);
  }
  return lines;
}

class UpstreamTest : public testing::Test {
 protected:
  void SetUp() override {
    if (::access(UpstreamClient().c_str(), X_OK) != 0) {
      GTEST_SKIP() << "upstream's client is not at " << UpstreamClient();
    }
    fs::create_symlink(UpstreamClient(), bin_.path() / "fly");
    ::setenv("FAKE_FLY_VERSION", "8.2.4", 1);
    ::unsetenv("TZ");
    ::tzset();
  }

  Ran RunUpstream(const Client& client, const std::string& line) {
    const std::string out = bin_.path() / "out", err = bin_.path() / "err";
    const std::string script = "cd / && PATH=" + bin_.path().string() +
                               ":$PATH FLY_HOME=" + client.home().string() + " fly " + line + " >" +
                               out + " 2>" + err + " </dev/null";
    const auto outcome = linux::RunCommand({"sh", "-c", script}, "", std::chrono::seconds(60));
    EXPECT_TRUE(outcome);
    return {outcome ? outcome->exit_status : -1, ReadFile(out).value_or(""),
            ReadFile(err).value_or("")};
  }

  TemporaryFolder bin_;
  CannedServer server_{SampleAnswers()};
};

/// Bodies are compared as JSON, whatever the order of their members.
std::vector<std::string> Normalised(std::vector<std::string> requests) {
  for (std::string& request : requests) {
    if (const auto json = ParseJson(request); json && json->IsObject()) {
      JsonObject sorted = json->AsObject();
      sorted.SortByName();
      for (auto& [name, value] : sorted) {
        if (!value.IsObject()) continue;
        for (auto& [inner, members] : value.AsObject())
          if (members.IsObject()) members.AsObject().SortByName();
      }
      request = ToText(sorted);
    }
    while (request.ends_with('\n'))
      request.pop_back();
  }
  return requests;
}

TEST_F(UpstreamTest, OutputStatusRequestsAndTargetsAreTheSame) {
  for (const std::string& written : CommandLines()) {
    const std::string line =
        Replaced(Replaced(written, "$DATA", kData), "http://127.0.0.1:18765", server_.url());
    SCOPED_TRACE(line);
    Client upstream(server_.url());
    const Ran theirs = RunUpstream(upstream, line);
    const auto their_requests = Normalised(server_.TakeRequests());
    Client client(server_.url());
    const Ran ours = client.Run(SplitWords(line));
    const auto our_requests = Normalised(server_.TakeRequests());
    EXPECT_EQ(ours.status, theirs.status) << ours.err << theirs.err;
    EXPECT_EQ(WithoutColours(ours.out), WithoutColours(theirs.out));
    EXPECT_EQ(WithoutColours(ours.err), WithoutColours(theirs.err));
    EXPECT_EQ(our_requests, their_requests);
    EXPECT_EQ(client.FlyRcText(), upstream.FlyRcText());
  }
}

}  // namespace
}  // namespace pinion::cli
