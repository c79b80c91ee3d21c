#include <ctime>

#include "api/handlers.h"
#include "api/login_page.h"
#include "store/database.h"
#include "store/jobs_view.h"

/// Badges and the summary that desktop build monitors read.
namespace pinion::api {

namespace {

struct Badge {
  std::string_view text;
  std::string_view colour;
  int width;
};

Badge BadgeOf(std::string_view status) {
  if (status == "succeeded") return {"passing", "#44cc11", 88};
  if (status == "failed") return {"failing", "#e05d44", 80};
  if (status == "aborted") return {"aborted", "#8f4b2d", 90};
  if (status == "errored") return {"errored", "#fe7d37", 88};
  return {"unknown", "#9f9f9f", 98};
}

/// A label in two halves, 20 pixels high; the left half is 37 pixels wide or as wide as its title.
std::string BadgeSvg(const Badge& badge, std::string_view title) {
  const int left = title == "build" ? 37 : 12 + 7 * static_cast<int>(title.size());
  const int right = badge.width - 37;
  const int width = left + right;
  const auto text = [](double x, std::string_view words) {
    std::string at = std::to_string(x);
    at.resize(at.find('.') + 2);
    const std::string escaped = EscapeHtml(words);
    return "<text x=\"" + at + "\" y=\"15\" fill=\"#010101\" fill-opacity=\".3\">" + escaped +
           "</text><text x=\"" + at + "\" y=\"14\">" + escaped + "</text>";
  };
  const std::string w = std::to_string(width);
  const std::string l = std::to_string(left);
  return "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
         "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"" +
         w +
         "\" height=\"20\" role=\"img\">"
         "<clipPath id=\"c\"><rect width=\"" +
         w +
         "\" height=\"20\" rx=\"3\"/></clipPath>"
         "<g clip-path=\"url(#c)\"><rect width=\"" +
         w +
         "\" height=\"20\" fill=\"#555\"/>"
         "<rect x=\"" +
         l + "\" width=\"" + std::to_string(right) + "\" height=\"20\" fill=\"" +
         std::string(badge.colour) +
         "\"/></g>"
         "<g fill=\"#fff\" text-anchor=\"middle\" font-size=\"11\""
         " font-family=\"DejaVu Sans,Verdana,Geneva,sans-serif\">" +
         text(left / 2.0, title) + text(left + right / 2.0, badge.text) + "</g></svg>\n";
}

http::Response BadgeAnswer(const Call& call, std::string_view status) {
  const auto title = call.query.Get("title");
  http::Response response;
  response.headers.Set("Content-Type", "image/svg+xml");
  response.headers.Set("Cache-Control", "no-cache, no-store, must-revalidate");
  response.headers.Set("Expires", "0");
  response.body =
      BadgeSvg(BadgeOf(status), title && !title->empty() ? title->substr(0, 100) : "build");
  return response;
}

std::string XmlTime(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string_view XmlStatus(std::string_view status) {
  if (status == "succeeded") return "Success";
  if (status == "failed") return "Failure";
  return "Exception";
}

/// main/deploy/branch:main/unit: instance vars stand in the name, so that monitors tell instances
/// apart.
std::string ProjectName(const store::JobView& job) {
  std::string name = job.pipeline_name;
  const auto vars = ParseJson(job.instance_vars);
  if (vars && vars->IsObject()) {
    std::string text;
    for (const auto& [key, value] : vars->AsObject()) {
      if (!text.empty()) text += ',';
      text += key + ":" + (value.IsString() ? value.AsString() : ToText(value));
    }
    name += "/" + text;
  }
  return name + "/" + job.name;
}

}  // namespace

Task<Answer> JobBadge(Call& call) {
  auto work = [&call](store::Transaction& t) {
    return store::ViewJob(t, call.pipeline.id, call.Param("job_name"));
  };
  const auto job = co_await call.database().Read(store::Pool::kApi, work);
  if (!job) co_return EmptyAnswer(404);
  co_return BadgeAnswer(call, job->finished_build ? job->finished_build->status : "");
}

Task<Answer> PipelineBadge(Call& call) {
  auto work = [pipeline = call.pipeline.id](store::Transaction& t) {
    return store::ViewJobs(t, pipeline);
  };
  const auto jobs = co_await call.database().Read(store::Pool::kApi, work);
  for (const std::string_view worst : {"failed", "errored", "aborted", "succeeded"}) {
    for (const auto& job : jobs) {
      if (job.finished_build && job.finished_build->status == worst) {
        co_return BadgeAnswer(call, worst);
      }
    }
  }
  co_return BadgeAnswer(call, "");
}

Task<Answer> MainJobBadge(Call& call) {
  auto response = EmptyAnswer(301);
  response.headers.Set(
      "Location", "/api/v1/teams/main/" + std::string(call.exchange.request().Path().substr(8)));
  co_return response;
}

Task<Answer> GetCC(Call& call) {
  const bool all = call.MayIn(call.team.name);
  // One team's, whoever asks; what is not public only for those who may.
  auto work = [team = call.team.id](store::Transaction& t) {
    return store::ViewAllJobs(t, {.teams = {team}, .public_too = false});
  };
  const auto jobs = co_await call.database().Read(store::Pool::kApi, work);
  std::string xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Projects>";
  for (const auto& job : jobs) {
    if (!job.finished_build || (!all && !job.pipeline_public)) continue;
    const std::string url = call.services.settings.external_url + "/teams/" + job.team_name +
                            "/pipelines/" + job.pipeline_name + "/jobs/" + job.name;
    xml += "<Project activity=\"" + std::string(job.next_build ? "Building" : "Sleeping") +
           "\" lastBuildLabel=\"" + EscapeHtml(job.finished_build->name) + "\" lastBuildStatus=\"" +
           std::string(XmlStatus(job.finished_build->status)) + "\" lastBuildTime=\"" +
           XmlTime(job.finished_build->end_time) + "\" name=\"" + EscapeHtml(ProjectName(job)) +
           "\" webUrl=\"" + EscapeHtml(url) + "\"/>";
  }
  xml += "</Projects>\n";
  http::Response response;
  response.headers.Set("Content-Type", "application/xml");
  response.body = std::move(xml);
  co_return response;
}

}  // namespace pinion::api
