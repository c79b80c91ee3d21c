#include "pipeline/step_validator.h"

#include <algorithm>
#include <utility>

#include "base/units.h"

namespace pinion::pipeline {

/// A part of the path while something is looked at.
class StepValidator::Part {
 public:
  Part(StepValidator& validator, std::string text) : parts_(validator.parts_) {
    parts_.push_back(std::move(text));
  }
  Part(const Part&) = delete;
  Part& operator=(const Part&) = delete;
  ~Part() { parts_.pop_back(); }

 private:
  std::vector<std::string>& parts_;
};

namespace {

std::string Index(std::size_t index) {
  return "[" + std::to_string(index) + "]";
}

std::string QuotedList(const std::vector<std::string>& names) {
  std::string text = "[";
  for (const std::string& name : names) {
    if (text.size() > 1) text += ' ';
    AppendQuoted(text, name);
  }
  return text + "]";
}

}  // namespace

StepValidator::StepValidator(const Pipeline& pipeline, const JobGraph& graph,
                             const SourceMap* sources, const std::string& job,
                             std::vector<Issue>& issues, std::vector<Warning>& warnings)
    : pipeline_(pipeline),
      graph_(graph),
      sources_(sources),
      issues_(issues),
      warnings_(warnings),
      parts_{job, ".plan"},
      var_scopes_(1) {}

std::string StepValidator::Path() const {
  std::string path;
  for (const std::string& part : parts_)
    path += part;
  return path;
}

void StepValidator::Error(const std::string& message) {
  std::string path = Path();
  const Position at = sources_ ? sources_->Find(path) : Position();
  std::string text = path + ": " + message;
  issues_.push_back({at, std::move(path), std::move(text)});
}

void StepValidator::Warn(std::string type, std::string message) {
  const Position at = sources_ ? sources_->Find(Path()) : Position();
  warnings_.push_back({std::move(type), std::move(message), at});
}

void StepValidator::ValidateJob(const Job& job) {
  {
    Part part(*this, ".do");
    for (std::size_t i = 0; i < job.plan.size(); ++i) {
      Part item(*this, Index(i));
      Validate(job.plan[i]);
    }
  }
  ValidateHook(".on_success", job.on_success);
  ValidateHook(".on_failure", job.on_failure);
  ValidateHook(".on_abort", job.on_abort);
  ValidateHook(".on_error", job.on_error);
  ValidateHook(".ensure", job.ensure);
}

void StepValidator::Validate(const Step& step) {
  if (step.unknown_fields.IsObject()) {
    std::vector<std::string> names;
    for (const auto& [name, value] : step.unknown_fields.AsObject())
      names.push_back(name);
    Error("unknown fields " + QuotedList(names));
  }
  if (step.across) {
    Part part(*this, ".across");
    var_scopes_.emplace_back();
    DeclareVars(*step.across);
    ValidateInner(step);
    var_scopes_.pop_back();
  } else {
    ValidateInner(step);
  }
  ValidateHook(".on_success", step.on_success);
  ValidateHook(".on_failure", step.on_failure);
  ValidateHook(".on_abort", step.on_abort);
  ValidateHook(".on_error", step.on_error);
  ValidateHook(".ensure", step.ensure);
}

void StepValidator::ValidateHook(std::string_view name, const Box<Step>& hook) {
  if (!hook) return;
  Part part(*this, std::string(name));
  Validate(*hook);
}

void StepValidator::ValidateInner(const Step& step) {
  std::visit([this](const auto& core) { ValidateCore(core); }, step.core);
  if (step.timeout) {
    Part part(*this, ".timeout");
    if (!ParseDuration(*step.timeout)) Error("invalid duration '" + *step.timeout + "'");
  }
  if (step.attempts) {
    Part part(*this, ".attempts");
    if (*step.attempts <= 0) Error("must be greater than 0");
  }
}

void StepValidator::DeclareVars(const Across& across) {
  if (across.vars.empty()) Error("no vars specified");
  for (std::size_t i = 0; i < across.vars.size(); ++i) {
    Part item(*this, Index(i));
    DeclareVar(across.vars[i].var);
    Part limit(*this, ".max_in_flight");
    const Json& value = across.vars[i].max_in_flight;
    if (value.IsInteger() && value.AsInteger() <= 0) Error("must be greater than 0");
  }
}

void StepValidator::ValidateName(const std::string& name, bool strict) {
  // Names of tasks and pipelines right below across may be made of its vars.
  const std::string& last = parts_.back();
  const bool may_be_made =
      last.find("set_pipeline") != std::string::npos || last.find("task") != std::string::npos;
  if (!name.empty() && may_be_made && parts_[parts_.size() - 2] == ".across") return;
  const auto problem = CheckIdentifier(name, Path());
  if (!problem) return;
  if (problem->is_error || strict) {
    Error(problem->message);
  } else {
    Warn("invalid_identifier", problem->message);
  }
}

void StepValidator::DeclareVar(const std::string& name) {
  const auto declares = [&](const std::set<std::string>& scope) { return scope.contains(name); };
  if (declares(var_scopes_.back())) {
    Error("repeated var name");
  } else if (std::ranges::any_of(var_scopes_, declares)) {
    Warn("var_shadowed", Path() + ": shadows local var '" + name + "'");
  }
  var_scopes_.back().insert(name);
}

void StepValidator::ValidateCore(const GetStep& step) {
  Part part(*this, ".get(" + step.name + ")");
  ValidateName(step.name);
  if (!gets_.insert(step.name).second) Error("repeated name");
  if (!graph_.HasResource(step.ResourceName())) {
    Error("unknown resource '" + step.ResourceName() + "'");
  }
  ValidatePassed(step);
}

void StepValidator::ValidatePassed(const GetStep& step) {
  Part part(*this, ".passed");
  for (const std::string& pattern : step.passed) {
    const auto jobs = graph_.Matching(pattern);
    if (jobs.empty()) Error("no matching job(s) for '" + pattern + "'");
    for (const std::size_t job : jobs) {
      if (!graph_.JobUses(job, step.ResourceName())) {
        Error("job '" + pipeline_.jobs[job].name + "' does not interact with resource '" +
              step.ResourceName() + "'");
      }
    }
  }
}

void StepValidator::ValidateCore(const PutStep& step) {
  Part part(*this, ".put(" + step.name + ")");
  ValidateName(step.name);
  if (!graph_.HasResource(step.ResourceName())) {
    Error("unknown resource '" + step.ResourceName() + "'");
  }
}

void StepValidator::ValidateCore(const TaskStep& step) {
  Part part(*this, ".task(" + step.name + ")");
  ValidateName(step.name);
  if (!step.config && step.file.empty()) Error("must specify either `file:` or `config:`");
  if (step.config && !step.file.empty()) {
    Error("must specify one of `file:` or `config:`, not both");
  }
  const bool image_in_config =
      step.config && (!step.config->rootfs_uri.empty() || step.config->image_resource);
  if (image_in_config && !step.image.empty()) {
    Warn("pipeline", Path() + ": the step's image: wins over the image of its config");
  }
  if (step.hermetic) {
    Warn("pipeline", Path() + ": `hermetic:` works only on workers with the containerd runtime");
  }
  if (!step.config) return;
  Part config(*this, ".config");
  if (!step.unknown_config_fields.empty()) {
    Error("unknown fields " + QuotedList(step.unknown_config_fields));
  }
  for (const std::string& problem : ValidateTaskConfig(*step.config))
    Error(problem);
}

void StepValidator::ValidateCore(const RunStep& step) {
  Part part(*this, ".run(" + step.type + "." + step.message + ")");
  // Prototypes must not be written for messages that no identifier names.
  ValidateName(step.message, true);
  const bool known = std::ranges::any_of(
      pipeline_.prototypes, [&](const Prototype& type) { return type.name == step.type; });
  if (!known) Error("unknown prototype '" + step.type + "'");
}

void StepValidator::ValidateCore(const SetPipelineStep& step) {
  Part part(*this, ".set_pipeline(" + step.name + ")");
  ValidateName(step.name);
  if (step.file.empty()) Error("no file specified");
}

void StepValidator::ValidateCore(const LoadVarStep& step) {
  Part part(*this, ".load_var(" + step.name + ")");
  ValidateName(step.name);
  DeclareVar(step.name);
  if (step.file.empty()) Error("no file specified");
}

void StepValidator::ValidateCore(const TryStep& step) {
  Part part(*this, ".try");
  if (step.step) Validate(*step.step);
}

void StepValidator::ValidateCore(const DoStep& step) {
  Part part(*this, ".do");
  for (std::size_t i = 0; i < step.steps.size(); ++i) {
    Part item(*this, Index(i));
    Validate(step.steps[i]);
  }
}

void StepValidator::ValidateCore(const InParallelStep& step) {
  Part part(*this, ".in_parallel");
  for (std::size_t i = 0; i < step.steps.size(); ++i) {
    Part item(*this, ".steps" + Index(i));
    Validate(step.steps[i]);
  }
}

}  // namespace pinion::pipeline
