#include <gtest/gtest.h>
#include <zstd.h>

#include <algorithm>
#include <map>
#include <sstream>
#include <stdexcept>

#include "base/files.h"
#include "base/text.h"
#include "scheduling/schedule_job.h"
#include "scheduling/sql_versions.h"
#include "store/builds.h"
#include "store/jobs.h"
#include "store/scheduling_testing.h"
#include "store/scopes.h"
#include "store/testing.h"
#include "store/versions.h"

/// Histories of pipelines that upstream's database and input algorithm went through, with every
/// answer that it gave on the way: testdata/README.md says how the file reads. Each is gone through
/// again here; one that fails is replayed alone with
/// PINION_SEED=17 scheduling_test --gtest_filter='*Upstream*'.
namespace pinion::scheduling {
namespace {

namespace st = store::testing;
using store::Transaction;

std::vector<std::string> Words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

struct History {
  int seed = 0;
  std::vector<std::string> lines;
};

std::vector<History> ReadHistories() {
  const std::string packed =
      ValueOrThrow(ReadFile(PINION_SOURCE_DIR "/src/scheduling/testdata/upstream_answers.txt.zst"));
  std::string text(ZSTD_getFrameContentSize(packed.data(), packed.size()), '\0');
  const std::size_t size = ZSTD_decompress(text.data(), text.size(), packed.data(), packed.size());
  if (ZSTD_isError(size)) throw std::runtime_error(ZSTD_getErrorName(size));
  std::vector<History> histories;
  for (const std::string_view line : Split(text, '\n')) {
    if (line.empty()) continue;
    if (line.starts_with("g ")) {
      histories.push_back({std::stoi(std::string(line.substr(2))), {}});
    } else {
      histories.back().lines.emplace_back(line);
    }
  }
  return histories;
}

// One history in one transaction, through what the scheduler, the engine and the API call.
class Replay {
 public:
  Replay(Transaction& transaction, const History& history, const ResolutionLimits& limits)
      : transaction_(transaction), history_(history), limits_(limits) {
    pipeline_ = st::AddPipeline(transaction_, st::AddTeam(transaction_, Name("team")));
  }

  // The first difference, "" if there is none.
  std::string Run() {
    for (std::size_t i = 0; i < history_.lines.size(); ++i) {
      const std::string difference = Apply(history_.lines[i]);
      if (difference.empty()) continue;
      std::string so_far;
      for (std::size_t k = 0; k <= i; ++k)
        so_far += "  " + history_.lines[k] + "\n";
      return "seed " + std::to_string(history_.seed) + ": " + difference + "\n" + so_far;
    }
    return "";
  }
  int answers() const { return answers_; }

 private:
  struct Had {
    std::string name;
    ResourceId resource;
    VersionId version;
  };

  std::string Name(const std::string& what) const {
    return what + " " + std::to_string(history_.seed);
  }

  std::string Apply(const std::string& line) {
    const std::vector<std::string> words = Words(line);
    switch (line[0]) {
      case 'r':
        AddResources(words);
        break;
      case 'j':
        AddJob(line);
        break;
      case '?':
        return Compare(words[1], line.substr(line.find(" = ") + 3));
      case 's':
      case 'v':
      case 'd':
      case 'e':
      case 'p':
      case 'u':
        ChangeResource(words);
        break;
      default:
        return ChangeBuild(words);
    }
    return "";
  }

  void AddResources(const std::vector<std::string>& words) {
    for (std::size_t i = 1; i < words.size(); ++i) {
      resources_[words[i]] =
          st::AddResource(transaction_, pipeline_, words[i], FindScope(words[i], "0"));
    }
  }

  ScopeId FindScope(const std::string& resource, const std::string& source) {
    return store::FindOrCreateScope(transaction_, Name(resource + "/" + source), "mock");
  }

  void AddJob(const std::string& line) {
    const std::string name = line.substr(2, line.find(':') - 2);
    const JobId job = jobs_[name] = st::AddJob(transaction_, pipeline_, name);
    for (const std::string_view text :
         Split(std::string_view(line).substr(line.find(':') + 1), ';')) {
      const auto words = Words(text);
      if (words.empty()) continue;
      st::TestInput input;
      const auto equals = words[0].find('=');
      input.name = words[0].substr(0, equals);
      input.resource = resources_.at(words[0].substr(equals + 1));
      input.trigger = false;
      for (std::size_t i = 1; i < words.size(); ++i) {
        if (words[i] == "every") input.version = "every";
        if (words[i] == "trigger") input.trigger = true;
        if (words[i] == "pinned") input.version = store::VersionText({{"v", words[++i]}});
        if (words[i] != "passed") continue;
        for (const auto passed : Split(words[++i], ','))
          input.passed.push_back(jobs_.at(std::string(passed)));
      }
      st::AddInput(transaction_, job, input);
    }
  }

  void ChangeResource(const std::vector<std::string>& words) {
    const ResourceId resource = resources_.at(words[1]);
    switch (words[0][0]) {
      case 's':
        store::AttachResource(transaction_, resource, FindScope(words[1], words[2]));
        break;
      case 'v': {
        std::vector<protocol::Version> versions;
        for (std::size_t i = 2; i < words.size(); ++i)
          versions.push_back({{"v", words[i]}});
        store::SaveVersions(transaction_, st::ScopeOf(transaction_, resource), versions);
        break;
      }
      case 'u':
        store::UnpinVersion(transaction_, resource);
        break;
      case 'p':
        store::PinVersion(transaction_, resource,
                          st::VersionNamed(transaction_, resource, words[2]));
        break;
      default:
        store::SetVersionEnabled(transaction_, resource,
                                 st::VersionNamed(transaction_, resource, words[2]),
                                 words[0] == "e");
    }
  }

  std::string ChangeBuild(const std::vector<std::string>& words) {
    const int number = std::stoi(words[1]);
    if (words[0] == "b") {
      CreateBuild(number, words);
      return "";
    }
    const BuildId build = builds_.at(number);
    switch (words[0][0]) {
      case 'a':
        return Adopt(build) ? "" : "build " + words[1] + " does not get its inputs";
      case 'x':
        if (Adopt(build)) return "build " + words[1] + " gets inputs that upstream has not";
        store::FinishBuild(transaction_, build, store::BuildStatus::kAborted);
        break;
      case 'i':
        for (std::size_t i = 2; i < words.size(); ++i) {
          const Had had = ParseHad(words[i]);
          store::SaveBuildInput(transaction_, build, had.name, had.resource, had.version, false);
        }
        transaction_.Execute("update builds set inputs_ready = 1 where id = $1", {build});
        break;
      case 'o':
        Put(build, words[2]);
        break;
      case 'y':
        for (std::size_t i = 2; i < words.size(); ++i) {
          transaction_.Execute(
              "insert into build_pipes (to_build_id, from_build_id) values ($1, $2)",
              {build, builds_.at(std::stoi(words[i]))});
        }
        break;
      case 'f':
        store::FinishBuild(transaction_, build, store::ParseBuildStatus(words[2]));
        break;
      default:
        throw std::runtime_error("unknown line: " + words[0]);
    }
    return "";
  }

  void CreateBuild(int number, const std::vector<std::string>& words) {
    BuildId original;
    if (words.size() > 3) original = builds_.at(std::stoi(words[4]));
    const BuildId build =
        store::CreateJobBuild(transaction_, jobs_.at(words[2]),
                              {.created_by = {}, .manual = !original, .rerun_of = original});
    builds_[number] = build;
    numbers_[build] = number;
    originals_[build] = original;
    jobs_of_[build] = jobs_.at(words[2]);
  }

  bool Adopt(BuildId build) {
    if (const BuildId original = originals_.at(build)) {
      return store::AdoptRerunInputs(transaction_, build, original) == store::RerunInputs::kAdopted;
    }
    return store::AdoptNextInputs(transaction_, jobs_of_.at(build), build);
  }

  Had ParseHad(const std::string& word) {
    const auto equals = word.find('=');
    const auto at = word.find('@');
    const ResourceId resource = resources_.at(word.substr(equals + 1, at - equals - 1));
    return {word.substr(0, equals), resource,
            st::VersionNamed(transaction_, resource, word.substr(at + 1))};
  }

  void Put(BuildId build, const std::string& word) {
    const auto equals = word.find('=');
    const auto at = word.find('@');
    const ResourceId resource = resources_.at(word.substr(equals + 1, at - equals - 1));
    store::SavePut(transaction_, build, word.substr(0, equals), resource,
                   st::ScopeOf(transaction_, resource), {{"v", word.substr(at + 1)}}, {});
  }

  std::string Compare(const std::string& name, const std::string& upstream) {
    ++answers_;
    const JobId job = jobs_.at(name);
    const Resolution resolution =
        ResolveInputs(*MakeSqlVersions(transaction_, job), InputsOfJob(transaction_, job), limits_);
    store::SaveNextInputs(transaction_, job, ToNextInputs(resolution));
    const std::string ours = Text(resolution);
    // Where upstream's answer changes from one question to the next, any of them is right.
    std::string_view rest = upstream;
    while (true) {
      const auto bar = rest.find(" | ");
      if (rest.substr(0, bar) == ours) return "";
      if (bar == std::string_view::npos) break;
      rest.remove_prefix(bar + 3);
    }
    return "job " + name + "\n  upstream: " + upstream + "\n  ours:     " + ours;
  }

  std::string Text(const Resolution& resolution) {
    std::string text;
    for (const auto& [name, input] : resolution.inputs) {
      if (!text.empty()) text += " ";
      text += name;
      if (!input.error.empty()) {
        text += ": " + input.error;
        continue;
      }
      const auto version = store::FindVersion(transaction_, input.resource, input.version);
      text += "=" + (version ? store::ParseVersion(version->version).at("v") : "gone");
      if (input.first_occurrence) text += "*";
      std::set<int> sources;
      for (const BuildId build : input.sources)
        sources.insert(numbers_.at(build));
      for (auto source = sources.begin(); source != sources.end(); ++source)
        text += (source == sources.begin() ? "<" : ",") + std::to_string(*source);
    }
    return text + (resolution.has_next ? " +" : "");
  }

  Transaction& transaction_;
  const History& history_;
  ResolutionLimits limits_;
  PipelineId pipeline_;
  std::map<std::string, ResourceId> resources_;
  std::map<std::string, JobId> jobs_;
  std::map<int, BuildId> builds_;
  std::map<BuildId, int> numbers_;
  std::map<BuildId, BuildId> originals_;
  std::map<BuildId, JobId> jobs_of_;
  int answers_ = 0;
};

class UpstreamAnswersTest : public store::testing::DatabaseTest {
 protected:
  // Every `stride`th history.
  void ReplayAll(std::size_t stride, const ResolutionLimits& limits) {
    const char* only = std::getenv("PINION_SEED");
    const std::vector<History> histories = ReadHistories();
    int answers = 0;
    int differences = 0;
    for (std::size_t i = 0; i < histories.size(); i += only ? 1 : stride) {
      if (only && histories[i].seed != std::stoi(only)) continue;
      std::string difference;
      Write([&](Transaction& transaction) {
        Replay replay(transaction, histories[i], limits);
        difference = replay.Run();
        answers += replay.answers();
      });
      if (difference.empty()) continue;
      if (++differences <= 5) ADD_FAILURE() << difference;
    }
    EXPECT_EQ(differences, 0);
    if (only) return;
    EXPECT_GE(histories.size(), 1'000U);
    EXPECT_GE(answers, 10'000 / static_cast<int>(stride));
  }
};
PINION_FOR_EACH_DATABASE(UpstreamAnswersTest);

TEST_P(UpstreamAnswersTest, EveryAnswerIsUpstreams) {
  // SQL is the same text on both: a part is enough for PostgreSQL, which is slower.
  ReplayAll(GetParam() == store::Dialect::kSqlite ? 1 : 10, {});
}

TEST_P(UpstreamAnswersTest, PagesMakeNoDifference) {
  ReplayAll(10, {.page = 2});
}

}  // namespace
}  // namespace pinion::scheduling
