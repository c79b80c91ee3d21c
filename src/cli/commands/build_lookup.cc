#include "cli/commands/build_lookup.h"

#include <csignal>
#include <ostream>

#include "base/encoding.h"
#include "base/text.h"
#include "cli/interrupts.h"

namespace pinion::cli {
namespace {

/// The query of the next page, from the Link header; empty at the end.
std::string NextPage(const http::Response& response) {
  for (const auto& [name, value] : response.headers) {
    if (ToLower(name) != "link" || value.find("rel=\"next\"") == std::string::npos) continue;
    for (const std::string_view link : Split(value, ',')) {
      const std::size_t mark = link.find('?');
      const std::size_t end = link.find('>');
      if (link.find("rel=\"next\"") == std::string_view::npos || mark == std::string_view::npos ||
          end == std::string_view::npos || end < mark) {
        continue;
      }
      return std::string(link.substr(mark + 1, end - mark - 1));
    }
  }
  return {};
}

Json NewestWithoutJob(Target& target) {
  std::string page = "limit=100";
  while (!page.empty()) {
    Call call{.path = "/api/v1/builds"};
    const auto query = http::Query::Parse(page);
    if (!query) throw CommandError(query.error().message);
    for (const auto& [name, value] : *query)
      call.query.emplace_back(name, value);
    const http::Response answer = target.api->Ask(call);
    const auto builds = ParseJson(answer.body);
    if (!builds || !builds->IsArray()) throw CommandError("the list of builds cannot be read");
    for (const Json& build : builds->AsArray()) {
      if (build.StringAt("job_name").empty()) return build;
    }
    page = NextPage(answer);
  }
  throw CommandError("no builds match job");
}

}  // namespace

std::int64_t ParseNumber(const std::string& text, std::string_view what) {
  const auto value = pinion::ParseNumber(text);
  if (!value) throw CommandError("'" + text + "' is no " + std::string(what));
  return *value;
}

Call JobCall(const Target& target, const PartRef& job, std::string method, std::string_view pattern,
             std::vector<std::string> parameters) {
  parameters.insert(parameters.begin(), job.name);
  Call call;
  call.method = std::move(method);
  call.path =
      target.PipelinePath(job.pipeline, "/jobs/:job" + std::string(pattern), std::move(parameters));
  call.query = job.pipeline.Query();
  return call;
}

Json FindBuild(Target& target, const std::optional<PartRef>& job, const std::string& build) {
  if (!build.empty()) {
    try {
      if (job) return target.api->AskJson(JobCall(target, *job, "GET", "/builds/:build", {build}));
      return target.api->AskJson({.path = Path("/api/v1/builds/:id", {build})});
    } catch (const NotFoundAnswer&) {
      throw CommandError("build not found");
    }
  }
  if (!job) return NewestWithoutJob(target);
  Json found;
  try {
    found = target.api->AskJson(JobCall(target, *job, "GET", ""));
  } catch (const NotFoundAnswer&) {
    throw CommandError("job not found");
  }
  for (const char* member : {"next_build", "finished_build"}) {
    const Json* candidate = found.Find(member);
    if (candidate && candidate->IsObject()) return *candidate;
  }
  throw CommandError("job has no builds");
}

std::string PageUrl::Part(const std::string& name) const {
  const auto found = parts.find(name);
  return found == parts.end() ? "" : found->second;
}

PageUrl ParsePageUrl(const std::string& url) {
  PageUrl page;
  const std::size_t scheme = url.find("://");
  if (scheme == std::string::npos) throw CommandError("'" + url + "' is no URL");
  const std::string_view whole = std::string_view(url).substr(0, url.find('#'));
  const std::size_t path = whole.find('/', scheme + 3);
  page.origin = whole.substr(0, path);
  if (path == std::string_view::npos) return page;
  std::string_view rest = whole.substr(path + 1);
  if (const std::size_t mark = rest.find('?'); mark != std::string_view::npos) {
    page.query = rest.substr(mark + 1);
    rest = rest.substr(0, mark);
  }
  const auto words = Split(rest, '/');
  for (std::size_t i = 0; i + 1 < words.size(); i += 2) {
    page.parts[std::string(words[i])] = PercentDecode(words[i + 1]).value_or("");
  }
  return page;
}

int WatchDetachable(Context& context, Target& target, const PartRef& job, const Json& build) {
  context.out << '\n';
  std::stop_source stop;
  const Interrupts interrupts(target.api->loop(), {SIGINT, SIGTERM},
                              [&stop](int) { stop.request_stop(); });
  try {
    return WatchBuild(context, target, build.IntegerAt("id"), {}, stop.get_token());
  } catch (const Cancelled&) {
    context.err << "\ndetached, build is still running...\nre-attach to it with:\n\n    "
                << context.Bold(context.program_name + " -t " + context.target + " watch -j " +
                                job.Text() + " -b " + std::string(build.StringAt("name")))
                << "\n\n";
    return 2;
  }
}

}  // namespace pinion::cli
