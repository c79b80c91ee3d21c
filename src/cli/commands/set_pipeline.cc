#include <algorithm>
#include <ostream>

#include "base/options.h"
#include "base/text.h"
#include "cli/commands/commands.h"
#include "cli/commands/options.h"
#include "cli/prompt.h"
#include "cli/table.h"
#include "cli/target.h"
#include "cli/template_options.h"
#include "cli/warnings.h"
#include "pipeline/diff.h"
#include "pipeline/format.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"
#include "pipeline/yaml.h"
#include "vars/variables.h"

namespace pinion::cli {
namespace {

struct SetPipelineOptions {
  bool non_interactive = false;
  bool no_color = false;
  bool dry_run = false;
  bool check_creds = false;
  std::string pipeline;
  std::string team;
  std::vector<std::string> instance_vars;
  TemplateOptions config;

  void AddTo(Options& options) {
    options.Add({.name = "non-interactive", .doc = "Do not ask", .short_name = 'n'},
                non_interactive);
    options.Add({.name = "no-color", .doc = "No colours"}, no_color);
    options.Add({.name = "dry-run", .doc = "Show the changes, apply none", .short_name = 'd'},
                dry_run);
    options.Add({.name = "check-creds", .doc = "Let the server look up all credentials first"},
                check_creds);
    options.Add(
        {.name = "pipeline", .doc = "Name of the pipeline", .short_name = 'p', .required = true},
        pipeline);
    config.AddTo(options, "Configuration; - is the standard input");
    options.Add({.name = "instance-var",
                 .doc = "Instance var of the pipeline, as YAML",
                 .short_name = 'i',
                 .value_name = "NAME=YAML"},
                instance_vars);
    AddTeam(options, team);
  }

  PipelineRef Ref() const {
    PipelineRef ref{pipeline, {}};
    vars::StaticVariables all;
    for (const std::string& pair : instance_vars) {
      const auto [name, value] = ParsePair(pair, "variable", "value");
      const auto reference = vars::Reference::Parse(name);
      if (!reference) throw CommandError(reference.error().message);
      all.Set(*reference, ParseYamlValue(value, "instance var " + name));
    }
    if (!all.empty()) ref.instance_vars = all.ToJson();
    return ref;
  }
};

struct Existing {
  pipeline::Pipeline config;
  std::string version;
};

Existing GetExisting(Target& target, const PipelineRef& ref) {
  const http::Response answer =
      target.api->Send({.path = target.PipelinePath(ref, "/config"), .query = ref.Query()});
  if (answer.status == 404) return {};
  Api::Check(answer);
  const auto json = ParseJson(answer.body, {.bytes = 64 << 20});
  if (!json) throw CommandError("the existing configuration: " + json.error().message);
  const Json* config = json->Find("config");
  Existing existing;
  existing.version = answer.headers.Get("X-Concourse-Config-Version");
  if (!config || config->IsNull()) return existing;
  auto read = pipeline::ConfigFromJson(*config);
  if (!read) throw CommandError("the existing configuration: " + read.error().message);
  existing.config = std::move(*read);
  return existing;
}

struct Saved {
  bool created = false;
  std::vector<ConfigWarning> warnings;
};

Saved SaveConfig(Target& target, const PipelineRef& ref, const std::string& version,
                 const std::string& yaml, bool check_creds) {
  Call call{.method = "PUT", .path = target.PipelinePath(ref, "/config"), .query = ref.Query()};
  if (check_creds) call.query.emplace_back("check_creds", "");
  call.body = yaml;
  call.content_type = "application/x-yaml";
  call.config_version = version;
  const http::Response answer = target.api->Send(call);
  if (answer.status == 401) throw NotAuthorized();
  if (answer.status == 403) Api::Check(answer);
  const auto json = ParseJson(answer.body);
  const bool readable = json && answer.headers.Get("Content-Type").starts_with("application/json");
  if (answer.status == 400 && readable) {
    std::string text = "invalid pipeline config:";
    const Json* errors = json->Find("errors");
    if (errors && errors->IsArray()) {
      for (const Json& error : errors->AsArray())
        text += "\n" + (error.IsString() ? error.AsString() : ToText(error));
    }
    throw CommandError(text);
  }
  if ((answer.status != 200 && answer.status != 201) || !readable) {
    throw UnexpectedAnswer(answer.status, StatusText(answer.status), answer.body);
  }
  return {answer.status == 201, WarningsOf(*json)};
}

/// The pipeline's object; null if there is none.
Json GetPipelineObject(Target& target, const PipelineRef& ref) {
  try {
    return target.api->AskJson({.path = target.PipelinePath(ref), .query = ref.Query()});
  } catch (const NotFoundAnswer&) {
    return {};
  }
}

void ShowName(Context& context, const PipelineRef& ref) {
  context.out << context.Bold("pipeline name: ") << ref.name << '\n';
  if (ref.instance_vars.IsObject()) {
    context.out << context.Bold("pipeline instance vars:") << '\n';
    const std::string yaml = pipeline::EmitYaml(ref.instance_vars);
    for (const std::string_view line : Split(Trim(yaml), '\n'))
      context.out << "  " << line << '\n';
  }
  context.out << '\n';
}

/// How the user would name the pipeline in a shell.
std::string ShellText(const PipelineRef& ref) {
  const std::string text = ref.Text();
  if (text.find('"') == std::string::npos) return text;
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + "\"";
}

void ShowResult(Context& context, const Target& target, const PipelineRef& ref,
                const SetPipelineOptions& given, bool created, bool paused) {
  if (created) {
    context.out << "pipeline created!\nyou can view your pipeline here: " << target.api->url()
                << Path("/teams/:team/pipelines/:pipeline", {target.team, ref.name})
                << QueryText(ref.Query()) << '\n';
  } else {
    context.out << "configuration updated\n";
  }
  if (!paused) return;
  context.out << "\nthe pipeline is currently paused. to unpause, either:\n"
              << "  - run the unpause-pipeline command:\n    " << context.program_name << " -t "
              << target.name << " unpause-pipeline -p " << ShellText(ref)
              << (given.team.empty() ? "" : " --team " + given.team) << '\n'
              << "  - click play next to the pipeline in the web ui\n";
}

std::vector<ConfigWarning> CheckNames(const SetPipelineOptions& given) {
  if (given.pipeline.find('/') != std::string::npos) {
    throw CommandError("pipeline name cannot contain '/'");
  }
  if (given.team.empty()) return {};
  const auto problem = pipeline::CheckIdentifier(given.team, "team");
  if (!problem) return {};
  if (problem->is_error) throw CommandError(problem->message);
  return {{"invalid_identifier", problem->message}};
}

}  // namespace

int SetPipeline(Context& context, const Command& command, const Words& words) {
  SetPipelineOptions given;
  Options options;
  given.AddTo(options);
  ParseWords(context, command, options, words);
  std::vector<ConfigWarning> warnings = CheckNames(given);
  if (given.no_color) context.colours = false;
  const PipelineRef ref = given.Ref();
  Target target = OpenTarget(context, given.team);

  const std::string yaml = given.config.Evaluate(ref.instance_vars, pipeline::kClientRules);
  const Existing existing = GetExisting(target, ref);
  const auto wanted = pipeline::ReadPipeline(yaml, pipeline::kClientRules);
  if (!wanted) throw CommandError(wanted.error().message);
  if (!wanted->issues.empty()) throw CommandError(pipeline::IssuesText(wanted->issues));
  for (const pipeline::Warning& warning : pipeline::Validate(wanted->pipeline).warnings)
    warnings.push_back({warning.type, warning.message});

  const std::string changes =
      pipeline::DiffText(existing.config, wanted->pipeline,
                         context.colours ? pipeline::Colour::kAnsi : pipeline::Colour::kNone);
  context.out << changes << std::flush;
  ShowWarnings(context, warnings);
  if (changes.empty()) {
    context.out << "no changes to apply\n";
    return 0;
  }
  ShowName(context, ref);
  if (given.dry_run) {
    context.out << "Dry-run mode was set, exiting.\n";
    return 0;
  }
  const Json before = GetPipelineObject(target, ref);
  if (before.IntegerAt("parent_job_id") != 0 && before.IntegerAt("parent_build_id") != 0) {
    context.out << Paint(
                       {"1;33", "0"},
                       "WARNING: pipeline has been configured through the 'set_pipeline' step, "
                       "your changes may be overwritten on the next 'set_pipeline' step execution",
                       context.colours)
                << "\n\n";
  }
  const bool from_stdin = given.config.config == "-";
  if (!given.non_interactive && !from_stdin && !Confirm(context, "apply configuration?")) {
    context.out << "bailing out\n";
    return 0;
  }
  const Saved saved = SaveConfig(target, ref, existing.version, yaml, given.check_creds);
  const Json after = GetPipelineObject(target, ref);
  ShowWarnings(context, saved.warnings);
  ShowResult(context, target, ref, given, saved.created, after.BoolAt("paused"));
  return 0;
}

}  // namespace pinion::cli
