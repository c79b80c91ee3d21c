#include "store/workers.h"

#include <algorithm>

#include "api/handlers.h"
#include "api/present/convert.h"
#include "api/present/worker.h"
#include "base/text.h"
#include "base/units.h"
#include "store/database.h"

namespace pinion::api {

namespace present {

Worker ToWorker(const store::WorkerRow& row) {
  Worker worker;
  worker.addr = row.garden_addr;
  worker.baggageclaim_url = row.baggageclaim_url;
  worker.http_proxy_url = row.http_proxy_url;
  worker.https_proxy_url = row.https_proxy_url;
  worker.no_proxy = row.no_proxy;
  worker.active_containers = row.active_containers;
  worker.active_volumes = row.active_volumes;
  if (!row.resource_types.empty()) worker.resource_types = row.resource_types;
  worker.platform = row.platform;
  if (!row.tags.empty()) worker.tags = row.tags;
  worker.team = row.team_name;
  worker.name = row.name;
  worker.version = row.version;
  worker.start_time = row.start_time;
  worker.ephemeral = row.ephemeral;
  worker.state = Name(row.state);
  return worker;
}

}  // namespace present

namespace {

/// Seconds of the query's ttl; 0 when absent.
std::int64_t TimeToLive(const Call& call) {
  const auto text = call.query.Get("ttl");
  if (!text || text->empty()) return 0;
  const auto duration = ParseDuration(*text);
  if (!duration) throw Failure(ErrorKind::kInvalid, "malformed ttl");
  return std::chrono::ceil<std::chrono::seconds>(*duration).count();
}

store::WorkerRow RowOf(const present::Worker& worker) {
  store::WorkerRow row;
  row.name = worker.name.empty() ? worker.addr : worker.name;
  row.platform = worker.platform;
  for (const std::string& tag : worker.tags.value_or(std::vector<std::string>())) {
    row.tags.emplace_back(Trim(tag));
  }
  row.garden_addr = worker.addr;
  row.baggageclaim_url = worker.baggageclaim_url;
  if (worker.resource_types) row.resource_types = *worker.resource_types;
  row.version = worker.version;
  row.start_time = worker.start_time;
  row.ephemeral = worker.ephemeral;
  row.http_proxy_url = worker.http_proxy_url;
  row.https_proxy_url = worker.https_proxy_url;
  row.no_proxy = worker.no_proxy;
  row.active_containers = worker.active_containers;
  row.active_volumes = worker.active_volumes;
  return row;
}

/// The worker that the path names; the body, where there is one, must not speak for another team.
Task<store::WorkerRow> NamedWorker(Call& call) {
  auto work = [name = call.Param("worker_name")](store::Transaction& t) {
    return store::FindWorker(t, name);
  };
  auto row = co_await call.database().Read(store::Pool::kApi, work);
  if (!row) throw Failure(ErrorKind::kNotFound, "no such worker");
  const std::string text = co_await ReadText(call, call.services.settings.body_bytes_max);
  if (!text.empty()) {
    const auto body = ValueOrThrow(FromText<present::Worker>(text));
    if (!body.team.empty() && body.team != row->team_name) {
      throw Failure(ErrorKind::kInvalid, "the worker belongs to another team");
    }
  }
  co_return std::move(*row);
}

Task<Answer> WriteWorker(Call& call, bool (*write)(store::Transaction&, std::string_view)) {
  const auto worker = co_await NamedWorker(call);
  auto work = [&call, write, name = worker.name](store::Transaction& t) {
    call.SignAs(t);
    return write(t, name);
  };
  const bool found = co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(found ? 200 : 404);
}

}  // namespace

Task<Answer> ListWorkers(Call& call) {
  auto rows = co_await call.database().Read(
      store::Pool::kApi, [](store::Transaction& t) { return store::ListWorkers(t); });
  std::erase_if(
      rows, [&](const store::WorkerRow& row) { return row.team && !call.MayIn(row.team_name); });
  co_return JsonAnswer(200, present::ArrayOf(rows, present::ToWorker));
}

Task<Answer> RegisterWorker(Call& call) {
  const auto body = co_await ReadBody<present::Worker>(call);
  if (body.addr.empty()) co_return TextAnswer(400, "missing garden address");
  const bool plain =
      std::ranges::all_of(body.version, [](char c) { return c == '.' || (c >= '0' && c <= '9'); });
  if (!plain) {
    co_return TextAnswer(400, "invalid worker version, only numeric characters are allowed");
  }
  const std::int64_t ttl = TimeToLive(call);
  auto work = [&call, row = RowOf(body), team = body.team, ttl](store::Transaction& t) {
    call.SignAs(t);
    store::WorkerRow worker = row;
    if (!team.empty()) {
      const auto found = store::FindTeam(t, team);
      if (!found) throw Failure(ErrorKind::kInvalid, "team '" + team + "' not found");
      worker.team = found->id;
    }
    store::RegisterWorker(t, worker, ttl);
  };
  co_await call.database().Write(store::Pool::kApi, work);
  co_return EmptyAnswer(200);
}

Task<Answer> HeartbeatWorker(Call& call) {
  const auto body = co_await ReadBody<present::Worker>(call);
  const std::int64_t ttl = TimeToLive(call);
  auto work = [&call, body, ttl](store::Transaction& t) {
    return store::HeartbeatWorker(t, call.Param("worker_name"), ttl, body.active_containers,
                                  body.active_volumes);
  };
  const auto row = co_await call.database().Write(store::Pool::kApi, work);
  if (!row) co_return EmptyAnswer(404);
  co_return JsonOf(200, present::ToWorker(*row));
}

Task<Answer> LandWorker(Call& call) {
  return WriteWorker(call, store::LandWorker);
}
Task<Answer> RetireWorker(Call& call) {
  return WriteWorker(call, store::RetireWorker);
}
Task<Answer> DeleteWorker(Call& call) {
  return WriteWorker(call, store::DeleteWorker);
}

Task<Answer> PruneWorker(Call& call) {
  auto work = [&call](store::Transaction& t) {
    call.SignAs(t);
    return store::PruneWorker(t, call.Param("worker_name"));
  };
  bool running = false;
  bool found = false;
  try {
    found = co_await call.database().Write(store::Pool::kApi, work);
  } catch (const Failure& failure) {
    if (failure.error().kind != ErrorKind::kConflict) throw;
    running = true;
  }
  if (running) {
    co_return JsonAnswer(400, JsonObject{{"stderr", Json("cannot prune running worker")}});
  }
  co_return EmptyAnswer(found ? 200 : 404);
}

}  // namespace pinion::api
