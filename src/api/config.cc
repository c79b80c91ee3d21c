#include "api/handlers.h"
#include "api/instance_vars.h"
#include "api/present/convert.h"
#include "base/text.h"
#include "pipeline/reader.h"
#include "pipeline/validate.h"
#include "store/database.h"
#include "store/pipeline_layout.h"

/// Getting and setting pipelines.
namespace pinion::api {

namespace {

constexpr std::string_view kVersionHeader = "X-Concourse-Config-Version";

http::Response Refused(std::vector<std::string> errors) {
  return JsonOf(400, present::SaveConfigResponse{.errors = std::move(errors)});
}

/// A configuration that was read and holds to all rules, or why not.
struct Checked {
  store::NewPipeline rows;
  std::vector<present::ConfigWarning> warnings;
  std::vector<std::string> errors;
};

void CheckName(const std::string& name, std::string_view what, Checked& checked) {
  const auto problem = pipeline::CheckIdentifier(name, what);
  if (!problem) return;
  if (problem->is_error) {
    checked.errors.push_back(problem->message);
  } else {
    checked.warnings.push_back({.type = "invalid_identifier", .message = problem->message});
  }
}

/// Reads and checks; long for large pipelines, so not on the loop.
Checked Check(const std::string& text, const std::string& team, const std::string& name,
              const std::string& instance_vars) {
  Checked checked;
  auto parsed = pipeline::ReadPipeline(text);
  if (!parsed) {
    checked.errors.push_back("malformed config: " + parsed.error().message);
    return checked;
  }
  if (!parsed->issues.empty()) {
    checked.errors.push_back("malformed config: " + pipeline::IssuesText(parsed->issues));
    return checked;
  }
  const auto validation = pipeline::Validate(parsed->pipeline);
  checked.errors = validation.ErrorTexts();
  for (const auto& warning : validation.warnings) {
    checked.warnings.push_back({.type = warning.type, .message = warning.message});
  }
  if (checked.errors.empty()) CheckName(name, "pipeline", checked);
  if (checked.errors.empty()) CheckName(team, "team", checked);
  if (checked.errors.empty()) checked.rows = store::LayOut(parsed->pipeline, name, instance_vars);
  return checked;
}

struct Saved {
  bool created = false;
  bool no_team = false;
};

}  // namespace

Task<Answer> SaveConfig(Call& call) {
  const http::Request& request = call.exchange.request();
  std::int64_t version = 0;
  if (const auto text = request.headers.Get(kVersionHeader); !text.empty()) {
    const auto number = ParseNumber(text);
    if (!number) co_return Refused({"config version is malformed: expected integer"});
    version = *number;
  }
  const std::string_view type = request.headers.Get("Content-Type");
  if (type != "application/json" && type != "application/x-yaml") co_return EmptyAnswer(415);
  const std::string text = co_await ReadText(call, call.services.settings.config_bytes_max);
  const auto vars = InstanceVarsOf(call.query);

  auto check = [&call, &text, &vars] {
    return Check(text, call.Param("team_name"), call.Param("pipeline_name"), vars.value_or(""));
  };
  const Checked checked = co_await call.database().threads(store::Pool::kApi).Run(check);
  if (!checked.errors.empty()) co_return Refused(checked.errors);
  if (!vars) co_return Refused({"instance vars are malformed: " + vars.error().message});

  auto work = [&call, &checked, version](store::Transaction& t) {
    call.SignAs(t);
    const auto team = store::FindTeam(t, call.Param("team_name"));
    if (!team) return Saved{.no_team = true};
    const auto saved =
        store::SavePipeline(t, team->id, checked.rows, {.expected_version = version});
    return Saved{.created = saved.created};
  };
  Saved saved;
  std::optional<std::string> conflict;
  try {
    saved = co_await call.database().Write(store::Pool::kApi, work);
  } catch (const Failure& failure) {
    if (failure.error().kind != ErrorKind::kConflict) throw;
    conflict = failure.error().message;
  }
  if (conflict) co_return TextAnswer(500, "failed to save config: " + *conflict);
  if (saved.no_team) co_return EmptyAnswer(404);
  co_return JsonOf(saved.created ? 201 : 200,
                   present::SaveConfigResponse{.warnings = checked.warnings});
}

Task<Answer> GetConfig(Call& call) {
  if (call.pipeline.archived) co_return EmptyAnswer(404);
  struct Found {
    std::string config;
    std::int64_t version = 0;
  };
  auto work = [pipeline = call.pipeline.id](store::Transaction& t) {
    // Both of one moment: what the version stands for is what was read.
    const auto row = store::FindPipelineById(t, pipeline);
    if (!row || row->archived) throw Failure(ErrorKind::kNotFound, "the pipeline is gone");
    return Found{store::PipelineConfigText(t, pipeline), row->config_version};
  };
  const Found found = co_await call.database().Read(store::Pool::kApi, work);
  http::Response response;
  response.headers.Set("Content-Type", "application/json");
  response.headers.Set(kVersionHeader, std::to_string(found.version));
  response.body = "{\"config\":" + found.config + "}\n";
  co_return response;
}

}  // namespace pinion::api
