#include <sys/stat.h>

#include <algorithm>
#include <ostream>

#include "base/files.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/target.h"
#include "cli/template_options.h"
#include "cli/warnings.h"
#include "pipeline/format.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"

namespace pinion::cli {
namespace {

/// The pipeline's configuration; nothing if there is no such pipeline.
std::optional<pipeline::Pipeline> GetConfig(Target& target, const PipelineRef& ref) {
  Json answer;
  try {
    answer =
        target.api->AskJson({.path = target.PipelinePath(ref, "/config"), .query = ref.Query()});
  } catch (const NotFoundAnswer&) {
    return std::nullopt;
  }
  const Json* config = answer.Find("config");
  if (!config || config->IsNull()) return pipeline::Pipeline();
  auto read = pipeline::ConfigFromJson(*config);
  if (!read) throw CommandError("the pipeline's configuration: " + read.error().message);
  return std::move(*read);
}

void PrintGroup(Context& context, const Target& target, const PipelineRef& ref,
                const std::string& name, const std::vector<std::string>& jobs) {
  context.out << "#- " << name << '\n';
  for (const std::string& job : jobs) {
    context.out << job << ": concourse.check " << target.api->url() << ' ' << target.team << ' '
                << ref.Text() << ' ' << job << '\n';
  }
  context.out << '\n';
}

}  // namespace

int GetPipeline(Context& context, const Command& command, const Words& words) {
  std::string name, team;
  bool json = false;
  Options options;
  AddPipeline(options, name);
  options.Add({.name = "json", .doc = "Print JSON in place of YAML", .short_name = 'j'}, json);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(name);
  Target target = OpenTarget(context, team);
  const auto config = GetConfig(target, ref);
  if (!config) throw CommandError("pipeline not found");
  context.out << (json ? ToText(pipeline::ConfigToJson(*config))
                       : pipeline::PipelineToYaml(*config));
  return 0;
}

int Checklist(Context& context, const Command& command, const Words& words) {
  std::string name, team;
  Options options;
  AddPipeline(options, name);
  AddTeam(options, team);
  ParseWords(context, command, options, words);
  const PipelineRef ref = ParsePipelineRef(name);
  Target target = OpenTarget(context, team);
  const pipeline::Pipeline config = GetConfig(target, ref).value_or(pipeline::Pipeline());
  std::vector<std::string> rest;
  for (const pipeline::Job& job : config.jobs)
    rest.push_back(job.name);
  for (const pipeline::Group& group : config.groups) {
    PrintGroup(context, target, ref, group.name, group.jobs);
    std::erase_if(rest, [&group](const std::string& job) {
      return std::ranges::find(group.jobs, job) != group.jobs.end();
    });
  }
  std::ranges::sort(rest);
  if (!rest.empty()) {
    PrintGroup(context, target, ref, config.groups.empty() ? ref.Text() : "misc", rest);
  }
  return 0;
}

int ValidatePipeline(Context& context, const Command& command, const Words& words) {
  TemplateOptions given;
  bool strict = false, output = false, across = false;
  Options options;
  given.AddTo(options, "Configuration; - is the standard input");
  options.Add({.name = "strict", .doc = "Unknown keys and warnings are errors", .short_name = 's'},
              strict);
  options.Add({.name = "output",
               .doc = "Print the configuration with its vars filled in",
               .short_name = 'o'},
              output);
  options.Add({.name = "enable-across-step", .doc = "Has no effect", .hidden = true}, across);
  ParseWords(context, command, options, words);

  // Repeated keys are found before the vars are filled in, unknown ones afterwards.
  const pipeline::ReadRules rules = strict ? pipeline::kStrictRules : pipeline::kClientRules;
  const std::string yaml = given.Evaluate({}, pipeline::kClientRules);
  const auto read = pipeline::ReadPipeline(yaml, rules);
  if (!read) throw CommandError(read.error().message);
  if (!read->issues.empty()) throw CommandError(pipeline::IssuesText(read->issues));
  const pipeline::Validation found = pipeline::Validate(read->pipeline);
  std::vector<ConfigWarning> warnings;
  for (const pipeline::Warning& warning : found.warnings)
    warnings.push_back({warning.type, warning.message});
  ShowWarnings(context, warnings);
  if (!found.ok()) ShowErrors(context, "Error loading existing config", found.ErrorTexts());
  if (!found.ok() || (strict && !warnings.empty())) throw CommandError("configuration invalid");
  context.out << (output ? yaml : "looks good") << '\n';
  return 0;
}

int FormatPipeline(Context& context, const Command& command, const Words& words) {
  std::string file;
  bool write = false;
  Options options;
  options.Add({.name = "config",
               .doc = "Configuration; - is the standard input",
               .short_name = 'c',
               .value_name = "FILE",
               .required = true},
              file);
  options.Add({.name = "write", .doc = "Write it back into the file", .short_name = 'w'}, write);
  ParseWords(context, command, options, words);
  const std::string path = ExpandPath(file);
  const auto text = ReadFile(path);
  if (!text) throw PlainError("could not read config file: " + text.error().message);
  const auto formatted = pipeline::FormatPipeline(*text);
  if (!formatted) throw PlainError("could not unmarshal config: " + formatted.error().message);
  if (!write) {
    context.out << *formatted;
    return 0;
  }
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0) {
    throw PlainError(SystemError("could not stat config file", errno).message);
  }
  const auto written = WriteFile(path, *formatted, status.st_mode & 07777);
  if (!written) {
    throw PlainError("could not write formatted config to " + path + ": " +
                     written.error().message);
  }
  return 0;
}

}  // namespace pinion::cli
