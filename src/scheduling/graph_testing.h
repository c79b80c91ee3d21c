#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scheduling/inputs.h"
#include "store/database.h"

/// For tests: small pipelines with their history, written as text.
///
///   versions repo: 1 2 3                      oldest first
///   disable repo 2
///   job deploy: repo passed build,test trigger; image every; config=repo pinned 1
///   build build 1: repo@3 >image@7 from 4,5   number, what it had, what it put, who vouched
///   build build 2 failed: repo@3              succeeded unless it says failed or pending
///   build build 3 rerun 1: repo@3
///
/// An input `name=resource` is named otherwise than its resource; in builds `name=repo@3` too.
namespace pinion::scheduling::testing {

struct GraphBuild {
  int number = 0;
  std::string job;
  std::string status = "succeeded";
  int rerun_of = 0;
  struct Had {
    std::string name;
    std::string resource;
    std::string version;
  };
  std::vector<Had> inputs;
  std::vector<Had> outputs;
  std::vector<int> pipes;
};

struct GraphInput {
  std::string name;
  std::string resource;
  std::vector<std::string> passed;
  bool every = false;
  bool trigger = false;
  std::string pinned;
};

struct Graph {
  std::vector<std::string> resources;
  std::map<std::string, std::vector<std::string>> versions;
  std::map<std::string, std::vector<std::string>> disabled;
  std::vector<std::string> jobs;
  std::map<std::string, std::vector<GraphInput>> inputs;
  std::vector<GraphBuild> builds;  ///< numbers grow
};

/// Throws std::runtime_error that names the line.
Graph ParseGraph(std::string_view text);
/// The text that ParseGraph reads, for messages.
std::string GraphText(const Graph& graph);

/// A graph with ids, to resolve on: where it lies decides the subclass.
class PlacedGraph {
 public:
  virtual ~PlacedGraph() = default;
  /// "image=7 repo=3*" in order of names, * for a first occurrence; "repo: reason" for what is not
  /// found; "+" at the end if `every` has more.
  std::string Resolve(const std::string& job, const ResolutionLimits& limits = {});
  virtual Resolution ResolveRaw(const std::string& job, const ResolutionLimits& limits) = 0;
  std::vector<InputConfig> Inputs(const std::string& job) const;

  Graph graph;
  std::map<std::string, ResourceId> resource_ids;
  std::map<std::string, JobId> job_ids;
  std::map<std::pair<std::string, std::string>, VersionId> version_ids;
  std::map<int, BuildId> build_ids;
};

/// In memory.
std::unique_ptr<PlacedGraph> PlaceInMemory(Graph graph);
/// In a database, as a pipeline of its own.
std::unique_ptr<PlacedGraph> PlaceInDatabase(Graph graph, store::Database& database,
                                             const std::string& pipeline);

}  // namespace pinion::scheduling::testing
