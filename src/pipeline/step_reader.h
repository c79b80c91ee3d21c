#pragma once

#include <string>
#include <vector>

#include "pipeline/model.h"
#include "pipeline/value_reader.h"

namespace pinion::pipeline {

/// Reads steps and task configs. Private to the readers of this module.
class StepReader {
 public:
  StepReader(std::vector<Issue>& issues, SourceMap& sources)
      : values_(issues, false), sources_(sources) {}

  /// `path` is where messages of validation say the step is: "jobs.unit.plan.do[0]".
  void Read(const Node& node, const std::string& path, Step& out);
  /// The keys of a task that mean nothing are added to `unknown`.
  void ReadTaskConfig(const Node& node, const std::string& path, protocol::TaskConfig& out,
                      std::vector<std::string>& unknown);

 private:
  class Keys;

  void ReadModifiers(Keys& keys, const std::string& path, Step& out);
  /// False if the step has no core.
  bool ReadCore(Keys& keys, const std::string& path, Step& out);
  void ReadGet(Keys& keys, const std::string& path, Step& out);
  void ReadPut(Keys& keys, const std::string& path, Step& out);
  void ReadTask(Keys& keys, const std::string& path, Step& out);
  void ReadRun(Keys& keys, const std::string& path, Step& out);
  void ReadSetPipeline(Keys& keys, const std::string& path, Step& out);
  void ReadLoadVar(Keys& keys, const std::string& path, Step& out);
  void ReadInParallel(Keys& keys, const std::string& path, Step& out);
  void ReadSteps(const Node& node, const std::string& path, std::vector<Step>& out);
  void ReadAcross(Keys& keys, const std::string& path, Across& out);
  void ReadVersion(const Node& node, const std::string& path, std::optional<VersionSelector>& out);
  void ReadInputs(const Node& node, const std::string& path, Json& out);
  void ReadLimits(const Node& node, const std::string& path,
                  std::optional<protocol::ContainerLimits>& out);
  void ReadEnvironment(const Node& node, const std::string& path,
                       std::map<std::string, std::string>& out);
  void ReadImageResource(const Node& node, const std::string& path,
                         std::optional<protocol::ImageResource>& out);
  void ReadCache(const Node& node, const std::string& path, protocol::TaskCache& out);

  ValueReader values_;
  SourceMap& sources_;
};

}  // namespace pinion::pipeline
