
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>

#include "base/files.h"
#include "base/text.h"
#include "pipeline/format.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"

namespace pinion::pipeline {
namespace {

namespace fs = std::filesystem;

struct Verdict {
  std::string word;  ///< "valid", "valid with warning", "invalid" or "malformed"
  std::string text;
};

Verdict Judge(std::string_view yaml, ReadRules rules) {
  const auto parsed = ReadPipeline(yaml, rules);
  if (!parsed) return {"malformed", parsed.error().message};
  if (!parsed->issues.empty()) return {"malformed", IssuesText(parsed->issues)};
  const Validation validation = Validate(parsed->pipeline, &parsed->sources);
  std::string text = Join(validation.ErrorTexts(), "");
  for (const Warning& warning : validation.warnings) {
    text += warning.type + ": " + warning.message + "\n";
  }
  if (!validation.ok()) return {"invalid", text};
  return {validation.warnings.empty() ? "valid" : "valid with warning", text};
}

/// What a client says, whose words know no "malformed".
std::string ClientWord(const Verdict& verdict, bool strict) {
  if (verdict.word == "malformed") return "invalid";
  if (strict && verdict.word == "valid with warning") return "invalid";
  return verdict.word;
}

std::string Unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char next = text[++i];
    out += next == 'n' ? '\n' : next == 't' ? '\t' : next;
  }
  return out;
}

struct Case {
  std::string name;
  std::string server;
  std::string client;
  std::string strict;
  std::vector<std::string> texts;  ///< that the server's text must have
  std::string yaml;
};

/// Cases are separated by lines "=== NAME | SERVER | CLIENT | STRICT"; lines "> TEXT" after it name
/// what must be said.
std::vector<Case> OwnCases() {
  const auto text = ValueOrThrow(ReadFile(PINION_SOURCE_DIR "/src/pipeline/testdata/verdicts.txt"));
  std::vector<Case> cases;
  for (const std::string_view line : Split(text, '\n')) {
    if (line.starts_with("=== ")) {
      const auto parts = Split(line.substr(4), '|');
      const std::string server(Trim(parts.at(1)));
      const std::string client = server == "malformed" ? "invalid" : server;
      cases.push_back({std::string(Trim(parts[0])),
                       server,
                       parts.size() > 2 ? std::string(Trim(parts[2])) : client,
                       parts.size() > 3                 ? std::string(Trim(parts[3]))
                       : client == "valid with warning" ? "invalid"
                                                        : client,
                       {},
                       ""});
    } else if (line.starts_with("> ")) {
      cases.back().texts.emplace_back(line.substr(2));
    } else if (!cases.empty()) {
      cases.back().yaml.append(line).append("\n");
    }
  }
  return cases;
}

TEST(VerdictTest, EveryRuleIsHeldAndNamesItsPlace) {
  const auto cases = OwnCases();
  ASSERT_GT(cases.size(), 100U);
  for (const Case& it : cases) {
    SCOPED_TRACE(it.name + "\n" + it.yaml);
    const Verdict server = Judge(it.yaml, kServerRules);
    EXPECT_EQ(server.word, it.server) << server.text;
    for (const std::string& text : it.texts)
      EXPECT_THAT(server.text, ::testing::HasSubstr(text));
    const Verdict client = Judge(it.yaml, kClientRules);
    EXPECT_EQ(ClientWord(client, false), it.client) << client.text;
    const Verdict strict = Judge(it.yaml, kStrictRules);
    EXPECT_EQ(ClientWord(strict, true), it.strict) << strict.text;
  }
}

/// A folder beside the sources, or the one that a variable names.
fs::path Beside(const char* variable, std::string_view name) {
  const char* given = std::getenv(variable);
  return given ? fs::path(given) : fs::path(PINION_SOURCE_DIR) / ".." / "shared" / name;
}

TEST(VerdictTest, TheRecordedVerdictsOfUpstreamAreOurs) {
  const fs::path facts = Beside("PINION_FACTS", "facts") / "upstream" / "pipeline-verdicts.tsv";
  if (!fs::exists(facts)) GTEST_SKIP() << "no recorded verdicts at " << facts;
  const auto text = ValueOrThrow(ReadFile(facts));
  int count = 0;
  for (const std::string_view line : Split(text, '\n')) {
    const auto cells = Split(line, '\t');
    if (cells.size() < 7 || cells[0] == "id") continue;
    ++count;
    const std::string yaml = Unescape(cells[2]);
    SCOPED_TRACE(std::string(cells[0]) + "\n" + yaml);
    const Verdict server = Judge(yaml, kServerRules);
    EXPECT_EQ(server.word, cells[3]) << server.text << "\nupstream: " << cells[4];
    EXPECT_EQ(ClientWord(Judge(yaml, kClientRules), false), cells[5]);
    EXPECT_EQ(ClientWord(Judge(yaml, kStrictRules), true), cells[6]);
  }
  EXPECT_GE(count, 253);
}

struct Outcome {
  int status = -1;
  std::string output;
};

Outcome RunProgram(const std::string& command) {
  Outcome run;
  FILE* pipe = popen((command + " 2>&1").c_str(), "r");
  if (!pipe) return run;
  char buffer[4096];
  for (std::size_t n; (n = fread(buffer, 1, sizeof(buffer), pipe)) > 0;) {
    run.output.append(buffer, n);
  }
  run.status = WEXITSTATUS(pclose(pipe));
  return run;
}

fs::path UpstreamsClient() {
  const char* given = std::getenv("PINION_UPSTREAM");
  const char* home = std::getenv("HOME");
  return (given ? fs::path(given) : fs::path(home ? home : "/") / ".cache/pinion/upstream/bin") /
         "fly";
}

std::string UpstreamsWord(const std::string& arguments) {
  const Outcome run =
      RunProgram("'" + UpstreamsClient().string() + "' validate-pipeline " + arguments);
  if (run.status != 0) return "invalid";
  return run.output.find("WARNING") == std::string::npos ? "valid" : "valid with warning";
}

TEST(VerdictTest, UpstreamsClientJudgesTheSameCasesTheSameWay) {
  if (!fs::exists(UpstreamsClient())) {
    GTEST_SKIP() << "no client of upstream at " << UpstreamsClient();
  }
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "pipeline.yml";
  for (const Case& it : OwnCases()) {
    SCOPED_TRACE(it.name + "\n" + it.yaml);
    ASSERT_TRUE(WriteFile(file, it.yaml));
    EXPECT_EQ(UpstreamsWord("-c '" + file.string() + "'"), it.client);
    EXPECT_EQ(UpstreamsWord("--strict -c '" + file.string() + "'"), it.strict);
  }
}

class RealPipelineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = Beside("PINION_PIPELINES", "pipelines");
    if (!fs::exists(folder_)) GTEST_SKIP() << "no real pipelines at " << folder_;
    fly_ = UpstreamsClient();
  }

  template <class Check>
  void ForEachPipeline(Check check) {
    for (const auto& entry : fs::directory_iterator(folder_)) {
      if (entry.path().extension() != ".yml" && entry.path().extension() != ".yaml") continue;
      SCOPED_TRACE(entry.path());
      check(entry.path(), ValueOrThrow(ReadFile(entry.path())));
      ++count_;
    }
    EXPECT_GT(count_, 0);
  }

  fs::path folder_;
  fs::path fly_;
  int count_ = 0;
};

TEST_F(RealPipelineTest, VerdictsAreThoseOfUpstreamsClient) {
  if (!fs::exists(fly_)) GTEST_SKIP() << "no client of upstream at " << fly_;
  ForEachPipeline([&](const fs::path& path, const std::string& yaml) {
    const std::string expected = UpstreamsWord("-c '" + path.string() + "'");
    const Verdict ours = Judge(yaml, kClientRules);
    EXPECT_EQ(ClientWord(ours, false), expected) << ours.text;
  });
}

TEST_F(RealPipelineTest, TheNormalFormIsThatOfUpstreamsClient) {
  if (!fs::exists(fly_)) GTEST_SKIP() << "no client of upstream at " << fly_;
  ForEachPipeline([&](const fs::path& path, const std::string& yaml) {
    const Outcome run =
        RunProgram("'" + fly_.string() + "' format-pipeline -c '" + path.string() + "'");
    const auto ours = FormatPipeline(yaml);
    EXPECT_EQ(ours.has_value(), run.status == 0)
        << run.output << (ours ? "" : ours.error().message);
    if (ours && run.status == 0) EXPECT_EQ(*ours, run.output);
  });
}

TEST_F(RealPipelineTest, TheNormalFormOfTheRecordedCasesIsThatOfUpstreamsClient) {
  const fs::path facts = Beside("PINION_FACTS", "facts") / "upstream" / "pipeline-verdicts.tsv";
  if (!fs::exists(fly_) || !fs::exists(facts)) GTEST_SKIP() << "no client, or no recorded verdicts";
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "pipeline.yml";
  const auto text = ValueOrThrow(ReadFile(facts));
  for (const std::string_view line : Split(text, '\n')) {
    const auto cells = Split(line, '\t');
    if (cells.size() < 7 || cells[0] == "id") continue;
    const std::string yaml = Unescape(cells[2]);
    SCOPED_TRACE(std::string(cells[0]) + "\n" + yaml);
    ASSERT_TRUE(WriteFile(file, yaml));
    const Outcome run =
        RunProgram("'" + fly_.string() + "' format-pipeline -c '" + file.string() + "'");
    const auto ours = FormatPipeline(yaml);
    EXPECT_EQ(ours.has_value(), run.status == 0)
        << run.output << (ours ? "" : ours.error().message);
    // An empty plan and an interval that is empty text are spelled like absent ones.
    if (cells[0] == "job-empty-plan" || cells[0] == "check-every-empty") continue;
    if (ours && run.status == 0) EXPECT_EQ(*ours, run.output);
  }
}

TEST_F(RealPipelineTest, TheNormalFormReadsBackToItself) {
  ForEachPipeline([&](const fs::path&, const std::string& yaml) {
    const auto once = FormatPipeline(yaml);
    if (!once) return;
    const auto twice = FormatPipeline(*once);
    ASSERT_TRUE(twice) << twice.error().message;
    EXPECT_EQ(*once, *twice);
    const auto parsed = ReadPipeline(*once, kClientRules);
    const auto json = ConfigToJson(parsed->pipeline);
    const auto read = ConfigFromJson(json);
    ASSERT_TRUE(read) << read.error().message;
    EXPECT_EQ(ToText(ConfigToJson(*read)), ToText(json));
  });
}

}  // namespace
}  // namespace pinion::pipeline
