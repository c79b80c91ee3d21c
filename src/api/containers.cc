#include "store/containers.h"
#include "base/text.h"

#include <algorithm>
#include <array>

#include "api/handlers.h"
#include "api/instance_vars.h"
#include "api/present/container.h"
#include "api/present/convert.h"
#include "store/database.h"
#include "store/resources.h"

namespace pinion::api {

namespace {

present::Container ToContainer(const store::ContainerRow& row) {
  present::Container container;
  container.id = row.handle;
  container.worker_name = row.worker_name;
  container.state = Name(row.state);
  container.type = row.type;
  container.step_name = row.step_name;
  container.attempt = row.attempt;
  container.pipeline_id = row.metadata.pipeline_id;
  container.job_id = row.metadata.job_id;
  container.build_id = row.build.value;
  container.pipeline_name = row.metadata.pipeline_name;
  container.pipeline_instance_vars = row.metadata.pipeline_instance_vars;
  container.job_name = row.metadata.job_name;
  container.build_name = row.metadata.build_name;
  container.user = row.metadata.user;
  container.working_directory = row.metadata.working_directory;
  return container;
}

constexpr std::array<std::string_view, 5> kTypes = {"check", "get", "put", "task", "run"};

/// What a list of containers is narrowed to; empty members ask for nothing.
struct Filter {
  std::string type;
  std::string step_name;
  std::string attempt;
  std::string pipeline_name;
  std::string job_name;
  std::string build_name;
  std::int64_t pipeline_id = 0;
  std::int64_t job_id = 0;
  std::int64_t build_id = 0;
  std::string instance_vars;
  bool by_instance = false;
};

std::string TextAt(const http::Query& query, std::string_view name) {
  return std::string(query.Get(name).value_or(""));
}

std::int64_t IdAt(const http::Query& query, std::string_view name) {
  const std::string text = TextAt(query, name);
  if (text.empty()) return 0;
  const auto id = ParseNumber(text);
  if (!id) throw Failure(ErrorKind::kInvalid, std::string(name) + " is not a number: " + text);
  return *id;
}

Filter FilterOf(const http::Query& query) {
  Filter filter{.type = TextAt(query, "type"),
                .step_name = TextAt(query, "step_name"),
                .attempt = TextAt(query, "attempt"),
                .pipeline_name = TextAt(query, "pipeline_name"),
                .job_name = TextAt(query, "job_name"),
                .build_name = TextAt(query, "build_name"),
                .pipeline_id = IdAt(query, "pipeline_id"),
                .job_id = IdAt(query, "job_id"),
                .build_id = IdAt(query, "build_id")};
  if (!filter.type.empty() && std::ranges::find(kTypes, filter.type) == kTypes.end()) {
    throw Failure(ErrorKind::kInvalid, "unknown container type '" + filter.type + "'");
  }
  filter.instance_vars = ValueOrThrow(InstanceVarsOf(query));
  filter.by_instance = !filter.pipeline_name.empty();
  return filter;
}

bool Fits(const std::string& wanted, const std::string& actual) {
  return wanted.empty() || wanted == actual;
}
bool Fits(std::int64_t wanted, std::int64_t actual) {
  return wanted == 0 || wanted == actual;
}

bool Passes(const Filter& filter, const store::ContainerRow& row) {
  const store::ContainerMetadata& names = row.metadata;
  if (filter.by_instance &&
      filter.instance_vars != InstanceVarsText(names.pipeline_instance_vars).value_or("")) {
    return false;
  }
  return Fits(filter.type, row.type) && Fits(filter.step_name, row.step_name) &&
         Fits(filter.attempt, row.attempt) && Fits(filter.pipeline_name, names.pipeline_name) &&
         Fits(filter.job_name, names.job_name) && Fits(filter.build_name, names.build_name) &&
         Fits(filter.pipeline_id, names.pipeline_id) && Fits(filter.job_id, names.job_id) &&
         Fits(filter.build_id, row.build.value);
}

/// The containers of one resource's checks: they belong to its scope, not to a team.
std::vector<store::ContainerRow> CheckContainers(store::Transaction& transaction, const Call& call,
                                                 const Filter& filter) {
  const auto pipeline =
      store::FindPipeline(transaction, call.team.name, filter.pipeline_name, filter.instance_vars);
  if (!pipeline) return {};
  const auto resource = store::FindResourceByName(transaction, pipeline->id,
                                                  call.query.Get("resource_name").value_or(""));
  if (!resource || !resource->scope) return {};
  auto rows = store::ListContainers(transaction, TeamId{});
  std::erase_if(rows, [&](const auto& row) { return row.scope != resource->scope; });
  return rows;
}

std::string WorkerName(const Call& call) {
  return TextAt(call.query, "worker_name");
}

}  // namespace

Task<Answer> ListContainers(Call& call) {
  const Filter filter = FilterOf(call.query);
  const bool checks = filter.type == "check" && call.query.Get("resource_name").has_value();
  auto work = [&call, filter, checks](store::Transaction& t) {
    if (checks) return CheckContainers(t, call, filter);
    auto rows = store::ListContainers(t, call.team.id);
    std::erase_if(rows, [&](const auto& row) { return !Passes(filter, row); });
    return rows;
  };
  const auto rows = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(rows, ToContainer));
}

Task<Answer> GetContainer(Call& call) {
  auto work = [handle = call.Param("id")](store::Transaction& t) {
    return store::FindContainer(t, handle);
  };
  const auto row = co_await call.database().Read(store::Pool::kApi, work);
  if (!row || row->team != call.team.id) co_return EmptyAnswer(404);
  co_return JsonOf(200, ToContainer(*row));
}

Task<Answer> ListDestroyingContainers(Call& call) {
  const std::string worker = WorkerName(call);
  if (worker.empty()) co_return EmptyAnswer(400);
  auto work = [worker](store::Transaction& t) {
    return store::ListDestroyingContainers(t, worker);
  };
  const auto handles = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonOf(200, handles);
}

Task<Answer> ReportWorkerContainers(Call& call) {
  const std::string worker = WorkerName(call);
  if (worker.empty()) co_return EmptyAnswer(404);
  const auto handles = co_await ReadBody<std::vector<std::string>>(call);
  auto work = [worker, handles](store::Transaction& t) {
    store::ReportContainers(t, worker, handles, t.now());
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(204);
}

}  // namespace pinion::api
