#include "base/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace pinion {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

struct OptionsTest : ::testing::Test {
  OptionsTest() {
    options.Add({.name = "bind-port", .doc = "port", .short_name = 'p', .env = true}, port);
    options.Add({.name = "verbose", .doc = "more", .short_name = 'v'}, verbose);
    options.Add({.name = "worker-tag", .doc = "tags", .env = true}, tags);
    options.Add({.name = "timeout", .doc = "limit"}, timeout);
    options.AddPositional("WORD", "words", words);
    options.Ignore({{"vault-url", true}, {"enable-x", false}});
  }
  Result<void> Parse(std::vector<std::string> line, std::map<std::string, std::string> env = {}) {
    return options.Parse(line, env, warnings);
  }

  int port = 8080;
  bool verbose = false;
  std::vector<std::string> tags;
  Duration timeout{};
  std::vector<std::string> words;
  std::vector<std::string> warnings;
  Options options;
};

TEST_F(OptionsTest, ReadsEveryForm) {
  ASSERT_TRUE(
      Parse({"--bind-port=1", "-v", "a", "--worker-tag", "x", "--worker-tag=y", "--", "-b"}));
  EXPECT_EQ(port, 1);
  EXPECT_TRUE(verbose);
  EXPECT_THAT(tags, ElementsAre("x", "y"));
  EXPECT_THAT(words, ElementsAre("a", "-b"));
  ASSERT_TRUE(Parse({"-vp9"}));
  EXPECT_EQ(port, 9);
}

TEST_F(OptionsTest, WordsWinOverTheEnvironment) {
  ASSERT_TRUE(
      Parse({"--bind-port", "7"}, {{"CONCOURSE_BIND_PORT", "8"}, {"CONCOURSE_WORKER_TAG", "a,b"}}));
  EXPECT_EQ(port, 7);
  EXPECT_THAT(tags, ElementsAre("a", "b"));
}

TEST_F(OptionsTest, EveryErrorAtOnceWithTheNearestName) {
  const auto result = Parse({"--bind-prot=1", "--timeout=abc", "--bind-port", "x"});
  ASSERT_FALSE(result);
  EXPECT_THAT(result.error().message, HasSubstr("did you mean --bind-port?"));
  EXPECT_THAT(result.error().message, HasSubstr("--timeout: invalid duration 'abc'"));
  EXPECT_THAT(result.error().message, HasSubstr("'x' is no whole number"));
}

TEST_F(OptionsTest, OptionsWithoutMeaningAndUnknownVariablesAreWarnedOf) {
  ASSERT_TRUE(Parse({"--vault-url", "http://x", "--enable-x", "word"},
                    {{"CONCOURSE_VAULT_URL", "y"}, {"CONCOURSE_SVC_PORT", "1"}, {"HOME", "/"}}));
  EXPECT_THAT(warnings, ElementsAre("--vault-url has no meaning here and is ignored",
                                    "--enable-x has no meaning here and is ignored",
                                    "CONCOURSE_SVC_PORT is not a known variable and is ignored",
                                    "CONCOURSE_VAULT_URL has no meaning here and is ignored"));
  EXPECT_THAT(words, ElementsAre("word"));
}

TEST_F(OptionsTest, HelpNamesDefaultAndVariable) {
  EXPECT_THAT(options.Help(), HasSubstr("-p, --bind-port=number"));
  EXPECT_THAT(options.Help(), HasSubstr("port (default 8080) [$CONCOURSE_BIND_PORT]"));
}

}  // namespace
}  // namespace pinion
