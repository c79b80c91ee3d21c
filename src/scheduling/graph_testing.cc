#include "scheduling/graph_testing.h"

#include <algorithm>
#include <sstream>
#include <stdexcept>

#include "base/text.h"
#include "scheduling/sql_versions.h"
#include "store/builds.h"
#include "store/scheduling_testing.h"
#include "store/versions.h"

namespace pinion::scheduling::testing {
namespace {

std::vector<std::string> Words(std::string_view text) {
  std::istringstream stream{std::string(text)};
  std::vector<std::string> words;
  for (std::string word; stream >> word;)
    words.push_back(word);
  return words;
}

void AddOnce(std::vector<std::string>& list, const std::string& name) {
  if (std::ranges::find(list, name) == list.end()) list.push_back(name);
}

GraphInput ParseInput(std::string_view text) {
  const auto words = Words(text);
  GraphInput input;
  const auto equals = words.at(0).find('=');
  input.name = words[0].substr(0, equals);
  input.resource = equals == std::string::npos ? input.name : words[0].substr(equals + 1);
  for (std::size_t i = 1; i < words.size(); ++i) {
    if (words[i] == "every") {
      input.every = true;
    } else if (words[i] == "trigger") {
      input.trigger = true;
    } else if (words[i] == "pinned") {
      input.pinned = words.at(++i);
    } else if (words[i] == "passed") {
      for (const auto job : Split(words.at(++i), ','))
        input.passed.emplace_back(job);
    } else {
      throw std::runtime_error("unknown word " + words[i]);
    }
  }
  return input;
}

void ParseBuild(const std::vector<std::string>& head, const std::vector<std::string>& body,
                Graph& graph) {
  GraphBuild build;
  build.job = head.at(1);
  build.number = std::stoi(head.at(2));
  for (std::size_t i = 3; i < head.size(); ++i) {
    if (head[i] == "rerun") {
      build.rerun_of = std::stoi(head.at(++i));
    } else {
      build.status = head[i];
    }
  }
  for (std::size_t i = 0; i < body.size(); ++i) {
    std::string word = body[i];
    if (word == "from") {
      for (const auto number : Split(body.at(++i), ',')) {
        build.pipes.push_back(std::stoi(std::string(number)));
      }
      continue;
    }
    const bool put = word.front() == '>';
    if (put) word.erase(0, 1);
    const auto at = word.find('@');
    std::string resource = word.substr(0, at);
    std::string name = resource;
    if (const auto equals = resource.find('='); equals != std::string::npos) {
      name = resource.substr(0, equals);
      resource.erase(0, equals + 1);
    }
    (put ? build.outputs : build.inputs).push_back({name, resource, word.substr(at + 1)});
  }
  AddOnce(graph.jobs, build.job);
  graph.builds.push_back(std::move(build));
}

void ParseLine(std::string_view line, Graph& graph) {
  const auto colon = line.find(':');
  const auto head = Words(line.substr(0, colon));
  const std::string_view rest = colon == std::string_view::npos ? "" : line.substr(colon + 1);
  if (head.at(0) == "versions") {
    AddOnce(graph.resources, head.at(1));
    graph.versions[head[1]] = Words(rest);
  } else if (head[0] == "disable") {
    graph.disabled[head.at(1)].push_back(head.at(2));
  } else if (head[0] == "job") {
    AddOnce(graph.jobs, head.at(1));
    for (const auto part : Split(rest, ';')) {
      if (!Trim(part).empty()) graph.inputs[head[1]].push_back(ParseInput(part));
    }
    for (const GraphInput& input : graph.inputs[head[1]]) {
      for (const auto& job : input.passed)
        AddOnce(graph.jobs, job);
      AddOnce(graph.resources, input.resource);
    }
  } else if (head[0] == "build") {
    ParseBuild(head, Words(rest), graph);
  } else {
    throw std::runtime_error("unknown word " + head[0]);
  }
}

// --- In memory -----------------------------------------------------------------------------------

class MemoryVersions final : public VersionsSource {
 public:
  explicit MemoryVersions(const PlacedGraph& placed) : placed_(placed) {
    for (const auto& [name, id] : placed.resource_ids)
      names_[id] = name;
    for (const GraphBuild& build : placed.graph.builds)
      by_id_[Id(build)] = &build;
  }

  std::optional<VersionId> LatestVersion(ResourceId resource) override {
    return Last(resource, [](std::size_t) { return true; });
  }
  std::optional<VersionId> FindPinned(ResourceId resource,
                                      const protocol::Version& version) override {
    const auto found = placed_.version_ids.find({names_.at(resource), version.at("v")});
    if (found == placed_.version_ids.end()) return std::nullopt;
    return found->second;
  }
  bool IsDisabled(ResourceVersion version) override {
    const auto disabled = placed_.graph.disabled.find(names_.at(version.resource));
    if (disabled == placed_.graph.disabled.end()) return false;
    return std::ranges::any_of(disabled->second, [&](const std::string& name) {
      return placed_.version_ids.at({disabled->first, name}) == version.version;
    });
  }
  bool Exists(ResourceVersion version) override {
    return std::ranges::any_of(placed_.version_ids, [&](const auto& entry) {
      return entry.first.first == names_.at(version.resource) && entry.second == version.version;
    });
  }
  std::optional<NextVersion> NextEveryVersion(JobId job, ResourceId resource) override {
    const auto used = NewestUsed(job, resource);
    if (!used) {
      const auto latest = LatestVersion(resource);
      if (!latest) return std::nullopt;
      return NextVersion{*latest, false};
    }
    std::optional<NextVersion> next;
    for (std::size_t i = *used + 1; i < History(resource).size(); ++i) {
      if (IsDisabled({resource, At(resource, i)})) continue;
      if (next) {
        next->has_next = true;
        return next;
      }
      next = NextVersion{At(resource, i), false};
    }
    if (next) return next;
    const auto before = Last(resource, [&](std::size_t i) { return i <= *used; });
    if (!before) return std::nullopt;
    return NextVersion{*before, false};
  }
  bool IsFirstOccurrence(JobId job, const std::string& input, ResourceVersion version) override {
    return std::ranges::none_of(placed_.graph.builds, [&](const GraphBuild& build) {
      return placed_.job_ids.at(build.job) == job &&
             std::ranges::any_of(build.inputs, [&](const auto& had) {
               return had.name == input && Version(had) == version;
             });
    });
  }
  std::optional<BuildId> LatestBuildUsingLatestVersion(JobId job, ResourceId resource) override {
    const auto used = NewestUsed(job, resource);
    if (!used) return std::nullopt;
    std::optional<BuildId> newest;
    for (const GraphBuild& build : placed_.graph.builds) {
      if (Uses(build, job, {resource, At(resource, *used)})) newest = Id(build);
    }
    return newest;
  }
  std::map<JobId, BuildCursor> Pipes(BuildId build) override {
    std::map<JobId, BuildCursor> pipes;
    std::vector<int> numbers = by_id_.at(build)->pipes;
    std::ranges::sort(numbers);
    for (const int number : numbers) {
      const GraphBuild& from = *by_id_.at(placed_.build_ids.at(number));
      pipes[placed_.job_ids.at(from.job)] = Cursor(from);
    }
    return pipes;
  }
  const std::vector<ResourceVersion>& Outputs(BuildId build) override {
    auto [found, fresh] = outputs_.try_emplace(build);
    if (!fresh) return found->second;
    std::map<ResourceId, std::vector<ResourceVersion>> all;
    for (const auto* list : {&by_id_.at(build)->outputs, &by_id_.at(build)->inputs}) {
      for (const auto& had : *list) {
        auto& versions = all[Version(had).resource];
        if (std::ranges::find(versions, Version(had)) == versions.end()) {
          versions.push_back(Version(had));
        }
      }
    }
    for (const auto& [resource, versions] : all) {
      found->second.insert(found->second.end(), versions.begin(), versions.end());
    }
    return found->second;
  }
  std::vector<BuildCursor> SucceededBuilds(JobId job, std::optional<BuildCursor> before,
                                           bool inclusive, std::optional<ResourceVersion> having,
                                           std::size_t limit) override {
    std::vector<BuildCursor> builds = Succeeded(job);
    std::erase_if(builds, [&](const BuildCursor& build) {
      if (before && !(build < *before) && !(inclusive && build == *before)) return true;
      if (!having) return false;
      const auto& outputs = Outputs(build.build);
      return std::ranges::find(outputs, *having) == outputs.end();
    });
    std::ranges::reverse(builds);
    if (builds.size() > limit) builds.resize(limit);
    return builds;
  }
  std::vector<BuildCursor> NewerBuilds(JobId job, BuildCursor cursor) override {
    std::vector<BuildCursor> builds = Succeeded(job);
    std::erase_if(builds, [&](const BuildCursor& build) {
      return !(cursor < build) || (!cursor.rerun_of && build.group() == cursor.build);
    });
    return builds;
  }

 private:
  BuildId Id(const GraphBuild& build) const { return placed_.build_ids.at(build.number); }
  BuildCursor Cursor(const GraphBuild& build) const {
    return {Id(build), build.rerun_of == 0 ? BuildId{} : placed_.build_ids.at(build.rerun_of)};
  }
  ResourceVersion Version(const GraphBuild::Had& had) const {
    return {placed_.resource_ids.at(had.resource),
            placed_.version_ids.at({had.resource, had.version})};
  }
  const std::vector<std::string>& History(ResourceId resource) const {
    static const std::vector<std::string> kNone;
    const auto found = placed_.graph.versions.find(names_.at(resource));
    return found == placed_.graph.versions.end() ? kNone : found->second;
  }
  VersionId At(ResourceId resource, std::size_t index) const {
    return placed_.version_ids.at({names_.at(resource), History(resource)[index]});
  }
  template <class Condition>
  std::optional<VersionId> Last(ResourceId resource, Condition condition) {
    for (std::size_t i = History(resource).size(); i-- > 0;) {
      if (condition(i) && !IsDisabled({resource, At(resource, i)})) return At(resource, i);
    }
    return std::nullopt;
  }
  bool Uses(const GraphBuild& build, JobId job, ResourceVersion version) const {
    return placed_.job_ids.at(build.job) == job &&
           std::ranges::any_of(build.inputs,
                               [&](const auto& had) { return Version(had) == version; });
  }
  std::optional<std::size_t> NewestUsed(JobId job, ResourceId resource) const {
    for (std::size_t i = History(resource).size(); i-- > 0;) {
      for (const GraphBuild& build : placed_.graph.builds) {
        if (Uses(build, job, {resource, At(resource, i)})) return i;
      }
    }
    return std::nullopt;
  }
  std::vector<BuildCursor> Succeeded(JobId job) {
    std::vector<BuildCursor> builds;
    for (const GraphBuild& build : placed_.graph.builds) {
      if (placed_.job_ids.at(build.job) != job || build.status != "succeeded") continue;
      if (!Outputs(Id(build)).empty()) builds.push_back(Cursor(build));
    }
    std::ranges::sort(builds, [](const auto& a, const auto& b) { return a < b; });
    return builds;
  }

  const PlacedGraph& placed_;
  std::map<ResourceId, std::string> names_;
  std::map<BuildId, const GraphBuild*> by_id_;
  std::map<BuildId, std::vector<ResourceVersion>> outputs_;
};

class MemoryGraph final : public PlacedGraph {
 public:
  Resolution ResolveRaw(const std::string& job, const ResolutionLimits& limits) override {
    MemoryVersions source(*this);
    return ResolveInputs(source, Inputs(job), limits);
  }
};

class DatabaseGraph final : public PlacedGraph {
 public:
  explicit DatabaseGraph(store::Database& database) : database_(database) {}
  Resolution ResolveRaw(const std::string& job, const ResolutionLimits& limits) override {
    Resolution resolution;
    database_.Run(store::Pool::kEngine, false, [&](store::Transaction& t) {
      resolution = ResolveInputs(*MakeSqlVersions(t, job_ids.at(job)), Inputs(job), limits);
    });
    return resolution;
  }

 private:
  store::Database& database_;
};

void PlaceBuild(store::Transaction& t, const GraphBuild& build, PlacedGraph& placed) {
  std::optional<BuildId> original;
  if (build.rerun_of != 0) original = placed.build_ids.at(build.rerun_of);
  const BuildId id = store::CreateJobBuild(
      t, placed.job_ids.at(build.job),
      {.created_by = {}, .manual = false, .rerun_of = original.value_or(BuildId{})});
  placed.build_ids[build.number] = id;
  for (const auto& had : build.inputs) {
    store::SaveBuildInput(t, id, had.name, placed.resource_ids.at(had.resource),
                          placed.version_ids.at({had.resource, had.version}), false);
  }
  for (const auto& had : build.outputs) {
    store::SaveBuildOutput(t, id, had.name, placed.resource_ids.at(had.resource),
                           placed.version_ids.at({had.resource, had.version}));
  }
  for (const int from : build.pipes) {
    t.Execute("insert into build_pipes (to_build_id, from_build_id) values ($1, $2)",
              {id, placed.build_ids.at(from)});
  }
  t.Execute("update builds set inputs_ready = 1 where id = $1", {id});
  if (build.status == "pending") return;
  store::FinishBuild(t, id, store::ParseBuildStatus(build.status));
}

void PlaceAll(store::Transaction& t, const std::string& pipeline_name, PlacedGraph& placed) {
  namespace st = store::testing;
  const PipelineId pipeline =
      st::AddPipeline(t, st::AddTeam(t, "team of " + pipeline_name), pipeline_name);
  for (const auto& name : placed.graph.resources) {
    placed.resource_ids[name] = st::AddResource(t, pipeline, name);
    for (const auto& version : placed.graph.versions[name]) {
      placed.version_ids[{name, version}] = st::AddVersion(t, placed.resource_ids[name], version);
    }
    for (const auto& version : placed.graph.disabled[name]) {
      store::SetVersionEnabled(t, placed.resource_ids[name], placed.version_ids.at({name, version}),
                               false);
    }
  }
  for (const auto& name : placed.graph.jobs)
    placed.job_ids[name] = st::AddJob(t, pipeline, name);
  for (const auto& [job, inputs] : placed.graph.inputs) {
    for (const GraphInput& input : inputs) {
      std::vector<JobId> passed;
      for (const auto& name : input.passed)
        passed.push_back(placed.job_ids.at(name));
      const std::string version = !input.pinned.empty() ? R"({"v":")" + input.pinned + R"("})"
                                  : input.every         ? "every"
                                                        : "";
      st::AddInput(
          t, placed.job_ids.at(job),
          {input.name, placed.resource_ids.at(input.resource), passed, input.trigger, version});
    }
  }
  for (const GraphBuild& build : placed.graph.builds)
    PlaceBuild(t, build, placed);
}

}  // namespace

Graph ParseGraph(std::string_view text) {
  Graph graph;
  int number = 0;
  for (std::string_view line : Split(text, '\n')) {
    ++number;
    line = Trim(line.substr(0, line.find('#')));
    if (line.empty()) continue;
    try {
      ParseLine(line, graph);
    } catch (const std::exception& error) {
      throw std::runtime_error("line " + std::to_string(number) + ": " + error.what());
    }
  }
  return graph;
}

std::string GraphText(const Graph& graph) {
  std::ostringstream out;
  for (const auto& resource : graph.resources) {
    out << "versions " << resource << ":";
    if (const auto found = graph.versions.find(resource); found != graph.versions.end()) {
      for (const auto& version : found->second)
        out << " " << version;
    }
    out << "\n";
    if (const auto found = graph.disabled.find(resource); found != graph.disabled.end()) {
      for (const auto& version : found->second)
        out << "disable " << resource << " " << version << "\n";
    }
  }
  for (const auto& [job, inputs] : graph.inputs) {
    out << "job " << job << ":";
    for (const GraphInput& input : inputs) {
      out << " " << input.name << "=" << input.resource;
      for (std::size_t i = 0; i < input.passed.size(); ++i) {
        out << (i == 0 ? " passed " : ",") << input.passed[i];
      }
      if (input.every) out << " every";
      if (!input.pinned.empty()) out << " pinned " << input.pinned;
      out << ";";
    }
    out << "\n";
  }
  for (const GraphBuild& build : graph.builds) {
    out << "build " << build.job << " " << build.number << " " << build.status;
    if (build.rerun_of != 0) out << " rerun " << build.rerun_of;
    out << ":";
    for (const auto& had : build.inputs)
      out << " " << had.name << "=" << had.resource << "@" << had.version;
    for (const auto& had : build.outputs)
      out << " >" << had.name << "=" << had.resource << "@" << had.version;
    for (std::size_t i = 0; i < build.pipes.size(); ++i)
      out << (i == 0 ? " from " : ",") << build.pipes[i];
    out << "\n";
  }
  return out.str();
}

std::vector<InputConfig> PlacedGraph::Inputs(const std::string& job) const {
  std::vector<InputConfig> inputs;
  for (const GraphInput& input : graph.inputs.at(job)) {
    InputConfig config;
    config.name = input.name;
    config.resource = resource_ids.at(input.resource);
    config.job = job_ids.at(job);
    for (const auto& name : input.passed)
      config.passed.insert(job_ids.at(name));
    config.every = input.every;
    config.trigger = input.trigger;
    if (!input.pinned.empty()) config.pinned = protocol::Version{{"v", input.pinned}};
    inputs.push_back(std::move(config));
  }
  std::ranges::sort(inputs, {}, &InputConfig::name);
  return inputs;
}

std::string PlacedGraph::Resolve(const std::string& job, const ResolutionLimits& limits) {
  const Resolution resolution = ResolveRaw(job, limits);
  std::map<std::pair<ResourceId, VersionId>, std::string> names;
  for (const auto& [key, id] : version_ids)
    names[{resource_ids.at(key.first), id}] = key.second;
  std::string text;
  for (const auto& [name, input] : resolution.inputs) {
    if (!text.empty()) text += " ";
    if (!input.error.empty()) {
      text += name + ": " + input.error;
      continue;
    }
    text += name + "=" + names.at({input.resource, input.version});
    if (input.first_occurrence) text += "*";
  }
  if (resolution.has_next) text += " +";
  return text;
}

std::unique_ptr<PlacedGraph> PlaceInMemory(Graph graph) {
  auto placed = std::make_unique<MemoryGraph>();
  std::int64_t id = 0;
  for (const auto& name : graph.resources)
    placed->resource_ids[name] = ResourceId{++id};
  for (const auto& name : graph.jobs)
    placed->job_ids[name] = JobId{++id};
  for (const auto& [resource, versions] : graph.versions) {
    for (const auto& version : versions)
      placed->version_ids[{resource, version}] = VersionId{++id};
  }
  for (const GraphBuild& build : graph.builds)
    placed->build_ids[build.number] = BuildId{++id};
  placed->graph = std::move(graph);
  return placed;
}

std::unique_ptr<PlacedGraph> PlaceInDatabase(Graph graph, store::Database& database,
                                             const std::string& pipeline) {
  auto placed = std::make_unique<DatabaseGraph>(database);
  placed->graph = std::move(graph);
  database.Run(store::Pool::kEngine, true,
               [&](store::Transaction& t) { PlaceAll(t, pipeline, *placed); });
  return placed;
}

}  // namespace pinion::scheduling::testing
