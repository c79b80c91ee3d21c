#include "store/volumes.h"

#include "api/handlers.h"
#include "api/present/container.h"
#include "api/present/convert.h"
#include "store/database.h"

namespace pinion::api {

namespace {

present::Volume ToVolume(const store::ListedVolume& row) {
  present::Volume volume;
  volume.id = row.volume.handle;
  volume.worker_name = row.volume.worker_name;
  volume.type = row.volume.type;
  volume.container_handle = row.volume.container_handle;
  volume.path = row.volume.path;
  volume.parent_handle = row.volume.parent_handle;
  if (!row.resource_version.empty()) {
    volume.resource_type = JsonObject{{"resource_type", Json()},
                                      {"base_resource_type", Json()},
                                      {"version", present::StoredJson(row.resource_version)}};
  }
  volume.pipeline_id = row.metadata.pipeline_id;
  volume.pipeline_name = row.metadata.pipeline_name;
  volume.pipeline_instance_vars = row.metadata.pipeline_instance_vars;
  volume.job_name = row.metadata.job_name;
  volume.step_name = row.step_name;
  return volume;
}

std::string WorkerName(const Call& call) {
  return std::string(call.query.Get("worker_name").value_or(""));
}

}  // namespace

Task<Answer> ListVolumes(Call& call) {
  auto work = [team = call.team.id](store::Transaction& t) { return store::ListVolumes(t, team); };
  const auto rows = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonAnswer(200, present::ArrayOf(rows, ToVolume));
}

Task<Answer> ListDestroyingVolumes(Call& call) {
  const std::string worker = WorkerName(call);
  if (worker.empty()) co_return EmptyAnswer(400);
  auto work = [worker](store::Transaction& t) { return store::ListDestroyingVolumes(t, worker); };
  const auto handles = co_await call.database().Read(store::Pool::kApi, work);
  co_return JsonOf(200, handles);
}

Task<Answer> ReportWorkerVolumes(Call& call) {
  const std::string worker = WorkerName(call);
  if (worker.empty()) co_return EmptyAnswer(404);
  const auto handles = co_await ReadBody<std::vector<std::string>>(call);
  auto work = [worker, handles](store::Transaction& t) {
    store::ReportVolumes(t, worker, handles, t.now());
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(204);
}

}  // namespace pinion::api
