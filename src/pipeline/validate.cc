#include "pipeline/validate.h"

#include <algorithm>
#include <map>
#include <set>
#include <unordered_map>
#include <utility>

#include "base/text.h"
#include "pipeline/glob.h"
#include "pipeline/job_graph.h"
#include "pipeline/step_validator.h"
#include "pipeline/url.h"

namespace pinion::pipeline {
namespace {

std::string At(std::string_view section, std::size_t index) {
  return std::string(section) + "[" + std::to_string(index) + "]";
}

class Validator {
 public:
  Validator(const Pipeline& pipeline, const SourceMap* sources)
      : pipeline_(pipeline), sources_(sources), graph_(pipeline) {}

  Validation Run() {
    Group("groups", [this] { Groups(); });
    Group("resources", [this] { Resources(); });
    Group("resource types", [this] { Types("resource_types", pipeline_.resource_types); });
    Group("prototypes", [this] { Types("prototypes", pipeline_.prototypes); });
    Group("variable sources", [this] { VarSources(); });
    Group("jobs", [this] { Jobs(); });
    Group("display config", [this] { DisplayConfig(); });
    Group("jobs", [this] { Cycle(); });
    return std::move(result_);
  }

 private:
  template <class Check>
  void Group(std::string_view name, Check check) {
    issues_.clear();
    check();
    if (!issues_.empty()) {
      result_.errors.push_back({std::string(name), std::move(issues_)});
    }
  }

  Position Find(const std::string& path) const {
    return sources_ ? sources_->Find(path) : Position();
  }

  void Error(const std::string& path, std::string message) {
    issues_.push_back({Find(path), path, std::move(message)});
  }

  void Warn(std::string type, const std::string& path, std::string message) {
    result_.warnings.push_back({std::move(type), std::move(message), Find(path)});
  }

  /// What messages call a part: by its name, or by its place if it has none.
  std::string Name(std::string_view section, std::size_t index, const std::string& name) {
    const std::string place = At(section, index);
    const std::string subject = name.empty() ? place : std::string(section) + "." + name;
    if (const auto problem = CheckIdentifier(name, subject)) {
      if (problem->is_error) {
        Error(place, problem->message);
      } else {
        Warn("invalid_identifier", place, problem->message);
      }
    }
    return subject;
  }

  using Seen = std::map<std::string, std::string>;  // name to place

  void NameIsNew(Seen& seen, const std::string& place, const std::string& name) {
    if (name.empty()) return;
    const auto [other, added] = seen.try_emplace(name, place);
    if (!added) {
      Error(place, other->second + " and " + place + " have the same name ('" + name + "')");
    }
  }

  template <class Item>
  void NameAndType(std::string_view section, const std::vector<Item>& items, Seen& seen) {
    for (std::size_t i = 0; i < items.size(); ++i) {
      const Item& item = items[i];
      const std::string place = At(section, i);
      const std::string subject = Name(section, i, item.name);
      NameIsNew(seen, place, item.name);
      if (item.name.empty()) Error(place, subject + " has no name");
      if (item.type.empty()) Error(place, subject + " has no type");
    }
  }

  void Groups() {
    std::set<std::string> grouped;
    std::map<std::string, int> counts;
    for (std::size_t i = 0; i < pipeline_.groups.size(); ++i) {
      const pipeline::Group& group = pipeline_.groups[i];
      Name("groups", i, group.name);
      ++counts[group.name];
      for (const std::string& pattern : group.jobs)
        GroupJobs(i, pattern, grouped);
      for (const std::string& resource : group.resources) {
        if (!graph_.HasResource(resource)) {
          Error(At("groups", i),
                "group '" + group.name + "' has unknown resource '" + resource + "'");
        }
      }
    }
    for (const auto& [name, count] : counts) {
      if (count > 1) {
        Error("groups." + name, "group '" + name + "' appears " + std::to_string(count) +
                                    " times; a name can be used once only");
      }
    }
    if (pipeline_.groups.empty()) return;
    for (const Job& job : pipeline_.jobs) {
      if (!grouped.contains(job.name)) {
        grouped.insert(job.name);
        Error("jobs." + job.name, "job '" + job.name + "' belongs to no group");
      }
    }
  }

  void GroupJobs(std::size_t index, const std::string& pattern, std::set<std::string>& grouped) {
    const std::string& name = pipeline_.groups[index].name;
    const auto glob = Glob::ForGroup(pattern);
    if (!glob) {
      Error(At("groups", index), "invalid glob '" + pattern + "' for group '" + name + "'");
      return;
    }
    bool matched = false;
    for (const Job& job : pipeline_.jobs) {
      if (!glob->Matches(job.name)) continue;
      matched = true;
      grouped.insert(job.name);
    }
    if (!matched) {
      Error(At("groups", index), "no jobs match '" + pattern + "' for group '" + name + "'");
    }
  }

  void Resources() {
    Seen seen;
    NameAndType("resources", pipeline_.resources, seen);
    for (std::size_t i = 0; i < pipeline_.resources.size(); ++i) {
      const std::string& name = pipeline_.resources[i].name;
      if (!graph_.IsUsed(name)) Error(At("resources", i), "resource '" + name + "' is not used");
    }
  }

  template <class Type>
  void Types(std::string_view section, const std::vector<Type>& types) {
    NameAndType(section, types, types_seen_);
  }

  void VarSources() {
    Seen seen;
    for (std::size_t i = 0; i < pipeline_.var_sources.size(); ++i) {
      const VarSource& source = pipeline_.var_sources[i];
      const std::string place = At("var_sources", i);
      Name("var_sources", i, source.name);
      NameIsNew(seen, place, source.name);
      for (std::string& problem : ValidateVarSource(source))
        Error(place, std::move(problem));
    }
    const auto ordered = OrderVarSources(pipeline_.var_sources);
    if (!ordered) Error("var_sources", ordered.error().message);
  }

  void Jobs() {
    if (pipeline_.jobs.empty()) {
      Error("jobs", "jobs: pipeline must contain at least one job");
      return;
    }
    Seen seen;
    for (std::size_t i = 0; i < pipeline_.jobs.size(); ++i) {
      const Job& job = pipeline_.jobs[i];
      const std::string place = At("jobs", i);
      const std::string subject = Name("jobs", i, job.name);
      NameIsNew(seen, place, job.name);
      if (job.name.empty()) Error(place, subject + " has no name");
      Retention(job, place, subject);
      StepValidator steps(pipeline_, graph_, sources_, subject, issues_, result_.warnings);
      steps.ValidateJob(job);
    }
  }

  void Retention(const Job& job, const std::string& place, const std::string& subject) {
    if (job.build_logs_to_retain != 0) {
      Warn("deprecated_field", place,
           subject + ".build_logs_to_retain is deprecated: use build_log_retention");
    }
    if (job.build_log_retention && job.build_logs_to_retain != 0) {
      Error(place, subject + " can't use both build_log_retention and build_logs_to_retain");
    } else if (job.build_logs_to_retain < 0) {
      Error(place, subject + " has negative build_logs_to_retain: " +
                       std::to_string(job.build_logs_to_retain));
    }
    if (!job.build_log_retention) return;
    const BuildLogRetention& retention = *job.build_log_retention;
    const auto negative = [&](std::string_view name, int value) {
      if (value < 0) {
        Error(place, subject + " has negative build_log_retention." + std::string(name) + ": " +
                         std::to_string(value));
      }
    };
    negative("builds", retention.builds);
    negative("days", retention.days);
    negative("min_success_builds", retention.minimum_succeeded_builds);
    if (retention.builds > 0 && retention.minimum_succeeded_builds > retention.builds) {
      Error(place,
            subject + " has build_log_retention.min_success_builds: " +
                std::to_string(retention.minimum_succeeded_builds) +
                " greater than build_log_retention.builds: " + std::to_string(retention.builds));
    }
  }

  void DisplayConfig() {
    if (!pipeline_.display) return;
    const std::string& image = pipeline_.display->background_image;
    const auto scheme = UrlScheme(image);
    if (!scheme) {
      Error("display", "background_image is not a valid URL: " + image);
    } else if (*scheme != "https" && *scheme != "http" && !scheme->empty()) {
      Error("display", "background_image scheme must be http or https, or the URL relative");
    }
  }

  void Cycle() {
    if (const auto job = graph_.FindCycle()) {
      Error("jobs." + *job, "pipeline contains a cycle that starts at Job '" + *job + "'");
    }
  }

  const Pipeline& pipeline_;
  const SourceMap* sources_;
  const JobGraph graph_;
  Seen types_seen_;  // resource types and prototypes share their names
  std::vector<Issue> issues_;
  Validation result_;
};

}  // namespace

std::string ErrorGroup::Text() const {
  std::string text = "invalid " + name + ":\n";
  for (const Issue& issue : issues) {
    for (const std::string_view line : Split(issue.message, '\n')) {
      text.append("\t").append(line);
    }
    if (issue.at) {
      text += " (line " + std::to_string(issue.at.line) + ", column " +
              std::to_string(issue.at.column) + ")";
    }
    text += '\n';
  }
  return text;
}

std::vector<std::string> Validation::ErrorTexts() const {
  std::vector<std::string> texts;
  for (const ErrorGroup& group : errors)
    texts.push_back(group.Text());
  return texts;
}

Validation Validate(const Pipeline& pipeline, const SourceMap* sources) {
  return Validator(pipeline, sources).Run();
}

std::vector<std::string> ValidateTaskConfig(const protocol::TaskConfig& config) {
  std::vector<std::string> problems;
  if (config.platform.empty()) problems.emplace_back("missing 'platform'");
  for (std::size_t i = 0; i < config.inputs.size(); ++i) {
    if (config.inputs[i].name.empty()) {
      problems.push_back("  input in position " + std::to_string(i) + " is missing a name");
    }
  }
  for (std::size_t i = 0; i < config.outputs.size(); ++i) {
    if (config.outputs[i].name.empty()) {
      problems.push_back("  output in position " + std::to_string(i) + " is missing a name");
    }
  }
  return problems;
}

}  // namespace pinion::pipeline
