#pragma once

#include <set>
#include <string>
#include <vector>

#include "pipeline/job_graph.h"
#include "pipeline/validate.h"

namespace pinion::pipeline {

/// Holds the steps of one job to the rules. Private to validate.cc.
class StepValidator {
 public:
  /// `job` is how messages call it: "jobs.unit".
  StepValidator(const Pipeline& pipeline, const JobGraph& graph, const SourceMap* sources,
                const std::string& job, std::vector<Issue>& issues, std::vector<Warning>& warnings);

  void ValidateJob(const Job& job);

 private:
  class Part;

  void Validate(const Step& step);
  void ValidateHook(std::string_view name, const Box<Step>& hook);
  void ValidateInner(const Step& step);
  void DeclareVars(const Across& across);
  void ValidateCore(const GetStep& step);
  void ValidateCore(const PutStep& step);
  void ValidateCore(const TaskStep& step);
  void ValidateCore(const RunStep& step);
  void ValidateCore(const SetPipelineStep& step);
  void ValidateCore(const LoadVarStep& step);
  void ValidateCore(const TryStep& step);
  void ValidateCore(const DoStep& step);
  void ValidateCore(const InParallelStep& step);
  void ValidatePassed(const GetStep& step);

  /// Warnings about names are errors where `strict`.
  void ValidateName(const std::string& name, bool strict = false);
  void DeclareVar(const std::string& name);

  std::string Path() const;
  void Error(const std::string& message);
  void Warn(std::string type, std::string message);

  const Pipeline& pipeline_;
  const JobGraph& graph_;
  const SourceMap* sources_;
  std::vector<Issue>& issues_;
  std::vector<Warning>& warnings_;
  std::vector<std::string> parts_;  // of the path
  std::set<std::string> gets_;
  std::vector<std::set<std::string>> var_scopes_;
};

}  // namespace pinion::pipeline
