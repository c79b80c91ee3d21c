#include "cli/target.h"
#include "protocol/versions.h"

#include <array>
#include <charconv>
#include <ostream>

#include "base/text.h"

namespace pinion::cli {
namespace {

/// Major, minor and patch; nothing for what is no such version.
std::optional<std::array<int, 3>> ReleaseOf(std::string_view version) {
  const std::string_view release = version.substr(0, version.find_first_of("-+"));
  const auto parts = Split(release, '.');
  std::array<int, 3> numbers{};
  if (parts.size() != numbers.size()) return std::nullopt;
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    const auto parsed =
        std::from_chars(parts[i].data(), parts[i].data() + parts[i].size(), numbers[i]);
    if (parsed.ec != std::errc() || parsed.ptr != parts[i].data() + parts[i].size()) {
      return std::nullopt;
    }
  }
  return numbers;
}

bool IsDevelopment(std::string_view version) {
  return version.find("dev") != version.npos;
}

}  // namespace

std::string Target::TeamPath(std::string_view pattern, std::vector<std::string> parameters) const {
  parameters.insert(parameters.begin(), team);
  return Path("/api/v1/teams/:team" + std::string(pattern), parameters);
}

std::string Target::PipelinePath(const PipelineRef& ref, std::string_view pattern,
                                 std::vector<std::string> parameters) const {
  parameters.insert(parameters.begin(), ref.name);
  return TeamPath("/pipelines/:pipeline" + std::string(pattern), std::move(parameters));
}

Json Target::Info() {
  if (info_.IsNull()) info_ = api->AskJson({.path = "/api/v1/info"});
  return info_;
}

void Target::UseTeam(const std::string& wanted) {
  if (wanted.empty()) return;
  const http::Response answer = api->Send({.path = Path("/api/v1/teams/:team", {wanted})});
  if (answer.status == 403) throw CommandError("you do not have a role on team '" + wanted + "'");
  if (answer.status == 404) throw CommandError("team '" + wanted + "' does not exist");
  Api::Check(answer);
  const auto json = ParseJson(answer.body);
  if (!json) throw CommandError("the team '" + wanted + "': " + json.error().message);
  found_team_ = *json;
  team = json->StringAt("name", wanted);
}

Connection ConnectionOf(const SavedTarget& saved) {
  return {.url = saved.api,
          .token = saved.token,
          .ca_certificates = saved.ca_cert,
          .client_cert_path = saved.client_cert_path,
          .client_key_path = saved.client_key_path,
          .insecure = saved.insecure};
}

SavedTarget RequireTarget(const Context& context) {
  if (context.target.empty()) throw NoTarget();
  FlyRc file(FlyRcPath(context.environment));
  file.Load();
  const auto found = file.targets.find(context.target);
  if (found == file.targets.end()) {
    std::vector<std::string_view> names;
    for (const auto& [name, saved] : file.targets)
      names.push_back(name);
    const std::string_view nearest = Nearest(context.target, names);
    throw CommandError("unknown target: " + context.target +
                       (nearest.empty() ? "" : " (did you mean " + std::string(nearest) + "?)"));
  }
  return found->second;
}

Target LoadTarget(Context& context, bool with_token) {
  const SavedTarget saved = RequireTarget(context);
  Connection connection = ConnectionOf(saved);
  if (!with_token) connection.token.reset();
  Target target;
  target.name = context.target;
  target.team = saved.team;
  target.api = std::make_unique<Api>(context, std::move(connection));
  return target;
}

void CheckVersion(Context& context, Target& target, bool only_warn) {
  const Json info = target.Info();
  const std::string theirs(info.StringAt("version"));
  if (theirs == protocol::kConcourseVersion || IsDevelopment(theirs)) return;
  const auto server = ReleaseOf(theirs);
  if (!server) throw CommandError("the server's version '" + theirs + "' cannot be read");
  const auto own = *ReleaseOf(protocol::kConcourseVersion);
  const std::string text = "fly version (" + context.Bold(protocol::kConcourseVersion) +
                           ") is out of sync with the target (" + context.Bold(theirs) +
                           "). to sync up, run the following:\n\n    " + context.program_name +
                           " -t " + target.name + " sync\n";
  const bool near = (*server)[0] == own[0] && (*server)[1] == own[1];
  if (!only_warn && !near) throw VersionDiffers(text);
  if (*server != own) {
    context.err << context.Warn("WARNING:\n") << '\n' << context.Warn(text) << '\n';
  }
}

Target OpenTarget(Context& context) {
  Target target = LoadTarget(context);
  CheckVersion(context, target, false);
  return target;
}

Target OpenTarget(Context& context, const std::string& team) {
  Target target = OpenTarget(context);
  target.UseTeam(team);
  return target;
}

}  // namespace pinion::cli
