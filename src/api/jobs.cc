#include "store/jobs.h"
#include "api/handlers.h"
#include "api/paging.h"
#include "api/present/convert.h"
#include "api/present/job.h"
#include "api/session.h"
#include "store/builds_view.h"
#include "store/database.h"
#include "store/jobs_view.h"
#include "store/resources.h"
#include "store/versions.h"
#include "store/volumes.h"

namespace pinion::api {

namespace {

std::optional<present::BuildSummary> ToSummary(const store::JobView& job,
                                               const std::optional<store::BuildBrief>& build) {
  if (!build) return std::nullopt;
  return present::SummaryOf(*build, job.team_name, job.pipeline, job.pipeline_name,
                            job.instance_vars, job.name);
}

present::JobHead ToJobHead(const store::JobView& job) {
  return {.id = job.id.value,
          .name = job.name,
          .team_name = job.team_name,
          .pipeline_id = job.pipeline.value,
          .pipeline_name = job.pipeline_name,
          .pipeline_instance_vars = present::StoredJson(job.instance_vars),
          .paused = job.paused,
          .paused_by = job.paused_by,
          .paused_at = job.paused_at,
          .has_new_inputs = job.has_new_inputs,
          .groups = job.groups};
}

}  // namespace

present::JobSummary ToJobSummary(const store::JobView& job) {
  present::JobSummary summary{ToJobHead(job)};
  summary.finished_build = ToSummary(job, job.finished_build);
  summary.next_build = ToSummary(job, job.next_build);
  summary.transition_build = ToSummary(job, job.transition_build);
  for (const auto& input : job.inputs) {
    summary.inputs.push_back({input.name, input.resource, input.passed, input.trigger});
  }
  for (const auto& output : job.outputs)
    summary.outputs.push_back({output.name, output.resource});
  return summary;
}

namespace {

/// A job with its two builds in full.
struct JobDetail {
  store::JobView view;
  std::optional<store::BuildRow> next;
  std::optional<store::BuildRow> finished;
};

present::Job ToJob(const JobDetail& detail, bool with_comment) {
  const store::JobView& view = detail.view;
  present::Job job{ToJobHead(view)};
  job.disable_manual_trigger = view.disable_manual_trigger;
  job.disable_reruns = view.disable_reruns;
  if (detail.next) job.next_build = present::ToBuild(*detail.next, with_comment);
  if (detail.finished) job.finished_build = present::ToBuild(*detail.finished, with_comment);
  for (const auto& input : view.inputs) {
    job.inputs.push_back({input.name, input.resource, input.trigger, input.passed});
  }
  for (const auto& output : view.outputs)
    job.outputs.push_back({output.name, output.resource});
  return job;
}

store::JobRow JobOf(store::Transaction& transaction, const Call& call) {
  auto job = store::FindJobByName(transaction, call.pipeline.id, call.Param("job_name"));
  if (!job || !job->active) {
    throw Failure(ErrorKind::kNotFound, "job '" + call.Param("job_name") + "' not found");
  }
  return std::move(*job);
}

bool Flag(const store::JobRow& job, std::string_view name) {
  const auto config = ParseJson(job.config);
  return config && config->BoolAt(name);
}

}  // namespace

Task<Answer> ListAllJobs(Call& call) {
  std::shared_ptr<const ListText> list = co_await call.session.job_list().Read(call.Visible());
  co_await AnswerList(call, std::move(list));
  co_return std::nullopt;
}

Task<Answer> ListJobs(Call& call) {
  auto work = [pipeline = call.pipeline.id](store::Transaction& t) {
    return store::ViewJobs(t, pipeline);
  };
  const auto jobs = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(jobs, ToJobSummary));
}

Task<Answer> GetJob(Call& call) {
  auto work = [&call](store::Transaction& t) -> std::optional<JobDetail> {
    auto view = store::ViewJob(t, call.pipeline.id, call.Param("job_name"));
    if (!view) return std::nullopt;
    JobDetail detail{.view = std::move(*view)};
    if (detail.view.next_build) detail.next = store::FindBuild(t, detail.view.next_build->id);
    if (detail.view.finished_build) {
      detail.finished = store::FindBuild(t, detail.view.finished_build->id);
    }
    return detail;
  };
  const auto detail = co_await call.database().Read(store::Pool::kApi, work);
  if (!detail) co_return EmptyAnswer(404);
  const bool with_comment = detail->view.is_public || call.MayIn(call.pipeline.team_name);
  co_return JsonOf(200, ToJob(*detail, with_comment));
}

Task<Answer> ListJobBuilds(Call& call) {
  const PageRequest page = PageOf(call.query);
  auto work = [&call, page](store::Transaction& t) {
    const auto job = JobOf(t, call);
    return std::pair(ListPage(t, {.job = job.id}, page), store::IsJobPublic(t, job.id));
  };
  const auto [list, is_public] = co_await ReadPage(call, work);
  const bool with_comment = is_public || call.MayIn(call.pipeline.team_name);
  co_return BuildListAnswer(call, list, page, with_comment);
}

Task<Answer> GetJobBuild(Call& call) {
  struct Found {
    std::optional<store::BuildRow> build;
    bool is_public = false;
  };
  auto work = [&call](store::Transaction& t) {
    const auto job = JobOf(t, call);
    return Found{store::FindJobBuild(t, job.id, call.Param("build_name")),
                 store::IsJobPublic(t, job.id)};
  };
  const Found found = co_await call.database().Read(store::Pool::kApi, work);
  if (!found.build) co_return EmptyAnswer(404);
  const bool with_comment = found.is_public || call.MayIn(call.pipeline.team_name);
  co_return JsonOf(200, present::ToBuild(*found.build, with_comment));
}

Task<Answer> CreateJobBuild(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    const auto job = JobOf(t, call);
    if (Flag(job, "disable_manual_trigger")) {
      throw Failure(ErrorKind::kConflict, "the job does not allow to be triggered by hand");
    }
    const BuildId id =
        store::CreateJobBuild(t, job.id, {.created_by = call.access.UserText(), .manual = true});
    return store::FindBuild(t, id).value();
  };
  const auto build = co_await call.database().Write(store::Pool::kApi, work);
  if (call.services.scheduling) call.services.scheduling->JobChanged(build.job);
  co_return JsonOf(200, present::ToBuild(build, true));
}

Task<Answer> RerunJobBuild(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    const auto job = JobOf(t, call);
    if (Flag(job, "disable_reruns")) {
      throw Failure(ErrorKind::kConflict, "the job does not allow reruns");
    }
    const auto original = store::FindJobBuild(t, job.id, call.Param("build_name"));
    if (!original) throw Failure(ErrorKind::kNotFound, "no such build");
    if (!original->inputs_ready) {
      throw Failure(ErrorKind::kConflict, "the inputs of the build were never determined");
    }
    const BuildId id = store::CreateJobBuild(
        t, job.id,
        {.created_by = call.access.UserText(), .manual = true, .rerun_of = original->id});
    return store::FindBuild(t, id).value();
  };
  const auto build = co_await call.database().Write(store::Pool::kApi, work);
  if (call.services.scheduling) call.services.scheduling->JobChanged(build.job);
  co_return JsonOf(200, present::ToBuild(build, true));
}

Task<Answer> PauseJob(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    store::PauseJob(t, JobOf(t, call).id, call.access.UserText());
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> UnpauseJob(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    const JobId job = JobOf(t, call).id;
    store::UnpauseJob(t, job);
    return job;
  };
  const JobId job = co_await call.database().Write(store::Pool::kApi, work);
  if (call.services.scheduling) call.services.scheduling->JobChanged(job);
  co_return EmptyAnswer(200);
}

Task<Answer> ScheduleJob(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    const JobId job = JobOf(t, call).id;
    store::RequestSchedule(t, job);
    return job;
  };
  const JobId job = co_await call.database().Write(store::Pool::kApi, work);
  if (call.services.scheduling) call.services.scheduling->JobChanged(job);
  co_return EmptyAnswer(200);
}

Task<Answer> ClearTaskCache(Call& call) {
  const std::string path(call.query.Get("cache_path").value_or(""));
  auto work = [&call, path](store::Transaction& t) {
    call.SignAs(t);
    return store::ClearTaskCaches(t, JobOf(t, call).id, call.Param("step_name"),
                                  path.empty() ? std::nullopt : std::optional(path));
  };
  const int removed = co_await call.database().Write(store::Pool::kApi, work);
  co_return JsonAnswer(200, JsonObject{{"caches_removed", removed}});
}

/// The get step of an input in a job's configuration, at any depth: its params and tags are shown.
static const Json* FindGetStep(const Json& value, std::string_view name, int depth = 0) {
  if (depth > 128) return nullptr;
  if (value.IsArray()) {
    for (const Json& item : value.AsArray()) {
      if (const Json* found = FindGetStep(item, name, depth + 1)) return found;
    }
  } else if (value.IsObject()) {
    if (value.StringAt("get") == name) return &value;
    for (const auto& [key, member] : value.AsObject()) {
      if (key == "params" || key == "config" || key == "vars") continue;
      if (const Json* found = FindGetStep(member, name, depth + 1)) return found;
    }
  }
  return nullptr;
}

Task<Answer> ListJobInputs(Call& call) {
  auto work = [&call](store::Transaction& t) -> std::optional<std::vector<present::NextInput>> {
    const auto job = JobOf(t, call);
    const auto next = store::ReadNextInputs(t, job.id);
    if (!next.determined) return std::nullopt;
    const Json config = present::StoredJson(job.config);
    std::vector<present::NextInput> inputs;
    for (const auto& input : next.inputs) {
      const auto resource = store::FindResource(t, input.resource);
      if (!resource) throw Failure(ErrorKind::kInternal, "an input's resource is gone");
      const auto version = store::FindVersion(t, input.resource, input.version);
      present::NextInput shown{.name = input.name, .resource = resource->name};
      shown.type = resource->type;
      const Json resource_config = present::StoredJson(resource->config);
      if (const Json* source = resource_config.Find("source")) shown.source = *source;
      if (const Json* step = FindGetStep(config, input.name)) {
        if (const Json* params = step->Find("params")) shown.params = *params;
        if (const Json* tags = step->Find("tags")) shown.tags = *tags;
      }
      if (version) shown.version = present::StoredJson(version->version);
      inputs.push_back(std::move(shown));
    }
    return inputs;
  };
  const auto inputs = co_await call.database().Read(store::Pool::kApi, work);
  if (!inputs) co_return EmptyAnswer(404);
  co_return JsonOf(200, *inputs);
}

}  // namespace pinion::api
